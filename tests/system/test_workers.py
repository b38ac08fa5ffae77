"""Workers end with their parent, also when it is killed."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from edgeguard.system.workers import worker_pool

_PARENT = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from test_workers import pid_of
from edgeguard.system.workers import worker_pool
if __name__ == "__main__":
    pool = worker_pool(2)
    print(*{f.result() for f in [pool.submit(pid_of, 0.3) for _ in range(2)]}, flush=True)
    time.sleep(60)
"""


def pid_of(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_a_pool_works() -> None:
    with worker_pool(2) as pool:
        assert list(pool.map(abs, [-1, 2, -3])) == [1, 2, 3]


def test_workers_end_in_the_middle_of_a_job_when_told_to() -> None:
    pool = worker_pool(2)
    workers = [future.result() for future in [pool.submit(pid_of, 0.3) for _ in range(2)]]
    running = [pool.submit(pid_of, 60) for _ in range(5)]
    began = time.monotonic()
    pool.end_now()
    assert time.monotonic() - began < 10
    assert not any(_runs(pid) for pid in workers)
    assert all(future.cancelled() or isinstance(future.exception(), BrokenProcessPool) for future in running)


def test_workers_end_that_had_no_job_yet() -> None:
    pool = worker_pool(2)
    pool.end_now()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(abs, 1)


@pytest.mark.full
def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    process = subprocess.Popen([sys.executable, script, Path(__file__).parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    workers = [int(word) for word in process.stdout.readline().split()]
    assert workers and all(Path(f"/proc/{pid}").exists() for pid in workers)
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 10
    while time.monotonic() < end and any(_runs(pid) for pid in workers):
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in workers)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False
