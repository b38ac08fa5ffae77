"""A sample of killed updates; `python tests/fleet/kills.py --kills 1000` is the whole."""

import os
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="the extra fleet is not installed")
from fleet.fleets import FakeService, Fleet, well
from fleet.kills import kills

from edgeguard.errors import DeviceError
from edgeguard.fleet.agent import Updater
from edgeguard.fleet.install import is_whole
from edgeguard.fleet.probation import count_start
from edgeguard.fleet.state import MOST_STARTS, read_state


@pytest.mark.full
def test_thirty_kills_leave_a_whole_bundle(tmp_path: Path) -> None:
    counted = kills(30, 7, tmp_path)
    assert counted["killed"] >= 15 and counted["old"] and counted["new"], counted


@pytest.mark.full
def test_a_full_disk_at_every_step_changes_nothing(tmp_path: Path) -> None:
    """Each system call that opens for writing or renames fails in turn; what was there goes on."""
    fleet = Fleet(tmp_path)
    layout, device = fleet.device()
    service = FakeService(well(layout))
    updater = Updater(layout, device, service, golden=lambda folder: None)
    updater.install(fleet.bundle(1))
    bundle = fleet.bundle(2)
    for step in range(1, 200):
        child = os.fork()
        if child == 0:
            code = 70
            try:
                _full_from(step, str(layout.root))
                updater.install(bundle)
                code = 0
            except DeviceError as error:
                code = 3 if "No space left on device" in str(error) else 71
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        current = read_state(layout).current
        assert current is not None and is_whole(layout, current)
        if code == 0:
            break
        assert code == 3, f"step {step}: exit code {code}"
    assert current is not None and current.version == 2 and step > 8


def _full_from(step: int, folder: str) -> None:
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event not in ("open", "os.mkdir") or not str(arguments[0]).startswith(folder):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
            return
        if str(arguments[0]).endswith(".lock"):
            return
        count += 1
        if count == step:
            raise OSError(28, os.strerror(28), str(arguments[0]))

    sys.addaudithook(hook)


def test_a_trial_that_takes_the_machine_down_comes_to_an_end(tmp_path: Path) -> None:
    """Power cuts during a trial: so many starts, then the bundle before."""
    fleet = Fleet(tmp_path)
    layout, device = fleet.device()
    updater = Updater(layout, device, FakeService(well(layout)), golden=lambda folder: None)
    updater.install(fleet.bundle(1))
    dying = FakeService(lambda service: os.kill(os.getpid(), signal.SIGKILL))
    child = os.fork()
    if child == 0:
        try:
            Updater(layout, device, dying, golden=lambda folder: None).install(fleet.bundle(2))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    started = [count_start(layout)[0].version for _ in range(MOST_STARTS + 1)]
    assert started == [2] * MOST_STARTS + [1]
    (failure,) = read_state(layout).failures
    assert failure.version == 2 and "never got well" in failure.why
