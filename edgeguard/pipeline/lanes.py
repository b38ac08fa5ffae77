"""Two interpreters side by side, where every frame counts and none of them hurries.

One inference on all cores is done soonest, but its threads wait for each other, above all where another thread prepares
a frame meanwhile. Two inferences on half of the cores each give more frames a second for less processor time.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.interpreter import Model

_LANES = 2
_WARM = 8  # frames that one interpreter takes before there are others: fewer are not worth loading them


@dataclass(frozen=True, eq=False)
class Answer:
    """What the graph gave for one tensor (`Model.run`), and how long it computed."""

    outputs: tuple[NDArray[np.float32], ...]
    infer_ms: float


class Lanes:
    """Interpreters of one model, which take tensors in turn. Use as a context manager.

    Args:
        model: whose threads they share among them.
    """

    def __init__(self, model: Model) -> None:
        self._model, self._seen = model, 0
        self._free: SimpleQueue[Model] = SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None
        self._useful = model.threads >= _LANES

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, tensor: NDArray[np.generic]) -> "Future[Answer] | None":
        """Have a tensor computed; None where the caller's own interpreter should do it. For one thread."""
        self._seen += 1
        if not self._useful or self._seen <= _WARM:
            return None
        if self._pool is None:
            for _ in range(_LANES):
                copy = self._model.beside(self._model.threads // _LANES)
                if copy is None:
                    self._useful = False
                    return None
                self._free.put(copy)
            self._pool = ThreadPoolExecutor(_LANES, thread_name_prefix="edgeguard-model")
        return self._pool.submit(self._compute, tensor)

    def _compute(self, tensor: NDArray[np.generic]) -> Answer:
        model = self._free.get()
        try:
            began = time.perf_counter()
            outputs = model.run(tensor)
            return Answer(outputs, (time.perf_counter() - began) * 1e3)
        finally:
            self._free.put(model)
