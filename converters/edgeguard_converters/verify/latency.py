"""Float against int8 on this machine: int8 is not always the faster one."""

import os
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard_converters.graph.run import Feed

_ROUNDS = 15


@dataclass(frozen=True)
class Latency:
    """Median wall time of one inference in milliseconds, both graphs in turn, with a number of threads."""

    threads: int
    float_ms: float
    int8_ms: float


def measure_latency(
    float_data: bytes,
    int8_data: bytes,
    image: NDArray[np.uint8],
    feed: Feed,
    int8_feed: Feed = lambda image: image,
    most_threads: int | None = None,
) -> tuple[Latency, ...]:
    """Time both graphs with 1, 2, 4, ... threads, up to what the process may use.

    `image` is one picture (h, w, 3) as the model sees it; `feed` and `int8_feed` make the graphs' inputs of it.
    """
    limit = most_threads or len(os.sched_getaffinity(0))
    threads = [1 << k for k in range(limit.bit_length()) if 1 << k <= limit]
    found = []
    for count in threads:
        pair = _prepared(float_data, feed(image[None]), count), _prepared(int8_data, int8_feed(image[None]), count)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(_ROUNDS):
            for model, taken in zip(pair, times, strict=True):
                start = time.perf_counter()
                model.invoke()
                taken.append((time.perf_counter() - start) * 1e3)
        found.append(Latency(count, float(np.median(times[0])), float(np.median(times[1]))))
    return tuple(found)


def verdict(latencies: tuple[Latency, ...]) -> str:
    """One line on whether int8 is worth it here.

    Example:
        >>> verdict((Latency(1, 1.0, 1.8),))
        'keep float: int8 is 1.8x slower on this graph (1 thread)'
    """
    one = latencies[0]
    if one.int8_ms > 1.05 * one.float_ms:
        return f"keep float: int8 is {one.int8_ms / one.float_ms:.1f}x slower on this graph (1 thread)"
    return f"int8 is {one.float_ms / one.int8_ms:.1f}x as fast as float (1 thread)"


def _prepared(data: bytes, tensor: NDArray[np.generic], threads: int):  # type: ignore[no-untyped-def]
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_content=data, num_threads=threads)
    model.allocate_tensors()
    model.set_tensor(model.get_input_details()[0]["index"], tensor)
    model.invoke()
    return model
