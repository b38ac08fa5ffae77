"""Keras (.keras, .h5) and SavedModel: TensorFlow turns them into a float .tflite, in a process of its own.

TensorFlow takes ten seconds to import, talks on every stream and pins its own protobuf, so it never enters ours.
`.keras` files are loaded in Keras's safe mode: a Lambda layer, which is code, is refused.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.load.tflite_source import TfliteSource, tflite_source
from edgeguard_converters.support.log import new_log

_LIMIT_S = 900
_FILE_OPERATORS = ("ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "MatchingFiles", "LoadLibrary")
_CONVERT = """
import os, sys
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = ""
source, target, width, height = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
import tensorflow as tf

def fail(message):
    print("EDGEGUARD:" + message.strip().splitlines()[0][:300], file=sys.stderr)
    sys.exit(3)

try:
    if os.path.isdir(source):
        loaded = tf.saved_model.load(source)  # kept: its variables die with it
        signatures = loaded.signatures
        if "serving_default" not in signatures and "serve" not in signatures:
            fail("the SavedModel has no serving signature")
        function = signatures["serving_default" if "serving_default" in signatures else "serve"]
        inputs = list(function.structured_input_signature[1].items())
        shapes = [tuple(spec.shape) for _, spec in inputs]
        call = lambda x: function(**{inputs[0][0]: x})
    else:
        model = tf.keras.models.load_model(source, compile=False, safe_mode=True)
        shapes = [tuple(tensor.shape) for tensor in model.inputs]
        call = lambda x: model(x, training=False)
except SystemExit:
    raise
except Exception as error:
    fail(f"TensorFlow cannot load it: {error}")
if len(shapes) != 1:
    fail(f"the model takes {len(shapes)} inputs; an image model takes one")
shape = shapes[0]
if len(shape) != 4 or shape[3] != 3:
    fail(f"the model's input is not an image batch (n, height, width, 3): {shape}")
sides = [shape[1] or height, shape[2] or width]
if not all(sides):
    fail("the model's input size is not fixed: give --size N or WxH")
try:
    concrete = tf.function(call).get_concrete_function(tf.TensorSpec([1, *sides, 3], tf.float32))
    data = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
except Exception as error:
    fail(f"TensorFlow cannot convert it: {error}")
open(target, "wb").write(data)
"""


def load_keras(path: Path, size: tuple[int, int] | None) -> TfliteSource:
    """Load a Keras file or a SavedModel folder.

    Raises:
        InputError: TensorFlow is not installed, refuses the file (a Lambda layer, a damaged archive), or cannot
            convert it; the log's path is named.
    """
    if path.is_dir():
        _refuse_file_operators(path)
    log, (width, height) = new_log(), size or (0, 0)
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as folder:
        target = Path(folder) / "float.tflite"
        command = [sys.executable, "-c", _CONVERT, str(path), str(target), str(width), str(height)]
        with open(log, "ab") as chatter:
            done = subprocess.run(command, stdout=chatter, stderr=chatter, timeout=_LIMIT_S, check=False)
        if done.returncode != 0 or not target.is_file():
            raise InputError(_reason(path, log))
        data = target.read_bytes()
    log.unlink(missing_ok=True)
    return tflite_source(data, "SavedModel" if path.is_dir() else "Keras", FileFacts())


def _refuse_file_operators(folder: Path) -> None:
    """A SavedModel is a program: some of its operators read and write files, and folding constants would run them."""
    graph = (folder / "saved_model.pb").read_bytes()
    for name in _FILE_OPERATORS:
        if name.encode() in graph:
            raise InputError(
                f"the SavedModel holds the operator {name}, which leaves the graph; refused, it was not run"
            )


def _reason(path: Path, log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    said = [line.removeprefix("EDGEGUARD:") for line in lines if line.startswith("EDGEGUARD:")]
    if said:
        return f"{path.name}: {said[-1]} (log: {log})"
    if any("No module named 'tensorflow'" in line for line in lines):
        return "reading Keras models needs TensorFlow: pip install 'edgeguard[keras]'"
    return f"{path.name}: TensorFlow failed: {lines[-1][:200] if lines else 'no message'} (log: {log})"
