"""Run in a process of its own: SavedModels that would do something else than compute.

python make_hostile_saved.py FOLDER FLAG: one folder for each operator; FLAG is the file that they would write.
"""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow as tf

folder, flag = Path(sys.argv[1]), sys.argv[2]


def write_file(x):
    tf.io.write_file(flag, "x")
    return x


def print_v2(x):
    tf.print("x", output_stream=f"file://{flag}")
    return x


def summary(x):
    writer = tf.raw_ops.SummaryWriter()
    tf.raw_ops.CreateSummaryFileWriter(writer=writer, logdir=flag, max_queue=1, flush_millis=1, filename_suffix="")
    return x


def py_func(x):
    return tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), x.shape)


def read_file(x):
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), tf.float32)


def loop(x):
    return tf.while_loop(lambda y: tf.reduce_sum(y) > -1e30, lambda y: y * 1.0, [x])[0]


def random(x):
    return x + tf.random.uniform([1])


found = {
    "WriteFile": write_file,
    "PrintV2": print_v2,
    "CreateSummaryFileWriter": summary,
    "EagerPyFunc": py_func,
    "ReadFile": read_file,
    "While": loop,
    "RandomUniform": random,
}


class Model(tf.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    @tf.function(input_signature=[tf.TensorSpec([1, 32, 32, 3], tf.float32)])
    def __call__(self, x):
        return tf.reduce_mean(self.body(x), axis=[1, 2])


for name, body in found.items():
    module = Model(body)
    tf.saved_model.save(module, str(folder / name), signatures=module.__call__)
