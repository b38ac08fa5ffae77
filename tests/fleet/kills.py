"""Updates that are killed (SIGKILL) between two steps that write, or at any instant, and what has to hold after each:

    python tests/fleet/kills.py --kills 1000 [--seed 1]

A child of this process updates a device from one bundle to the next. It is killed; then the device starts, as after a
power cut: the bundle that starts is whole, and it is the old one or the new one; where the old one was on trial itself
and had its last start, the one before it. Each kind of kill comes about equally often: before the N-th system call that
opens, renames, removes or makes something, and after a random time.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fleet.fleets import FakeService, Fleet, Server, well

from edgeguard.fleet.agent import Updater
from edgeguard.fleet.fetch import Fetcher
from edgeguard.fleet.identity import Device
from edgeguard.fleet.install import is_whole
from edgeguard.fleet.layout import Layout
from edgeguard.fleet.probation import Watch, count_start
from edgeguard.fleet.state import read_state

_WRITES = (
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
)


def _updater(layout: Layout, device: Device) -> Updater:
    watch = Watch(sleep=lambda seconds: time.sleep(0.002))
    return Updater(layout, device, FakeService(well(layout)), watch, golden=lambda folder: None)


def _update(layout: Layout, device: Device, url: str) -> None:
    layout.make()
    updater = _updater(layout, device)
    if updater.resume() is None:
        updater.look(url, Fetcher())


def _killed_child(layout: Layout, device: Device, url: str, step: int | None, seconds: float) -> bool:
    """Update in a child that dies before its `step`-th write, or after so many seconds; whether it died."""
    child = os.fork()
    if child == 0:
        try:
            if step is not None:
                _die_before(step, str(layout.root))
            _update(layout, device, url)
        finally:
            os._exit(0)
    if step is None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _die_before(step: int, folder: str) -> None:
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event not in _WRITES or not any(
            str(a).startswith(folder) for a in arguments[:2] if isinstance(a, str | Path)
        ):
            return
        if event == "open" and not (
            isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        ):
            return
        count += 1
        if count >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def kills(count: int, seed: int, folder: Path) -> dict[str, int]:
    """Kill so many updates.

    Returns:
        How often the old and the new bundle started, and how many kills hit.

    Raises:
        AssertionError: what started was not whole, or a device could not be brought to the new bundle in the end.
    """
    generator, counted = random.Random(seed), Counter[str]()
    fleet = Fleet(folder)
    layout, device = fleet.device()
    version = 1
    fleet.publish(fleet.bundle(version))
    with Server(fleet.repository.folder) as server:
        _update(layout, device, server.url)
        began = time.monotonic()
        while sum(counted[k] for k in ("old", "new")) < count:
            before = read_state(layout)
            old = before.current
            assert old is not None
            # A bundle on trial that was killed at its third start is counted out: the one before it comes back.
            counted_out = before.previous.version if before.trial is not None and before.previous is not None else None
            if old.version == version:
                version += 1
                fleet.publish(fleet.bundle(version))
            by_step = generator.random() < 0.5
            step = generator.randint(1, 60) if by_step else None
            hit = _killed_child(layout, device, server.url, step, generator.uniform(0.001, 0.12))
            counted["killed" if hit else "ended before it was killed"] += 1
            started, _ = count_start(layout)
            assert started.version in (old.version, version, counted_out), (started, before, version)
            assert is_whole(layout, started), started
            counted["new" if started.version == version else "old"] += 1
            if (done := counted["old"] + counted["new"]) % 100 == 0:
                print(f"{done} kills, {time.monotonic() - began:.0f} s: {dict(counted)}", file=sys.stderr, flush=True)
            if generator.random() < 0.3:
                _finish(layout, device, server.url, version)
        _finish(layout, device, server.url, version)
        counted["seconds"] = round(time.monotonic() - began)
    return dict(counted)


def _finish(layout: Layout, device: Device, url: str, version: int) -> None:
    """The update is done in the end, or the trial was counted out, which says so."""
    for _ in range(3):
        _update(layout, device, url)
        state = read_state(layout)
        assert state.trial is None and state.current is not None
        failed = {failure.version for failure in state.failures}
        if state.current.version == version or version in failed:
            return
    raise AssertionError(f"the device stays at {state.current}")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(kills(given.kills, given.seed, Path(folder)))


if __name__ == "__main__":
    main()
