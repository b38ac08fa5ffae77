"""Going on where work was interrupted, with results kept in a dictionary."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from edgeguard.evaluate.engine.executors import LocalProcesses, ThisProcess, local_executor
from edgeguard.evaluate.engine.resume import finished


@dataclass(frozen=True)
class Double:
    """A job whose result is twice its number."""

    number: int

    @property
    def key(self) -> str:
        return f"double {self.number}"


@dataclass
class Kept:
    """Results by key."""

    results: dict[str, int] = field(default_factory=dict)

    def load(self, key: str) -> int | None:
        return self.results.get(key)

    def save(self, key: str, result: int) -> None:
        self.results[key] = result


class Backwards:
    """Runs the last job first, as processes may."""

    def map(self, function: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for index in reversed(range(len(jobs))):
            yield index, function(jobs[index])

    def close(self) -> None:
        pass


def _run(job: Double) -> int:
    return 2 * job.number


def test_results_come_in_the_jobs_order_and_what_is_kept_is_not_made_again() -> None:
    kept, jobs, shown = Kept({"double 1": -1}), [Double(n) for n in range(4)], list[tuple[int, int]]()
    found = finished(jobs, _run, kept=kept, executor=Backwards(), progress=lambda done, of: shown.append((done, of)))
    assert found == [0, -1, 4, 6]
    assert kept.results == {"double 0": 0, "double 1": -1, "double 2": 4, "double 3": 6}
    assert shown == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_kept_result_that_cannot_be_the_jobs_is_made_again() -> None:
    kept, jobs = Kept({"double 1": -1, "double 2": 5}), [Double(n) for n in range(3)]
    found = finished(
        jobs, _run, kept=kept, executor=ThisProcess(), progress=lambda done, of: None,
        fits=lambda job, result: result >= 2 * job.number,
    )  # fmt: skip
    assert found == [0, 2, 5] and kept.results["double 1"] == 2


def test_what_was_made_before_an_interruption_is_kept() -> None:
    kept, jobs = Kept(), [Double(n) for n in range(4)]

    def interrupted(job: Double) -> int:
        if job.number == 2:
            raise KeyboardInterrupt
        return _run(job)

    with pytest.raises(KeyboardInterrupt):
        finished(jobs, interrupted, kept=kept, executor=ThisProcess(), progress=lambda done, of: None)
    assert kept.results == {"double 0": 0, "double 1": 2}
    asked: list[int] = []

    def counted(job: Double) -> int:
        asked.append(job.number)
        return _run(job)

    again = finished(jobs, counted, kept=kept, executor=ThisProcess(), progress=lambda done, of: None)
    assert again == [0, 2, 4, 6] and asked == [2, 3]


def test_one_worker_is_this_process() -> None:
    assert isinstance(local_executor(1), ThisProcess)
    executor = local_executor(2)
    assert isinstance(executor, LocalProcesses) and executor.workers == 2
    executor.close()
