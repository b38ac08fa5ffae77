"""In which process a graph runs: this one, where it is harmless, else one of its own."""

import hashlib
from typing import Any, Literal

from edgeguard.model.edgetpu import edgetpu_delegate
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.harmless import objection
from edgeguard.model.runtime import load_runner, runtime
from edgeguard.model.watched import Runner, WatchedRunner

Isolate = Literal["auto", "always", "never"]
#: SHA-256 of files that come with EdgeGuard: they need no trial.
SHIPPED = frozenset({"21dd795ae8ec54041a2f7bf41460c831cfde2696f3c13619b5038e23c7fd9a87"})
#: SHA-256, threads and device of what this process has tried already.
_tried: set[tuple[str, int, bool]] = set()


def open_graph(
    model: ModelFile, *, threads: int, edgetpu: bool = False, isolate: Isolate = "auto"
) -> tuple[Runner, str | None]:
    """A graph from outside, ready to run, and why it has a process of its own (None where it runs in this one).

    Args:
        model: the file.
        threads: of the CPU kernels.
        edgetpu: give the Edge TPU what it can take.
        isolate: `auto`: a graph that is proven harmless runs here after a trial run on zeros in a child, any other one
            in a watched child for good. `always`: in a watched child. `never`: here and untried; a hostile file can
            then end this process, or take its memory.

    Raises:
        InputError: the runtime refuses the graph, crashes on it, or does not finish with it.
        DeviceError: no runtime is installed, or the Edge TPU cannot be used.
    """
    if isolate == "never":
        return _here(model.data, threads, edgetpu=edgetpu), None
    why = "so it was chosen" if isolate == "always" else _why(model)
    if why is not None:
        return WatchedRunner(model.data, threads=threads, edgetpu=edgetpu), why
    name = hashlib.sha256(model.data).hexdigest()
    if name not in SHIPPED and (name, threads, edgetpu) not in _tried:
        WatchedRunner(model.data, threads=threads, edgetpu=edgetpu).close()
        _tried.add((name, threads, edgetpu))
    return _here(model.data, threads, edgetpu=edgetpu), None


def _why(model: ModelFile) -> str | None:
    found = objection(model)
    return None if found is None else f"it {found}"


def _here(data: bytes, threads: int, *, edgetpu: bool) -> Runner:
    delegates: list[Any] = [edgetpu_delegate(runtime()[3])] if edgetpu else []
    return load_runner(data, threads=threads, delegates=delegates)
