"""The inside of the process in which TensorFlow turns Keras files and SavedModels into a float .tflite."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeguard.errors import EdgeGuardError, InputError
from edgeguard.system.extras import how_to_install
from edgeguard.system.frames import Frame
from edgeguard_converters.support.log import chatter_to

_LOG_KEPT = 1 << 18


class KerasService:
    """Answers one request, with the .tflite of a model.

    Args:
        folder: where it may write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, request: Frame) -> Frame:
        """The .tflite as the answer's blob, or an error with the end of TensorFlow's chatter."""
        log = self._folder / "log"
        path, size = Path(request.fields["path"]), tuple(request.fields["size"] or (0, 0))
        try:
            with chatter_to(log):
                data = _convert(path, self._folder, size)
        except EdgeGuardError as error:
            chatter = log.read_bytes()[-_LOG_KEPT:] if log.is_file() else b""
            return Frame({"error": type(error).__name__, "text": str(error), "log": True}, (chatter,))
        return Frame({}, (data,))


def _convert(path: Path, folder: Path, size: tuple[int, int]) -> bytes:
    from edgeguard_converters.load import keras_files, saved_model  # before TensorFlow: the file is checked first

    fresh = saved_model.checked_copy(path, folder) if path.is_dir() else keras_files.checked_copy(path, folder)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise InputError(f"reading Keras models needs TensorFlow: {how_to_install('keras')}") from error
    try:
        kept, shapes, call = _saved_model(tf, fresh) if path.is_dir() else _keras(tf, fresh)
    except EdgeGuardError:
        raise
    except Exception as error:
        raise InputError(f"TensorFlow cannot load it: {_first_line(error)}") from error
    if len(shapes) != 1:
        raise InputError(f"the model takes {len(shapes)} inputs; an image model takes one")
    shape = shapes[0]
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise InputError(f"the model's input is not an image batch (n, height, width, 3 or 1): {shape}")
    sides = [shape[1] or size[1], shape[2] or size[0]]
    if not all(sides):
        raise InputError("the model's input size is not fixed: give --size N or WxH")
    try:
        concrete = tf.function(call).get_concrete_function(tf.TensorSpec([1, *sides, shape[3]], tf.float32))
        data = bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    except Exception as error:
        raise InputError(f"TensorFlow cannot convert it: {_first_line(error)}") from error
    del kept  # its variables would have died with it
    return data


def _saved_model(tf: Any, folder: Path) -> tuple[Any, list[tuple[Any, ...]], Callable[[Any], Any]]:
    """What keeps the variables alive, the shapes of the inputs, and the function."""
    loaded = tf.saved_model.load(str(folder))
    signatures = loaded.signatures
    name = next((name for name in ("serving_default", "serve") if name in signatures), None)
    if name is None:
        raise InputError("the SavedModel has no serving signature")
    function = signatures[name]
    _refuse_training(function.graph.as_graph_def())
    inputs = list(function.structured_input_signature[1].items())
    return loaded, [tuple(spec.shape) for _, spec in inputs], lambda x: function(**{inputs[0][0]: x})


def _refuse_training(graph: Any) -> None:
    """What is served must not normalize by the batch nor draw random numbers: such a graph was saved in training."""
    functions = [node for function in graph.library.function for node in function.node_def]
    for node in (*graph.node, *functions):
        by_batch = node.op.startswith("FusedBatchNorm") and node.attr["is_training"].b
        if by_batch or node.op.startswith(("Random", "StatelessRandom")):
            what = "normalizes by the batch" if by_batch else f"draws random numbers ({node.op})"
            raise InputError(f"what the SavedModel serves {what}: save it in inference mode (training=False)")


def _keras(tf: Any, path: Path) -> tuple[Any, list[tuple[Any, ...]], Callable[[Any], Any]]:
    model = tf.keras.models.load_model(str(path), compile=False, safe_mode=True)
    return model, [tuple(tensor.shape) for tensor in model.inputs], lambda x: model(x, training=False)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:300]
