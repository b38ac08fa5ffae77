"""The agent: looks for a bundle, brings it, tries it, keeps it or takes it back, and says how things are."""

import logging
import math
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from edgeguard.errors import CheckFailed, EdgeGuardError
from edgeguard.fleet.choose import choose
from edgeguard.fleet.fetch import Fetcher, download
from edgeguard.fleet.identity import Device, device_key
from edgeguard.fleet.install import Golden, install_file
from edgeguard.fleet.layout import Layout
from edgeguard.fleet.link import Link
from edgeguard.fleet.looks import Looks
from edgeguard.fleet.probation import Watch, measured_before, read_status, switch, try_current
from edgeguard.fleet.service import Service
from edgeguard.fleet.state import read_state
from edgeguard.fleet.telemetry import Memory, message, read_memory, signed, write_memory
from edgeguard.fleet.trust import Repository, release_keys
from edgeguard.system.files import sha256_file

_TELEMETRY_S = 60.0
_KEEP_S = 900.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a look at the repository came to.

    Attributes:
        kind: nothing new, a new bundle that stays, or one that was taken back.
        text: in one line.
    """

    kind: Literal["current", "updated", "taken back"]
    text: str


@dataclass(frozen=True)
class Updater:
    """One device and the run that it updates.

    Attributes:
        layout, device: of the device.
        service: the run.
        watch: how time passes in trials.
        golden: another way to run golden images (tests and simulations).
        now: the device's clock.
    """

    layout: Layout
    device: Device
    service: Service
    watch: Watch = field(default_factory=Watch)
    golden: Golden | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def resume(self) -> Outcome | None:
        """Go on with a trial that a power cut or a kill interrupted."""
        with self.layout.held("update", wait=False):
            return self._try() if read_state(self.layout).trial is not None else None

    def look(self, url: str, fetcher: Fetcher) -> Outcome:
        """Look at the repository once, and take what is for us.

        Raises:
            InputError: the repository or a bundle is refused.
            DeviceError: network, disk or clock.
            CheckFailed: the golden images differ.
        """
        with self.layout.held("update", wait=False):
            repository = Repository(self.layout, url, fetcher, self.now())
            rollout = repository.rollout()
            state = read_state(self.layout)
            offer = choose(rollout, self.device, state)
            if offer is None:
                title = "no bundle" if state.current is None else state.current.title
                return Outcome("current", f"{title}: nothing new for this device")
            address, info = repository.file(offer)
            path = self.layout.incoming / f"{info.hashes['sha256']}.egb"
            for other in self.layout.incoming.glob("*.egb"):
                if other != path:
                    other.unlink()
            download(fetcher, address, path, info.length)
            if sha256_file(path) != info.hashes["sha256"]:
                path.unlink()
                raise CheckFailed(f"{offer.target}: the download differs from what was signed; it is fetched anew")
            return self._install(path)

    def install(self, path: Path) -> Outcome:
        """Install a bundle from a file, as from a stick; errors as `look`."""
        with self.layout.held("update", wait=False):
            return self._install(path)

    def _install(self, path: Path) -> Outcome:
        keys = release_keys(self.layout)
        try:
            installed = install_file(self.layout, path, keys, self.device, self.now(), self.golden)
        finally:
            if path.parent == self.layout.incoming:
                path.unlink(missing_ok=True)
        switch(self.layout, installed, measured_before(self.layout, self.watch.wall()))
        return self._try()

    def _try(self) -> Outcome:
        tried = read_state(self.layout).current
        assert tried is not None
        why = try_current(self.layout, self.service, self.watch)
        if why is None:
            return Outcome("updated", f"{tried.title} runs and is well")
        now = read_state(self.layout).current
        back = "there is no bundle before it" if now is None else f"{now.title} is back"
        return Outcome("taken back", f"{tried.title} was taken back: {why}; {back}")


class Reporter:
    """Makes a device's messages and gives them to its link.

    Args:
        layout, device: of the device.
        link: None where nobody listens.
    """

    def __init__(self, layout: Layout, device: Device, link: Link | None) -> None:
        self._layout, self._device, self._link = layout, device, link
        self._key, self._memory = device_key(layout), Memory() if link is None else read_memory(layout)
        self._labels: dict[str, int] = {}
        self._uptime_s, self._kept_at = 0.0, time.monotonic()
        self.refused: str | None = None

    def report(self) -> None:
        """Send a message."""
        if self._link is None:
            return
        status, now = read_status(self._layout), time.time()
        if status is not None:
            before = self._labels if status.uptime_s >= self._uptime_s else {}
            grown = {name: count - before.get(name, 0) for name, count in status.labels.items()}
            self._memory.count({name: count for name, count in grown.items() if count > 0}, now)
            self._labels, self._uptime_s = status.labels, status.uptime_s
        free = os.statvfs(self._layout.root)
        fields = message(
            self._device.device, self._memory.next(), read_state(self._layout), status,
            free_mb=free.f_bavail * free.f_frsize >> 20, dropped_messages=self._link.dropped or None,
            drift=self._memory.drift(now), refused_update=self.refused,
        )  # fmt: skip
        self._link.put("telemetry", signed(fields, self._key))
        if time.monotonic() - self._kept_at > _KEEP_S:
            self.keep()

    def keep(self) -> None:
        """Keep what has to survive a restart."""
        self._kept_at = time.monotonic()
        if self._link is not None:
            write_memory(self._layout, self._memory)


def run_once(updater: Updater, url: str, reporter: Reporter, link: Link | None) -> Outcome:
    """One look, and its report; what a timer starts. Errors as `Updater.look`."""
    try:
        resumed = updater.resume()
        outcome = updater.look(url, Fetcher()) if resumed is None or resumed.kind == "updated" else resumed
        return resumed if resumed is not None and outcome.kind == "current" else outcome
    except EdgeGuardError as error:
        reporter.refused = str(error)[:200]
        raise
    finally:
        reporter.report()
        reporter.keep()
        if link is not None:
            link.flush(5.0)


class _Upkeep:
    """Keeps a child's run alive and says how the device is, at most once a second.

    A repository that answers slowly takes days for a bundle, and neither waits for that.
    """

    def __init__(self, updater: Updater, reporter: Reporter) -> None:
        self._updater, self._reporter = updater, reporter
        self._again_at, self._deaths = -math.inf, 0
        self.report_at = time.monotonic()

    def look(self) -> None:
        """Look after both."""
        now = time.monotonic()
        if now >= self.report_at:
            self._reporter.report()
            self.report_at = time.monotonic() + _TELEMETRY_S
            self._deaths = 0
        if now < self._again_at or read_state(self._updater.layout).current is None:
            return
        self._again_at = now + 1.0
        if (death := self._updater.service.death()) is not None:
            self._deaths += 1
            if self._deaths <= 3:  # a minute
                _log.warning("the run ended: %s; starting it again", death)
                self._updater.service.restart()


def run_for_ever(updater: Updater, url: str, reporter: Reporter, link: Link | None, *, every_s: float) -> None:
    """Look every `every_s` seconds, and when the broker says that there is news; keep a child's run alive meanwhile.

    A failed look is tried again soon, then later and later. A refusal is said and changes nothing. Between two looks
    there is a pause, however often somebody says that there is news (see `Looks`).
    """
    chance, wake = random.Random(), threading.Event() if link is None else link.wake
    if (resumed := updater.resume()) is not None:
        _log.info("%s", resumed.text)
    elif read_state(updater.layout).current is not None:
        updater.service.restart()
    upkeep, failures = _Upkeep(updater, reporter), 0
    fetcher = Fetcher(meanwhile=upkeep.look)
    looks = Looks(every_s, time.monotonic() + chance.uniform(0, min(every_s, 5.0)))
    while True:
        now = time.monotonic()
        if wake.is_set():
            wake.clear()  # before the look: what is said during it counts for the next one
            looks.news(now)
        if now >= looks.at:
            failures = _look(updater, url, fetcher, reporter, failures)
            looks.ended(time.monotonic(), failures, chance.uniform(0.8, 1.2))
            upkeep.report_at = 0.0
        upkeep.look()
        wake.wait(min(1.0, max(looks.at - time.monotonic(), 0.05)))


def _look(updater: Updater, url: str, fetcher: Fetcher, reporter: Reporter, failures: int) -> int:
    """One look of many; how many in a row failed."""
    try:
        outcome = updater.look(url, fetcher)
    except EdgeGuardError as error:
        if str(error) != reporter.refused:
            _log.warning("%s", error)
        reporter.refused = str(error)[:200]
        return failures + 1
    reporter.refused = None
    if outcome.kind != "current":
        _log.info("%s", outcome.text)
    return 0
