"""The process in which a foreign graph lives: started by `model.watched`, never imported.

It is run as a script with nothing but numpy and the runtime loaded. The runtime's wrapper is the very `runtime.py` of
this folder. It shuts itself in before it loads anything, and what it may use is limited before it looks at the graph.
It answers the parent over a socket: a length, and JSON; after that one byte a frame. The socket is read and written as
a file, since a confined process has no calls for sockets. Frames and outputs lie in memory that both share.
"""

import importlib.util
import json
import mmap
import os
import resource
import signal
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

RUN, DONE, FAILED = b"r", b"k", b"e"
_ORPHAN_S = 30.0  # the parent's own deadlines are shorter: beyond them nobody waits any more


def main() -> None:
    """Say that the libraries are loaded, load the graph, run it once on zeros, then once for each request."""
    line = int(sys.argv[1])
    model, shared, threads, memory_bytes = (int(word) for word in sys.argv[2:6])
    on_edgetpu = sys.argv[6] == "edgetpu"
    if not on_edgetpu:  # libedgetpu opens the device through sockets and files of the system
        _shut_in(memory_bytes)
    runtime = _beside("runtime")
    delegates: list[Any] = []
    try:
        if on_edgetpu:
            delegates = [_beside("edgetpu").edgetpu_delegate(runtime.runtime()[3])]
        else:
            runtime.runtime()
    except Exception as error:
        _tell(line, {"error": _one_line(error), "device": True})
        return
    _tell(line, {})
    _limit(memory_bytes)
    signal.setitimer(signal.ITIMER_REAL, _ORPHAN_S)  # kills in native code too, unless it is set to zero in time
    try:
        runner = runtime.GraphRunner(_all_of(model), threads=threads, delegates=delegates)
        _tell(line, _first_run(runner))
    except Exception as error:
        _tell(line, {"error": _one_line(error)})
        return
    signal.setitimer(signal.ITIMER_REAL, 0)
    _serve(line, runner, shared)


def _first_run(runner: Any) -> dict[str, Any]:
    """The graph's borders, after a run on zeros: some graphs know the size of their outputs only then."""
    import numpy as np

    for position, detail in enumerate(runner.inputs):
        runner.set(np.zeros(detail["shape"], detail["dtype"]), position)
    runner.invoke()
    outputs = [_plain(detail, np.shape(runner.get(detail))) for detail in runner.outputs]
    return {"inputs": [_plain(detail, detail["shape"]) for detail in runner.inputs], "outputs": outputs}


def _plain(detail: dict[str, Any], shape: Any) -> dict[str, Any]:
    import numpy as np

    scale, zero_point = detail["quantization"]
    return {
        "name": str(detail["name"]),
        "index": int(detail["index"]),
        "shape": [int(side) for side in shape],
        "dtype": np.dtype(detail["dtype"]).name,
        "quantization": [float(scale), int(zero_point)],
    }


def _serve(line: int, runner: Any, shared: int) -> None:
    """One frame for each byte on the line. The first message says where in the shared memory each tensor lies."""
    import numpy as np

    layout = json.loads(_message(line))
    memory = mmap.mmap(shared, layout["size"])

    def views(details: list[dict[str, Any]], places: list[Any]) -> list[tuple[Any, dict[str, Any]]]:
        pairs = zip(details, places, strict=True)
        return [(np.ndarray(shape, detail["dtype"], memory, start), detail) for detail, (start, shape) in pairs]

    inputs, outputs = views(runner.inputs, layout["inputs"]), views(runner.outputs, layout["outputs"])
    while os.read(line, 1) == RUN:
        signal.setitimer(signal.ITIMER_REAL, _ORPHAN_S)
        try:
            for position, (view, _) in enumerate(inputs):
                runner.set(view, position)
            runner.invoke()
            for view, detail in outputs:
                values = runner.get(detail)
                if values.shape != view.shape:
                    raise ValueError(f"an output changed its size to {values.shape}")
                view[...] = values
        except Exception as error:
            os.write(line, FAILED)
            _tell(line, {"error": _one_line(error)})
        else:
            os.write(line, DONE)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _limit(memory_bytes: int) -> None:
    """What this process may use from here on, beside what its libraries have taken."""
    now = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    for what, limit in (
        (resource.RLIMIT_DATA, now + memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(what, (limit, limit))


def _shut_in(memory_bytes: int) -> None:
    """No file but the libraries', no network, no other process, as far as the system gives it."""
    sys.path.append(str(Path(__file__).parents[2]))  # where no package is installed: EdgeGuard's own folder
    from edgeguard.system.confine import Limits, confine

    confine(None, Limits(memory_bytes=memory_bytes, folder_bytes=0, cpu_s=None))


def _beside(name: str) -> ModuleType:
    """A module of this folder by its path: the package would load far more than a graph needs."""
    spec = importlib.util.spec_from_file_location(f"edgeguard_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _all_of(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _message(line: int) -> bytes:
    (length,) = struct.unpack("<I", _exactly(line, 4))
    return _exactly(line, length)


def _exactly(line: int, count: int) -> bytes:
    found = b""
    while len(found) < count:
        if not (part := os.read(line, count - len(found))):
            raise EOFError("nobody is there any more")
        found += part
    return found


def _tell(line: int, fields: dict[str, Any]) -> None:
    text = json.dumps(fields).encode()
    data = struct.pack("<I", len(text)) + text
    while data:
        data = data[os.write(line, data) :]


def _one_line(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it wants more memory than it may have"
    return (" ".join(str(error).split()) or type(error).__name__)[:400]


if __name__ == "__main__":
    main()
