"""A new bundle is on trial: it stays when the run is well within a minute, else the one before comes back.

The run says how it is in `status.json`, every second (`edgeguard run --status-file`).
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import DecodeError, json

from edgeguard.errors import DeviceError, EdgeGuardError
from edgeguard.fleet.archive import MANIFEST
from edgeguard.fleet.install import is_whole
from edgeguard.fleet.layout import Layout, remove_folder
from edgeguard.fleet.manifest import Health, parse_manifest
from edgeguard.fleet.service import Service
from edgeguard.fleet.state import MOST_STARTS, Before, Installed, State, read_state, write_state
from edgeguard.system.foreign import read_bounded

_LOOK_S = 0.25
_AWAY = ("lost", "refused", "back-off", "starting")
_FRESH_S = 10.0
_LEAST_FREE_BYTES = 4 << 20
#: Differences of so little are the machine's own.
_LEAST_LIMIT_MS = 20.0


@dataclass(frozen=True)
class RunStatus:
    """What a run says of itself (`sinks/status_file.py` writes it).

    Attributes:
        at: Unix time.
        frames, dropped, lost: counts since its start.
        refused: frames refused for their seal, by why.
        age_ms, decode_ms, sanitize_ms, infer_ms: median and 95th percentile.
        pass1: frames by who did pass 1.
        certified_share: mean; None where nothing can be certified.
        compared, disagreements: with the undefended path.
        labels: how often each was the answer.
        camera, reason: its state, and why.
        celsius, limits: of the processor.
    """

    at: float
    uptime_s: float
    frames: int
    camera: str
    reason: str = ""
    dropped: int = 0
    lost: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    age_ms: tuple[float | None, float | None] = (None, None)
    decode_ms: tuple[float | None, float | None] = (None, None)
    sanitize_ms: tuple[float | None, float | None] = (None, None)
    infer_ms: tuple[float | None, float | None] = (None, None)
    pass1: dict[str, int] = field(default_factory=dict)
    certified_share: float | None = None
    compared: int = 0
    disagreements: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    celsius: float | None = None
    limits: tuple[str, ...] = ()
    model: str = ""
    profile: str | None = None


def read_status(layout: Layout) -> RunStatus | None:
    """What the run said last; None where it said nothing that can be read."""
    try:
        return json.decode(read_bounded(layout.status, 1 << 16, "the status"), type=RunStatus)
    except (EdgeGuardError, DecodeError, RecursionError):
        return None


def measured_before(layout: Layout, now: float) -> Before:
    """What the old bundle's run measures, where it runs."""
    found = read_status(layout)
    if found is None or not 0 <= now - found.at <= _FRESH_S:
        return Before()
    return Before(found.age_ms[1], found.infer_ms[1], found.frames > 0, found.camera in _AWAY)


def switch(layout: Layout, new: Installed, before: Before) -> None:
    """Make the new slot current, on trial.

    Raises:
        DeviceError: the disk cannot be written; the old slot stays current.
    """
    with layout.held("state", wait=True):
        write_state(layout, read_state(layout).switched(new, before))


