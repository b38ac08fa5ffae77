"""How long a matrix takes at most, before it starts: what its jobs ask of each network, times seconds measured here."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.evaluate.engine.trained_target import TrainedTarget
from edgeguard.evaluate.experiments.matrix_jobs import MatrixJob, adaptive_attacks, gray_attack
from edgeguard.evaluate.forecast import asked

_IMAGES = 16  # of a job, enough to time


@dataclass(frozen=True)
class _Seconds:
    """Of one image on one core: a query, and a query with its gradient."""

    query: float
    gradient: float


def seconds_ahead(jobs: Sequence[MatrixJob], workers: int) -> float:
    """The most seconds that some jobs take.

    Every attack is counted for every image, although each only gets what the ones before it left.

    Args:
        jobs: those that are not finished.
        workers: processes; a job is not shared between them.
    """
    measured: dict[tuple[str, str], _Seconds] = {}

    def of(target: TrainedTarget, codec: str, job: MatrixJob) -> _Seconds:
        if (target.name, codec) not in measured:
            measured[target.name, codec] = _timed(target, codec, job)
        return measured[target.name, codec]

    each = []
    for job in jobs:
        behind, bare = of(job.target, job.task.codec, job), of(job.maker, "none", job)
        if job.task.white:
            seconds = sum(
                (calls[0] * behind.gradient + (calls[1] + 2) * behind.query)
                for _, attack, _ in adaptive_attacks(job.task, job.costs)
                if (calls := asked(attack))
            )
        else:
            made = gray_attack(job.task)
            seconds = behind.query + (0.0 if made is None else asked(made)[0] * bare.gradient)
        each.append(seconds * len(job.labels))
    # A greedy schedule is longer than an even share by less than its longest job.
    return 0.0 if not each else sum(each) / workers + max(each) * (1 - 1 / workers)


def _timed(target: TrainedTarget, codec: str, job: MatrixJob) -> _Seconds:
    """Of two runs the second: the first one loads things."""
    levels = to_levels(job.pixels[:_IMAGES])
    victim = target.victim(codec)
    threads, query, gradient = torch.get_num_threads(), 0.0, 0.0
    torch.set_num_threads(1)
    try:
        for _ in range(2):
            began = time.perf_counter()
            with torch.no_grad():
                victim(levels)
            between = time.perf_counter()
            changed = levels.clone().requires_grad_(True)
            torch.autograd.grad(victim(changed).sum(), changed)
            query, gradient = between - began, time.perf_counter() - between
    finally:
        torch.set_num_threads(threads)
    return _Seconds(query / len(levels), gradient / len(levels))
