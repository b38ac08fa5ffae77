"""Work that goes on where it was interrupted: results that are kept are read, the others are made and kept."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from edgeguard.evaluate.engine.executors import Executor

Result = TypeVar("Result")


class Job(Protocol):
    """A unit of work that can run on any core or machine."""

    @property
    def key(self) -> str:
        """Names the result: a hash of everything that it depends on, paths left out."""
        ...


Work = TypeVar("Work", bound=Job)


class Results(Protocol[Result]):
    """Where results are kept, each under its job's key."""

    def load(self, key: str) -> Result | None:
        """A result, or None where there is none that is whole."""
        ...

    def save(self, key: str, result: Result) -> None:
        """Keep a result, all or nothing."""
        ...


def finished(
    jobs: Sequence[Work],
    run: Callable[[Work], Result],
    *,
    kept: Results[Result],
    executor: Executor,
    progress: Callable[[int, int], None],
    fits: Callable[[Work, Result], bool] = lambda job, result: True,
) -> list[Result]:
    """Each job's result, in the jobs' order.

    Args:
        jobs: what is to be done.
        run: does one; a function of a module, so that other processes find it.
        kept: where results are looked for first, and kept as soon as they come.
        executor: runs those that are missing.
        progress: called with the number of results that are there and the number of all: at the beginning, then after
            each.
        fits: whether a kept result can be the job's; one that cannot is made again. The folder may come from somebody.

    Raises:
        DeviceError: a worker was killed, or a result cannot be written; what is finished is kept.
    """
    found = {
        index: result
        for index, job in enumerate(jobs)
        if (result := kept.load(job.key)) is not None and fits(job, result)
    }
    missing = [index for index in range(len(jobs)) if index not in found]
    progress(len(found), len(jobs))
    for place, result in executor.map(run, [jobs[index] for index in missing]):
        index = missing[place]
        kept.save(jobs[index].key, result)
        found[index] = result
        progress(len(found), len(jobs))
    return [found[index] for index in range(len(jobs))]
