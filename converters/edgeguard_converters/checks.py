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
try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter
model = Interpreter(sys.argv[1], num_threads=1)
model.allocate_tensors()
details = model.get_input_details()[0]
model.set_tensor(details["index"], np.load(sys.argv[2]))
model.invoke()
np.savez(sys.argv[3], *[model.get_tensor(d["index"]) for d in model.get_output_details()])
"""


def check_file(data: bytes, io: str = "uint8", float_allowed: bool = False) -> None:
    """Refuse a file that is not what was asked for: integer-only, borders of the right type, all buffers inside.

    Args:
        data: the finished graph.
        io: type of input and outputs.
        float_allowed: some of its layers are meant to compute in float; outputs of those may be float.

    Raises:
        CheckFailed: naming what is wrong.
    """
    from ai_edge_litert.interpreter import Interpreter

    if not float_allowed and io != "float32" and (floats := flatbuffer_edit.float_tensors(data)):
        raise CheckFailed(f"the quantised graph still computes in float at {floats[0]} ({len(floats)} tensors)")
    if flatbuffer_edit.has_offset_buffers(data):
        raise CheckFailed("the quantised file stores buffers outside the flatbuffer")
    model = Interpreter(model_content=data)
    taken, given = (
        {np.dtype(d["dtype"]).name for d in found} for found in (model.get_input_details(), model.get_output_details())
    )
    if taken != {io} or not given <= ({io, "float32"} if float_allowed else {io}):
        raise CheckFailed(f"the quantised file takes and gives {', '.join(sorted(taken | given))}, not {io}")


def run_in_fresh_process(
    data: bytes, tensor: NDArray[np.generic], python: str = sys.executable
) -> list[NDArray[np.generic]]:
    """The raw outputs for one input, computed by a new process that loads the file from disk.

    `python` may be that of another environment, with tflite-runtime in place of ai-edge-litert.

    Raises:
        CheckFailed: the process fails.
    """
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as folder:
        model, source, target = (Path(folder) / name for name in ("model.tflite", "in.npy", "out.npz"))
        model.write_bytes(data)
        np.save(source, tensor)
        command = [python, "-c", _FRESH_LOAD, str(model), str(source), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise CheckFailed(f"a fresh process cannot run the finished file: {last}")
        with np.load(target) as outputs:
            return [outputs[name] for name in outputs.files]


def check_reload(data: bytes, finished: bytes, tensor: NDArray[np.generic], pythons: tuple[str, ...] = ()) -> None:
    """The file on disk answers in fresh processes as the graph does in this one.

    Args:
        data: the bytes of the file.
        finished: the graph that the gates judged.
        tensor: one input.
        pythons: interpreters of other environments (with tflite-runtime, say) to check it in as well; there one level
            of difference is allowed, since their kernels round differently.

    Raises:
        CheckFailed: an answer differs, or a process fails.
    """
    from ai_edge_litert.interpreter import Interpreter

    here = Interpreter(model_content=finished, num_threads=1)
    here.allocate_tensors()
    here.set_tensor(here.get_input_details()[0]["index"], tensor)
    here.invoke()
    expected = [here.get_tensor(detail["index"]) for detail in here.get_output_details()]
    for python in (sys.executable, *pythons):
        found = run_in_fresh_process(data, tensor, python)
        allowed = 0 if python == sys.executable else 1
        if len(found) != len(expected) or any(_apart(a, b) > allowed for a, b in zip(found, expected, strict=True)):
            where = "in a fresh process" if python == sys.executable else f"under {python}"
            raise CheckFailed(f"the finished file answers differently {where}; nothing was written")


def _apart(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """The largest difference: in levels for integers, in thousandths of the largest value for floats."""
    wide, other = a.astype(np.float64), b.astype(np.float64)
    if a.shape != b.shape:
        return float("inf")
    scale = 1.0 if np.issubdtype(a.dtype, np.integer) else 1e-3 * max(float(np.abs(other).max()), 1e-30)
    return float(np.abs(wide - other).max()) / scale
