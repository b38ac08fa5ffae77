"""ONNX through onnx2tf, for graphs that our importer does not know: in an environment of its own.

onnx2tf pins versions of numpy, TensorFlow and protobuf that fit nothing else here, so it is installed (once, about
2 GB, from the package index) into a folder of EdgeGuard's cache, only when the user asks for it.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.confine import Limits, Reach
from edgeguard.system.confined_child import ConfinedChild
from edgeguard.system.frames import Frame
from edgeguard_converters.load.archive import read_file
from edgeguard_converters.load.onnx_model import weights_beside
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.load.tflite_source import TfliteSource, tflite_source
from edgeguard_converters.support.cache import cache_file
from edgeguard_converters.support.log import log_file, new_log

PINS = (
    "onnx2tf==1.28.8", "tensorflow==2.19.0", "tf_keras==2.19.0", "onnx==1.22.0", "onnx-graphsurgeon", "sng4onnx",
    "psutil", "ai-edge-litert", "onnxruntime", "onnxsim",
)  # fmt: skip
_LIMIT_S = 1800
_LOG_KEPT = 1 << 18
#: onnx2tf fetches this file of test pictures unless it lies in the working folder; only its shape matters here.
_PICTURES = "calibration_image_sample_data_20x128x128x3_float32.npy"


_SERVICE = "edgeguard_converters.load.onnx2tf:Onnx2tfService"


def load_with_onnx2tf(path: Path, size: tuple[int, int] | None) -> TfliteSource:
    """Convert an ONNX file to a float .tflite with onnx2tf.

    Raises:
        DeviceError: the environment cannot be built (no network, no room).
        InputError: the file holds what is not allowed, or onnx2tf cannot convert the graph; the log's path is named.
    """
    return tflite_source(onnx_to_tflite(path, size), "ONNX by onnx2tf", FileFacts())


def onnx_to_tflite(path: Path, size: tuple[int, int] | None) -> bytes:
    """The float .tflite that onnx2tf makes, in a confined process; errors as in `load_with_onnx2tf`."""
    python, path = _environment(), path.resolve()
    home = python.parents[1]
    limits = Limits(wall_s=_LIMIT_S, processes=True)
    child = ConfinedChild(
        _SERVICE, what="onnx2tf's process", limits=limits, reach=Reach((path, home, *weights_beside(path)))
    )
    with child:
        answer = child.ask(Frame({"path": str(path), "size": size, "python": str(python)}))
    if "error" not in answer.fields and len(answer.blobs) == 1:
        return answer.blobs[0]
    reason = " ".join(str(answer.fields.get("text")).split())
    if not answer.blobs:
        raise InputError(reason)
    log = new_log()
    log.write_bytes(answer.blobs[0])
    raise InputError(f"{reason} (log: {log})")


class Onnx2tfService:
    """Answers one request, inside, with the .tflite of a model.

    Args:
        folder: where it may write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, request: Frame) -> Frame:
        """The .tflite as the answer's blob, or an error with the end of onnx2tf's chatter."""
        from edgeguard_converters.load.onnx import first_input
        from edgeguard_converters.load.onnx_model import fresh_model

        path, python, folder = Path(request.fields["path"]), Path(request.fields["python"]), self._folder
        model = fresh_model(read_file(path), path.name, path.parent)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        np.save(folder / _PICTURES, np.zeros((20, 128, 128, 3), np.float32))
        command = [str(python.with_name("onnx2tf")), "-i", "model.onnx", "-o", "out", "-b", "1"]
        if size := request.fields["size"]:
            command += ["-ois", f"{first_input(model)}:1,3,{size[1]},{size[0]}"]
        search = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)}
        with open(folder / "log", "ab") as chatter:
            subprocess.run(command, stdout=chatter, stderr=chatter, cwd=folder, env=search, check=False)
        made = sorted((folder / "out").glob("*_float32.tflite"))
        if not made:
            text = f"{path.name}: onnx2tf cannot convert it"
            return Frame({"error": "InputError", "text": text}, ((folder / "log").read_bytes()[-_LOG_KEPT:],))
        return Frame({}, (made[0].read_bytes(),))


def _environment() -> Path:
    """The Python of the private environment, which is built the first time."""
    folder = cache_file(PINS[0].replace("==", "-"))
    python, ready = folder / "bin" / "python", folder / "ready"
    if ready.is_file():
        return python
    with log_file() as log:
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
    return python
