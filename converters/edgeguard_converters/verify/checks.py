"""Checks of the finished bytes, before anything is written where the user asked for it."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import CheckFailed
from edgeguard.model.runtime import dequantise
from edgeguard.statistics import snr_db
from edgeguard_converters.graph import edit

_LEAST_SNR_DB = 15.0
_SMALL = 100_000  # bytes: below, operators and names weigh more than weights

_FRESH_LOAD = """
import sys, numpy as np
try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter
model = Interpreter(sys.argv[1], num_threads=1)
model.allocate_tensors()
details = model.get_input_details()[0]
targets = model.get_output_details()
answers = [[] for _ in targets]
for image in np.load(sys.argv[2]):
    model.set_tensor(details["index"], image[None])
    model.invoke()
    for values, target in zip(answers, targets):
        values.append(model.get_tensor(target["index"])[0].copy())
kinds = [operator["op_name"] for operator in model._get_ops_details()]
np.savez(sys.argv[3], *map(np.stack, answers))
print("delegated" if "DELEGATE" in kinds else "not delegated")
"""


def check_file(data: bytes, io: str = "uint8", float_allowed: bool = False, float_bytes: int | None = None) -> None:
    """Refuse a file that is not what was asked for: integer-only, borders of the right type, all buffers inside.

    Args:
        data: the finished graph.
        io: type of input and outputs.
        float_allowed: some of its layers are meant to compute in float; outputs of those may be float.
        float_bytes: the size of the float graph, of which an integer-only one of more than 100 kB takes less than half.

    Raises:
        CheckFailed: naming what is wrong.
    """
    from ai_edge_litert.interpreter import Interpreter

    if not float_allowed and io != "float32" and (floats := edit.float_tensors(data)):
        raise CheckFailed(f"the quantised graph still computes in float at {floats[0]} ({len(floats)} tensors)")
    if not float_allowed and float_bytes is not None and len(data) > max(float_bytes / 2, _SMALL):
        raise CheckFailed(
            f"the quantised file has {len(data):,} bytes, the float one {float_bytes:,}: weights stayed float"
        )
    if edit.has_offset_buffers(data):
        raise CheckFailed("the quantised file stores buffers outside the flatbuffer")
    model = Interpreter(model_content=data)
    taken, given = (
        {np.dtype(d["dtype"]).name for d in found} for found in (model.get_input_details(), model.get_output_details())
    )
    if taken != {io} or not given <= ({io, "float32"} if float_allowed else {io}):
        raise CheckFailed(f"the quantised file takes and gives {', '.join(sorted(taken | given))}, not {io}")


@dataclass(frozen=True, eq=False)
class FreshRun:
    """Raw outputs (n, ...) of a batch, and whether a delegate (XNNPACK) took at least part of the graph."""

    outputs: list[NDArray[np.generic]]
    delegated: bool


def run_in_fresh_process(data: bytes, tensor: NDArray[np.generic], python: str = sys.executable) -> FreshRun:
    """Run a batch of inputs in a new process that loads the file from disk.

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
            delegated = "not delegated" not in done.stdout
            return FreshRun([outputs[name] for name in outputs.files], delegated)


def check_reload(data: bytes, finished: bytes, inputs: NDArray[np.generic], pythons: tuple[str, ...] = ()) -> list[str]:
    """The file on disk answers in fresh processes as the graph does in this one; lines about what is worth knowing.

    Args:
        data: the bytes of the file.
        finished: the graph that the gates judged.
        inputs: a few of the model's inputs, (n, h, w, 3).
        pythons: interpreters of other environments (with tflite-runtime, say) to check it in as well. Their kernels may
            round differently at every layer, so there the outputs' SNR has to reach 15 dB.

    Raises:
        CheckFailed: an answer differs, or a process fails.
    """
    from ai_edge_litert.interpreter import Interpreter

    here = Interpreter(model_content=finished, num_threads=1)
    here.allocate_tensors()
    details, collected = here.get_output_details(), []
    for image in inputs:
        here.set_tensor(here.get_input_details()[0]["index"], image[None])
        here.invoke()
        collected.append([here.get_tensor(detail["index"])[0].copy() for detail in details])
    expected = [np.stack(values) for values in zip(*collected, strict=True)]
    fresh = run_in_fresh_process(data, inputs)
    if not all(np.array_equal(a, b) for a, b in zip(fresh.outputs, expected, strict=True)):
        raise CheckFailed("the finished file answers differently in a fresh process; nothing was written")
    said = [] if fresh.delegated else ["XNNPACK takes no part of this graph: it runs on the slower built-in kernels"]
    for python in pythons:
        found = run_in_fresh_process(data, inputs, python)
        pairs = zip(expected, found.outputs, details, strict=True)
        snr = min(snr_db(dequantise(a, detail), dequantise(b, detail)) for a, b, detail in pairs)
        if not snr >= _LEAST_SNR_DB:
            raise CheckFailed(f"under {python} the finished file answers otherwise ({snr:.1f} dB); nothing was written")
        said.append(f"under {python} the file answers within {snr:.1f} dB on {len(inputs)} images")
    return said
