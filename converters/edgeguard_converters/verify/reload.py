"""The finished file in fresh processes: on disk it has to answer as the graph did that passed the gates."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import CheckFailed
from edgeguard.model import runtime
from edgeguard.statistics import lowest_snr_db
from edgeguard_converters.graph.run import RawOutputs
from edgeguard_converters.graph.tflite_graph import TfliteGraph

_LEAST_SNR_DB = 15.0

#: Runs in a Python that may hold nothing of EdgeGuard: the wrapper of the runtime is read from its file.
_FRESH_RUN = """
import runpy, sys, numpy as np
model, source, target, wrapper = sys.argv[1:]
runner = runpy.run_path(wrapper)["GraphRunner"](model)
answers = [runner.run_raw(image[None]) for image in np.load(source)]
np.savez(target, *map(np.stack, zip(*answers)))
print("delegated" if runner.delegated else "not delegated")
"""


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
        command = [python, "-c", _FRESH_RUN, str(model), str(source), str(target), str(runtime.__file__)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise CheckFailed(f"a fresh process cannot run the finished file: {last}")
        with np.load(target) as outputs:
            delegated = "not delegated" not in done.stdout
            return FreshRun([outputs[name] for name in outputs.files], delegated)


def check_reload(
    file: TfliteGraph, judged: TfliteGraph, inputs: NDArray[np.generic], *, pythons: tuple[str, ...] = ()
) -> list[str]:
    """The file on disk answers in fresh processes as the graph does in this one; lines about what is worth knowing.

    Args:
        file: what is to be written, the contract inside.
        judged: the graph that passed the gates.
        inputs: a few of the model's inputs, (n, h, w, 3).
        pythons: interpreters of other environments (with tflite-runtime, say) to check it in as well. Their kernels may
            round differently at every layer, so there the outputs' SNR has to reach 15 dB.

    Raises:
        CheckFailed: an answer differs, or a process fails.
    """
    expected = judged.run((image[None] for image in inputs), threads=1)
    fresh = run_in_fresh_process(file.data, inputs)
    if not all(np.array_equal(a, b) for a, b in zip(fresh.outputs, expected.values, strict=True)):
        raise CheckFailed("the finished file answers differently in a fresh process; nothing was written")
    said = [] if fresh.delegated else ["XNNPACK takes no part of this graph: it runs on the slower built-in kernels"]
    for python in pythons:
        found = RawOutputs(tuple(run_in_fresh_process(file.data, inputs, python).outputs), expected.details)
        snr = lowest_snr_db(expected.dequantized(), found.dequantized())
        if not snr >= _LEAST_SNR_DB:
            raise CheckFailed(f"under {python} the finished file answers otherwise ({snr:.1f} dB); nothing was written")
        said.append(f"under {python} the file answers within {snr:.1f} dB on {len(inputs)} images")
    return said
