"""Run in a process of its own: write a small Keras classifier in the forms that users have.

python make_keras.py FOLDER: model.keras, model.h5, keras2.h5 (with keys of Keras 2), saved/ (a SavedModel),
model.weights.h5, gray.keras, lambda.keras, lambda.h5, and the answers of the model to x.npy as y.npy.
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import h5py
import numpy as np
import tensorflow as tf

folder = Path(sys.argv[1])
tf.keras.utils.set_random_seed(0)
layers = tf.keras.layers
model = tf.keras.Sequential(
    [
        layers.Input((32, 32, 3)),
        layers.Conv2D(8, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(6.0),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.SeparableConv2D(8, 3, padding="same"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(4, activation="softmax"),
    ]
)
model.save(folder / "model.keras")
model.save(folder / "model.h5")
# As Keras 2 wrote it: with keys that Keras 3 refuses.
shutil.copy(folder / "model.h5", folder / "keras2.h5")
with h5py.File(folder / "keras2.h5", "r+") as file:
    config = json.loads(file.attrs["model_config"])
    for layer in config["config"]["layers"]:
        if "thwiseConv" in layer["class_name"] or "arableConv" in layer["class_name"]:
            layer["config"]["groups"] = 1
        if "arableConv" in layer["class_name"]:
            layer["config"].update(kernel_initializer=None, kernel_regularizer=None, kernel_constraint=None)
    file.attrs["model_config"] = json.dumps(config)
model.save_weights(folder / "model.weights.h5")
gray = tf.keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()])
gray.save(folder / "gray.keras")
model.export(folder / "saved", verbose=False)
x = np.load(folder / "x.npy")
np.save(folder / "y.npy", model.predict(x, verbose=0))
marker = str(folder / "ran")
evil = tf.keras.Sequential(
    [
        layers.Input((32, 32, 3)),
        layers.Lambda(lambda t: (Path(marker).write_text(""), t)[1]),
        layers.Flatten(),
        layers.Dense(4),
    ]
)
evil.save(folder / "lambda.keras")
evil.save(folder / "lambda.h5")
Path(marker).unlink(missing_ok=True)


class Writer(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([1, 32, 32, 3], tf.float32)])
    def __call__(self, x):
        tf.io.write_file(marker, "x")
        return tf.reduce_mean(x, axis=[1, 2])


writer = Writer()
tf.saved_model.save(writer, str(folder / "writer"), signatures=writer.__call__)
