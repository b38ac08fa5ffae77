"""Float against int8 on this machine: int8 is not always the faster one."""

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.runtime import GraphRunner
from edgeguard_converters.graph.run import Feed
from edgeguard_converters.graph.tflite_graph import TfliteGraph

_ROUNDS = 15


@dataclass(frozen=True)
class Latency:
    """Median wall time of one inference in milliseconds, both graphs in turn, with a number of threads."""

    threads: int
    float_ms: float
    int8_ms: float


def measure_latency(
    float_graph: TfliteGraph,
    int8_graph: TfliteGraph,
    image: NDArray[np.uint8],
    *,
    feed: Feed,
    int8_feed: Feed = lambda image: image,
    most_threads: int | None = None,
) -> tuple[Latency, ...]:
    """Time both graphs with 1, 2, 4, ... threads, up to what the process may use.

    Args:
        float_graph: one of the two.
        int8_graph: the other.
        image: one picture (h, w, 3) of uint8 as the model sees it.
        feed: makes the float graph's input of it.
        int8_feed: makes the other's.
        most_threads: by default as many as the process may use.
    """
    limit = most_threads or len(os.sched_getaffinity(0))
    threads = [1 << k for k in range(limit.bit_length()) if 1 << k <= limit]
    found = []
    for count in threads:
        pair = _prepared(float_graph, feed(image[None]), count), _prepared(int8_graph, int8_feed(image[None]), count)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(_ROUNDS):
            for runner, taken in zip(pair, times, strict=True):
                start = time.perf_counter()
                runner.invoke()
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


def _prepared(graph: TfliteGraph, tensor: NDArray[Any], threads: int) -> GraphRunner:
    """A runner that has its input, and has run once."""
    runner = graph.runner(threads=threads)
    runner.set(tensor)
    runner.invoke()
    return runner