@dataclass(frozen=True)
class Watch:
    """How the time of a trial passes; tests have their own.

    Attributes:
        clock: monotonic seconds.
        sleep: waits.
        wall: Unix time.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    wall: Callable[[], float] = time.time


_WATCH = Watch()


def try_current(layout: Layout, service: Service, watch: Watch = _WATCH) -> str | None:
    """Start the bundle that is on trial, watch it, and keep it or take it back.

    Returns:
        None when it stays; else why it was taken back.

    Raises:
        DeviceError: the service or the disk cannot be used at all.
    """
    state = read_state(layout)
    assert state.current is not None and state.trial is not None
    why = _trial(layout, service, state, watch)
    if why is None:
        with layout.held("state", wait=True):
            write_state(layout, read_state(layout).committed())
        return None
    service.stop()
    roll_back(layout, why)
    if read_state(layout).current is not None:
        service.restart()
    return why


def roll_back(layout: Layout, why: str) -> None:
    """The bundle before is current again, and what the failed one wrote in its work folder goes.

    Raises:
        DeviceError: the disk cannot be written.
    """
    with layout.held("state", wait=True):
        state = read_state(layout)
        if state.current is None:
            return
        if not layout.work.is_symlink():  # a hostile run can put one there
            remove_folder(layout.work / state.current.title)  # first: the disk may be full by it
        write_state(layout, state.rolled_back(why))


def count_start(layout: Layout) -> tuple[Installed, str | None]:
    """Called by what starts the run: which slot to start, and why a bundle was taken back, if one was.

    A start on trial is counted durably before it happens. A bundle that takes the machine down with it comes back so
    often and no more.

    Raises:
        DeviceError: no bundle is installed, or none is whole.
    """
    taken_back = None
    while True:
        with layout.held("state", wait=True):
            state = read_state(layout)
            if state.current is None:
                raise DeviceError(f"no bundle is installed in {layout.root}: edgeguard fleet install FILE")
            why = _must_go(layout, state)
            if why is None:
                if state.trial is not None:
                    write_state(layout, state.started())
                return state.current, taken_back
            if state.previous is None:
                raise DeviceError(f"{state.current.title} {why}, and there is no other: install a bundle again")
        taken_back = f"{state.current.title} {why}"
        roll_back(layout, why)


def _must_go(layout: Layout, state: State) -> str | None:
    assert state.current is not None
    if state.trial is not None and state.trial.starts >= MOST_STARTS and state.previous is not None:
        return f"was started {state.trial.starts} times and never got well"
    if not is_whole(layout, state.current):
        return "is damaged on the disk"
    return None


def _trial(layout: Layout, service: Service, state: State, watch: Watch) -> str | None:
    assert state.current is not None and state.trial is not None
    if state.trial.starts >= MOST_STARTS:
        return f"started {state.trial.starts} times and never got well"
    if not is_whole(layout, state.current):
        return "damaged on the disk"
    health = parse_manifest((layout.slot(state.current.slot) / MANIFEST).read_bytes()).health
    began, wall = watch.clock(), watch.wall()
    service.restart()
    unmet: str | None = "not ready"
    while watch.clock() - began < health.within_s:
        watch.sleep(_LOOK_S)
        death = service.death()
        if death is not None:
            return f"the run ended: {death}"
        if (full := _disk_is_full(layout)) is not None:
            return full
        if not service.is_ready():
            continue
        status = read_status(layout)
        if status is None or status.at < wall or status.uptime_s > watch.clock() - began + 1:
            unmet = "the run says nothing of itself"
            continue
        unmet = _unmet(status, health, state.trial.before)
        if unmet is None:
            return None
    return f"{unmet} within {health.within_s:g} s"


def _unmet(status: RunStatus, health: Health, before: Before) -> str | None:
    """What is still missing for the run to be well."""
    if status.celsius is not None and status.celsius >= health.celsius:
        return f"{status.celsius:g} degrees, {health.celsius:g} are allowed"
    if "throttled" in status.limits:
        return "the processor is throttled"
    if status.frames < health.frames:
        if before.source_lost and status.camera in _AWAY:
            return None
        return f"{status.frames} of {health.frames} frames"
    for name, found, limit in (
        ("age", status.age_ms[1], _limit(health.age_p95_ms, before.age_p95_ms, health.age_ratio)),
        ("inference", status.infer_ms[1], _limit(health.infer_p95_ms, before.infer_p95_ms, health.infer_ratio)),
    ):
        if found is not None and limit is not None and found > limit:
            return f"{name} p95 {found:.0f} ms, {limit:.0f} ms are allowed"
    return None


def _limit(own_ms: float | None, before_ms: float | None, ratio: float) -> float | None:
    if own_ms is not None:
        return own_ms
    return None if before_ms is None else max(before_ms * ratio, _LEAST_LIMIT_MS)


def _disk_is_full(layout: Layout) -> str | None:
    free = os.statvfs(layout.root)
    left = free.f_bavail * free.f_frsize
    return None if left >= _LEAST_FREE_BYTES else f"the disk is full ({left >> 10} KiB left)"
