"""ONNX through onnx2tf, for graphs that onnx2torch does not know: in an environment of its own.

onnx2tf pins versions of numpy, TensorFlow and protobuf that fit nothing else here, so it is installed (once, about
2 GB, from the package index) into a folder of EdgeGuard's cache, only when the user asks for it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from edgeguard.errors import DeviceError, InputError
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.load.tflite_source import TfliteSource, tflite_source
from edgeguard_converters.support.cache import cache_file
from edgeguard_converters.support.log import new_log

PINS = (
    "onnx2tf==1.28.8", "tensorflow==2.19.0", "tf_keras==2.19.0", "onnx==1.22.0", "onnx-graphsurgeon", "sng4onnx",
    "psutil", "ai-edge-litert", "onnxruntime", "onnxsim",
)  # fmt: skip
_LIMIT_S = 1800
#: onnx2tf fetches this file of test pictures unless it lies in the working folder; only its shape matters here.
_PICTURES = "calibration_image_sample_data_20x128x128x3_float32.npy"


def load_with_onnx2tf(path: Path, size: tuple[int, int] | None) -> TfliteSource:
    """Convert an ONNX file to a float .tflite with onnx2tf.

    Raises:
        DeviceError: the environment cannot be built (no network, no room).
        InputError: onnx2tf cannot convert the graph; the log's path is named.
    """
    python, log = _environment(), new_log()
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as name:
        folder = Path(name)
        np.save(folder / _PICTURES, np.zeros((20, 128, 128, 3), np.float32))
        command = [str(python.with_name("onnx2tf")), "-i", str(path.resolve()), "-o", str(folder / "out"), "-b", "1"]
        if size is not None:
            command += ["-ois", f"{_input_name(python, path)}:1,3,{size[1]},{size[0]}"]
        search = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(folder), "TF_CPP_MIN_LOG_LEVEL": "2"}
        with open(log, "ab") as chatter:
            subprocess.run(
                command, stdout=chatter, stderr=chatter, cwd=folder, env=search, timeout=_LIMIT_S, check=False
            )
        made = sorted((folder / "out").glob("*_float32.tflite"))
        if not made:
            raise InputError(f"{path.name}: onnx2tf cannot convert it (log: {log})")
        data = made[0].read_bytes()
    log.unlink(missing_ok=True)
    return tflite_source(data, "ONNX by onnx2tf", FileFacts())


def _environment() -> Path:
    """The Python of the private environment, which is built the first time."""
    folder = cache_file(PINS[0].replace("==", "-"))
    python, ready = folder / "bin" / "python", folder / "ready"
    if ready.is_file():
        return python
    log = new_log()
    try:
        with open(log, "ab") as chatter:
            for command in (
                [sys.executable, "-m", "venv", "--clear", str(folder)],
                [str(python), "-m", "pip", "install", "--quiet", *PINS],
            ):
                subprocess.run(command, stdout=chatter, stderr=chatter, timeout=_LIMIT_S, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        raise DeviceError(f"onnx2tf's environment cannot be built in {folder} (log: {log})") from error
    ready.touch()
    log.unlink(missing_ok=True)
    return python


def _input_name(python: Path, path: Path) -> str:
    code = "import onnx, sys; g = onnx.load(sys.argv[1]).graph; k = {t.name for t in g.initializer}; "
    code += "print(next(v.name for v in g.input if v.name not in k))"
    done = subprocess.run([str(python), "-c", code, str(path)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InputError(f"{path.name} is not an ONNX model that can be read")
    return done.stdout.strip()
