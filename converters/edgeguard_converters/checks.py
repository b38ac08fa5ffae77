"""Checks of the finished bytes, before anything is written where the user asked for it."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import CheckFailed
from edgeguard_converters import flatbuffer_edit

_FRESH_LOAD = """
import sys, numpy as np
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(sys.argv[1], num_threads=1)
model.allocate_tensors()
details = model.get_input_details()[0]
model.set_tensor(details["index"], np.load(sys.argv[2]))
model.invoke()
np.save(sys.argv[3], model.get_tensor(model.get_output_details()[0]["index"]))
"""


def check_integer_file(data: bytes) -> None:
    """Refuse a file that is not what was asked for: integer-only, uint8 borders, all buffers inside.

    Raises:
        CheckFailed: naming what is wrong.
    """
    from ai_edge_litert.interpreter import Interpreter

    if floats := flatbuffer_edit.float_tensors(data):
        raise CheckFailed(f"the quantised graph still computes in float at {floats[0]} ({len(floats)} tensors)")
    if flatbuffer_edit.has_offset_buffers(data):
        raise CheckFailed("the quantised file stores buffers outside the flatbuffer")
    model = Interpreter(model_content=data)
    borders = {np.dtype(d["dtype"]).name for d in (*model.get_input_details(), *model.get_output_details())}
    if borders != {"uint8"}:
        raise CheckFailed(f"the quantised file takes and gives {', '.join(sorted(borders))}, not uint8")


def run_in_fresh_process(data: bytes, tensor: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The raw output for one input, computed by a new process that loads the file from disk.

    Raises:
        CheckFailed: the process fails.
    """
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as folder:
        model, source, target = (Path(folder) / name for name in ("model.tflite", "in.npy", "out.npy"))
        model.write_bytes(data)
        np.save(source, tensor)
        command = [sys.executable, "-c", _FRESH_LOAD, str(model), str(source), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise CheckFailed(f"a fresh process cannot run the finished file: {last}")
        return np.asarray(np.load(target), dtype=np.uint8)
