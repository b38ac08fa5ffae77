"""Where units of work run: in processes on this machine, or (`cluster`) as tasks on a Ray cluster."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from edgeguard.errors import DeviceError
from edgeguard.system.workers import worker_pool

Job = TypeVar("Job")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs one function over many jobs."""

    def map(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        """(place in `jobs`, result) as they come, in any order."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class ThisProcess:
    """Jobs one after the other, here: where one worker is wanted, a process of its own is not worth its start."""

    def map(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        """See `Executor`."""
        for index, job in enumerate(jobs):
            yield index, function(job)

    def close(self) -> None:
        """There is nothing to give back."""


class LocalProcesses:
    """One process for each core, each with one thread: twice as fast on small nets as all cores on one batch.

    Args:
        workers: processes, 1 or more; as many as this process may use cores by default.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self._pool = worker_pool(self.workers, _prepare_worker)

    def map(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        """See `Executor`.

        Raises:
            DeviceError: a worker was killed (by the system, for its memory, or by hand).
        """
        futures: dict[Any, int] = {self._pool.submit(function, job): index for index, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise DeviceError("a worker process was killed (out of memory?); run the same command to go on") from error
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """End the processes, in the middle of a job too: what is finished is kept, the rest is made again."""
        self._pool.end_now()


def local_executor(workers: int | None = None) -> Executor:
    """Processes on this machine, one for each core by default; for a single worker this process."""
    return ThisProcess() if workers == 1 else LocalProcesses(workers)


def _prepare_worker() -> None:
    import torch

    os.environ["EDGEGUARD_EVALUATE_WORKER"] = "1"
    torch.set_num_threads(1)
