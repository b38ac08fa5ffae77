"""The inside of a confined process that loads a file with its library and no list of ours, for tests."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.system.frames import Frame


class Unlisted:
    """Loads a file as trustingly as its library can, and runs what comes out."""

    def __init__(self, folder: Path) -> None:
        pass

    def __call__(self, request: Frame) -> Frame:
        path = Path(request.fields["path"])
        load = {".pt2": _program, ".pt": _pickle, ".onnx": _onnx, ".tflite": _tflite}.get(path.suffix, _keras)
        load(path)
        return Frame({})


def _program(path: Path) -> None:
    import torch

    module = torch.export.load(path).module()
    module(torch.zeros(1, 3, 32, 32))


def _pickle(path: Path) -> None:
    import torch

    try:
        torch.jit.load(str(path))(torch.zeros(1, 3, 32, 32))
    except RuntimeError:
        torch.load(path, weights_only=False)


def _onnx(path: Path) -> None:
    import onnx
    import torch

    from edgeguard_converters.load.onnx_graph.program import OnnxModule

    OnnxModule(onnx.load_model(path))(torch.zeros(1, 3, 32, 32))


def _tflite(path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    interpreter.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
    interpreter.invoke()


def _keras(path: Path) -> None:
    import tensorflow as tf

    if path.is_dir():
        loaded = tf.saved_model.load(str(path))
        loaded.signatures["serving_default"](x=tf.zeros((1, 32, 32, 3)))
        return
    with contextlib.suppress(ImportError):
        import keras

        keras.config.enable_unsafe_deserialization()
    tf.keras.models.load_model(str(path), compile=False, safe_mode=False)
