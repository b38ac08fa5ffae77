"""`fleet status`: listens, serves the page, and halts a rollout that too many devices take back."""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgeguard.errors import DeviceError, EdgeGuardError
from edgeguard.fleet.trust import Rollout
from edgeguard.fleet.workstation.collect import Collector, Fleet
from edgeguard.fleet.workstation.page import FleetPage, summary
from edgeguard.fleet.workstation.publish import Repository, change, read_rollout
from edgeguard.fleet.workstation.rollout import progress
from edgeguard.settings.check import checked
from edgeguard.settings.declare import ADDRESS, Key
from edgeguard.sinks.mqtt_client import Broker

_LOOK_S = 5.0
_WEB = Key("web", str, None, words=ADDRESS)
_log = logging.getLogger(__name__)


@dataclass
class Halts:
    """Looks at the rollouts of a repository, and halts what fails.

    Attributes:
        repository, keys: folders.
        rollout: what was rolled out when somebody looked last.
    """

    repository: Path
    keys: Path
    rollout: Rollout | None = None

    def look(self, fleet: Fleet) -> list[str]:
        """Halt what has to be halted; the titles of what was.

        Raises:
            InputError: no repository, or no key to halt with.
            DeviceError: the repository cannot be written.
        """
        where, halted = Repository(self.repository, self.keys), []
        self.rollout = read_rollout(where, datetime.now(UTC))
        for offer in self.rollout.bundles:
            title = f"{offer.name}-{offer.version}"
            found = progress(title, fleet.snapshot())
            if not offer.halted and found.must_halt:
                self.rollout = change(where, title, halted=True, now=datetime.now(UTC))
                halted.append(title)
                _log.warning(
                    "%s IS HALTED: %d of %d devices took it back, at least %.0f %% do (95 %%)",
                    title, found.failed, found.failed + found.well, 100 * found.failures_at_least,
                )  # fmt: skip
        return halted


def watch(
    broker: Broker, devices: Path | None, halts: Halts | None, *, web: str | None, token: str | None, seconds: float
) -> str:
    """Serve the page until a signal ends it; without a page listen for some seconds.

    Args:
        broker: where devices talk.
        devices: see `collect.Fleet`.
        halts: None leaves rollouts alone.
        web: HOST:PORT of the page.
        token: of the page.
        seconds: without a page.

    Returns:
        What is known in the end, as JSON.

    Raises:
        InputError: there is no such address.
        DeviceError: the broker cannot be reached, or the address is taken.
    """
    if web is not None:
        checked(_WEB, web, "--web")
    fleet = Fleet(devices)
    if halts is not None:
        halts.look(fleet)
    with Collector(broker, fleet) as collector:
        over = threading.Event()
        if web is None:
            _listen(fleet, halts, time.monotonic() + seconds, over)
            if not collector.connected:
                raise DeviceError(f"{broker.url} cannot be reached: is the broker running?")
        else:
            host, _, port = web.rpartition(":")
            rollout = _rollout_of(halts)
            with FleetPage(host, int(port), fleet=fleet, rollout=rollout, token=token) as page:
                _log.info("the fleet: %s", page.url)
                _listen(fleet, halts, None, over)
        return json.dumps(summary(fleet, _rollout_of(halts)()))


def _rollout_of(halts: Halts | None) -> Callable[[], Rollout | None]:
    return lambda: None if halts is None else halts.rollout


def _listen(fleet: Fleet, halts: Halts | None, until: float | None, over: threading.Event) -> None:
    said = ""
    while until is None or time.monotonic() < until:
        over.wait(_LOOK_S if until is None else max(min(_LOOK_S, until - time.monotonic()), 0))
        if halts is None:
            continue
        try:
            halts.look(fleet)
        except EdgeGuardError as error:  # a full disk ends no watch; the next look tries again
            if str(error) != said:
                _log.warning("%s", error)
            said = str(error)
