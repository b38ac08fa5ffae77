"""The trained model in a process of its own, which ends when the float graph is written.

torch, its exporter and litert-torch hold most of the memory of a conversion, and calibration and gates need none of
them: with the model in a process of its own, their memory is given back whole before calibration begins.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from signal import SIGABRT, SIGBUS, SIGINT, SIGKILL, SIGSEGV, Signals
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import DeviceError, EdgeGuardError, is_out_of_memory
from edgeguard_converters.graph.float_graph import FloatGraph
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.load.source import Source

_LIKE_NO_MEMORY = (SIGKILL, SIGABRT, SIGSEGV, SIGBUS)
# What a library left open in a process that was killed is cleared up after our last line, and is nobody's business
_SILENT = "ignore:resource_tracker:UserWarning:multiprocessing.resource_tracker"
_PATIENCE_S = 3.0
_PATIENCE_WHEN_INTERRUPTED_S = 20.0  # an interrupt waits for torch's running operation
_CHUNK = 16  # images in the pipe at a time; a multiple of torch_source's batch, so that sums come out the same


class ModelProcess:
    """A fresh process that loads a model and answers for it; it begins with `load`.

    Example:
        >>> with ModelProcess() as process:  # doctest: +SKIP
        ...     source = process.load(Path("model.pt2"))
        ...     source.parameter_count()
        3504872
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork could hang: this process may have threads
        self._link, self._far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._far_end,), daemon=True)

    def __enter__(self) -> "ModelProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    @property
    def process_id(self) -> int:
        """Of the process, also when it is gone."""
        return self._process.ident or 0

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative: the signal that ended it."""
        return self._process.exitcode

    def load(self, path: Path, **options: Any) -> "ProcessSource":
        """As `registry.load_source`, over there."""
        if _SILENT not in sys.warnoptions:
            sys.warnoptions.append(_SILENT)  # multiprocessing starts its tracker with them
        self._process.start()
        self._far_end.close()  # or its end would never be seen
        kind, size, facts = self.ask("load", path, options)
        return ProcessSource(kind, size, facts, self, lambda: _load(path, options))

    def ask(self, name: str, *values: Any) -> Any:
        """What a method of the source returns.

        Raises:
            EdgeGuardError: what it raised there.
            MemoryError: there was no memory.
            DeviceError: the process is gone.
        """
        try:
            self._link.send((name, values))
            answer, error = self._link.recv()
        except (EOFError, OSError) as gone:
            self._process.join(_PATIENCE_S)
            number = -(self.exit_code or 0)
            why = f" ({Signals(number).name}: out of memory?)" if number in _LIKE_NO_MEMORY else ""
            raise DeviceError(f"the process that held the model is gone{why}") from gone
        if error is not None:
            raise error
        return answer

    def end(self) -> None:
        """Let it go, and its memory; twice is fine. What it was doing is interrupted, so that it clears up."""
        self._link.close()
        self._far_end.close()
        if self._process.ident is None:
            return
        for patience_s, signal in ((_PATIENCE_S, SIGINT), (_PATIENCE_WHEN_INTERRUPTED_S, SIGKILL)):
            self._process.join(patience_s)
            if self._process.is_alive():
                os.kill(self.process_id, signal)
        self._process.join()


@dataclass(frozen=True)
class ProcessSource(Source):
    """A source in a `ModelProcess`.

    Attributes:
        process: holds the model until `release`.
        load_here: loads the model in this process, for what needs the module itself.
    """

    process: ModelProcess
    load_here: Callable[[], Source]

    def outputs(self, normalized: NDArray[np.float32]) -> Outputs:
        """See `Source.outputs`."""
        chunks = [self.process.ask("outputs", normalized[i : i + _CHUNK]) for i in range(0, len(normalized), _CHUNK)]
        return tuple(np.concatenate(parts) for parts in zip(*chunks, strict=True))

    def joins_boxes(self, normalized: NDArray[np.float32]) -> bool:
        """See `Source.joins_boxes`."""
        return bool(self.process.ask("joins_boxes", normalized[:1]))

    def not_finite(self) -> str | None:
        """See `Source.not_finite`."""
        found: str | None = self.process.ask("not_finite")
        return found

    def parameter_count(self) -> int:
        """See `Source.parameter_count`."""
        return int(self.process.ask("parameter_count"))

    def export(self, normalization: Normalization, size: tuple[int, int], folder: Path, log: Path) -> FloatGraph:
        """See `Source.export`."""
        graph: FloatGraph = self.process.ask("export", normalization, size, folder, log)
        return graph

    def here(self) -> Source:
        """See `Source.here`."""
        return self.load_here()

    def release(self) -> None:
        """See `Source.release`."""
        self.process.end()


def _load(path: Path, options: dict[str, Any]) -> Source:
    from edgeguard_converters.load.registry import load_source

    return load_source(path, **options)


def _serve(link: Connection) -> None:
    """Answer until the other side is gone or the user interrupts."""
    with suppress(KeyboardInterrupt, EOFError, OSError):
        _answer(link)


def _answer(link: Connection) -> None:
    source: Source | None = None
    while True:
        name, values = link.recv()
        try:
            if name == "load":
                source = _load(*values)
                answer: Any = source.kind, source.size, source.facts
            else:
                answer = getattr(source, name)(*values)
            link.send((answer, None))
        except EdgeGuardError as error:
            link.send((None, error))
        except Exception as error:
            link.send((None, (MemoryError if is_out_of_memory(error) else RuntimeError)(str(error))))
