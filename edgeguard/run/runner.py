"""A run from settings to its end: model, camera, pipeline, alarms, sinks, housekeeping."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeguard.camera import Source
from edgeguard.camera.reader import State
from edgeguard.errors import DeviceError, JpegError
from edgeguard.guard.passes import Received
from edgeguard.jpeg.header import read_jpeg_info
from edgeguard.jpeg.seal import Seal, read_seal
from edgeguard.model import Model
from edgeguard.pipeline import Pipeline, Region
from edgeguard.pipeline.alarms import Alarm, Alarms
from edgeguard.pipeline.core_share import CoreShare
from edgeguard.pipeline.event import EventLog
from edgeguard.pipeline.heard import HeardSettings
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.png.frame import read_png_info
from edgeguard.run.notify import notify
from edgeguard.run.outputs import Outputs, open_servers, open_sinks
from edgeguard.run.settings import Settings
from edgeguard.run.throttle import ThrottleController
from edgeguard.smoothing.frames import FrameSmoother
from edgeguard.system.power import read_power
from edgeguard.watch.events import Watch

if TYPE_CHECKING:
    from edgeguard.sinks.event_store import EventStore

_TICK_S = 1.0
_MOST_SAID = 8  # different bugs
_LONGEST_DELAY_S = 1.5  # between attempts to open a camera again, but for a picture that is asked for more rarely
_REFUSED_FOR_S = 30.0  # the alarm goes on for so long after the last frame that was refused
_STUCK_S = 20.0  # frames arrive and no result comes: systemd should restart the service

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a run ended; `failure` is what ended it (None where nothing did), `terminated` that it was told to end."""

    pipeline: Pipeline
    status: RunStatus
    failure: DeviceError | None
    terminated: bool


@dataclass(eq=False)
class Camera:
    """One camera of a run.

    Attributes:
        stop: no further result is wanted.
    """

    settings: Settings
    pipeline: Pipeline
    status: RunStatus
    alarms: Alarms
    watch: Watch
    stop: bool = False

    def work(self, sinks: Sequence[Any], shown: Callable[[FrameResult], None]) -> None:
        """Hand each result to its sinks, until the source ends or `settings.frames` were given."""
        for found in self.pipeline:
            rung = replace(found, alarms=self.alarms.update(found))  # by what the model said, not by what counts of it
            result = self.watch.update(rung, live=self.pipeline.source.live)
            self.status.ringing = result.alarms
            self.status.update(result)
            for sink in sinks:
                sink.write(result)
            shown(result)
            if self.stop or 0 < self.settings.frames <= self.pipeline.counters.frames:
                break


def run(
    settings: Settings,
    model: Model,
    open_frames: Callable[[], Source],
    *,
    shown: Callable[[FrameResult], None] = lambda result: None,
    ends: tuple[type[BaseException], ...] = (),
) -> Outcome:
    """Run until the source ends, `settings.frames` results were given, or a signal's exception ends it.

    What a user has to know (losses, alarms, addresses) is logged.

    Args:
        settings: see `Settings`.
        model: with the contract that is to be used.
        open_frames: opens the source; called again after a loss.
        shown: called with each result.
        ends: exceptions that are a clean end (a signal's).

    Raises:
        InputError: a sink, a region or a rule that cannot be.
        DeviceError: a sink that cannot be opened at the start; a loss while running ends in the outcome.
    """
    settings.rules.check_model(model.contract, model.classes)
    source = open_frames()
    try:
        camera = prepared(settings, model, source, open_frames)
    except BaseException:
        source.close()
        raise
    if str(source.applied):
        _log.info("%s: %s", source.name, source.applied)
    failure: DeviceError | None = None
    terminated = False
    with ExitStack() as stack:
        stack.enter_context(camera.pipeline)
        shared = stack.enter_context(Outputs(settings))
        sinks = open_sinks(settings, source, camera.status, stack, shared)
        open_servers(settings, {"": camera.status}, stack, shared.store)
        stack.callback(camera.watch.close)
        stack.enter_context(housekeeping([camera], shared.store))
        try:
            camera.work(sinks, shown)
        except DeviceError as error:
            failure = error
        except ends:
            terminated = True
    return Outcome(camera.pipeline, camera.status, failure, terminated)


def prepared(
    settings: Settings,
    model: Model,
    source: Source,
    open_frames: Callable[[], Source],
    *,
    name: str = "",
    log: EventLog | None = None,
    share: CoreShare | None = None,
) -> Camera:
    """A camera that is ready to work.

    Args:
        settings: its own.
        model: with the contract that is to be used.
        source: of its frames, opened.
        open_frames: opens it again after a loss.
        name: of the camera, where there are several.
        log: of the events of all cameras.
        share: of the cores, where there are several.

    Raises:
        InputError: a region that cannot be.
    """
    log = log or EventLog()
    pipeline = _pipeline(settings, model, source, open_frames, share)
    pipeline.counters.checked_with_key = settings.key_file is not None
    status = RunStatus(source.name, model.contract, model.sha256, pipeline.counters, source.applied)
    status.camera, status.events, status.rules = name, log, settings.rules.to_dict()
    _tell_states(pipeline, status)
    alarms = Alarms(
        disagreement=settings.alarm_disagreement,
        certified=settings.alarm_certified,
        unproven=settings.alarm_unproven,
        certified_patch=settings.alarm_certified_patch,
        window=settings.alarm_window,
        changed=partial(_log_alarm, f"{name}: " if name else ""),
    )
    background = 0 if model.contract.background or model.contract.task == "segment" else None
    watch = Watch(
        settings.rules, name, log, track=settings.track and model.contract.task == "detect",
        track_score=settings.track_score, background=background,
    )  # fmt: skip
    return Camera(settings, pipeline, status, alarms, watch)


def _pipeline(
    settings: Settings, model: Model, source: Source, open_frames: Callable[[], Source], share: CoreShare | None
) -> Pipeline:
    region = None if settings.region is None else Region.parse(settings.region)
    return Pipeline(
        source,
        model,
        compare_every=settings.compare_every,
        keep_frames=settings.save is not None,
        decode_scale=settings.decode_scale,
        region=region,
        smoother=None if not settings.smooth else _smoother(settings, model, region),
        every=settings.every,
        fps=settings.fps,
        every_frame=settings.drop,
        reopen=open_frames,
        lost_after_s=settings.lost_after + (settings.poll or 0),
        longest_delay_s=max(_LONGEST_DELAY_S, settings.poll or 0),
        give_up_after_s=settings.give_up_after or None,
        heard=HeardSettings(settings.label_on, settings.label_off, settings.quiet),
        share=share,
    )


def _smoother(settings: Settings, model: Model, region: Region | None) -> FrameSmoother:
    sigma, draws, budget = settings.smooth_sigma, settings.smooth, settings.smooth_ms
    return FrameSmoother(model, region, sigma=sigma, draws=draws, budget_ms=budget)


def _tell_states(pipeline: Pipeline, status: RunStatus) -> None:
    """The camera's (or microphone's) states go to the status, losses and returns to the user."""
    device = "camera" if pipeline.model.contract.audio is None else "microphone"
    who = f"{status.camera}: " if status.camera else ""

    def changed(state: State, why: str) -> None:
        status.state = state
        if state in (State.LOST, State.REFUSED):
            status.away_since = status.away_since or time.time()
            status.reason = why
            word = f"{device} lost" if state is State.LOST else "ALL FRAMES ARE REFUSED"
            _log.warning("%s%s: %s; trying again", who, word, why)
        elif state is State.RUNNING:
            if status.away_since is not None:
                _log.info("%s%s is back", who, device)
            status.away_since, status.reason = None, ""
        notify(f"STATUS={who}{device} {state} {status.reason}".strip())

    if pipeline.reader is not None:
        pipeline.reader.on_state = changed
    else:
        status.state = State.RUNNING


def _log_alarm(who: str, alarm: Alarm) -> None:
    if alarm.ringing:
        _log.warning("%sALARM %s%s", who, alarm.name, f": {alarm.why}" if alarm.why else "")
    else:
        _log.info("%salarm %s is over", who, alarm.name)


@contextmanager
def housekeeping(cameras: Sequence[Camera], store: "EventStore | None" = None) -> Iterator[None]:
    """Once a second: alarms of the cameras, temperature and throttling, the rate that follows, systemd's watchdog."""
    over, controller, said = threading.Event(), ThrottleController(), set[str]()
    watches = [_CameraWatch(camera) for camera in cameras]

    def total() -> int:
        return sum(camera.pipeline.counters.frames for camera in cameras)

    def keep() -> None:
        before, rate = total(), 0.0
        while not over.wait(_TICK_S):
            frames = total()
            rate, before = 0.8 * rate + 0.2 * (frames - before) / _TICK_S, frames
            try:
                _duties(rate)
            except Exception as error:  # without this thread the watchdog would restart the service for ever
                tripped = f"{type(error).__name__}: {error}"
                if tripped not in said:
                    _log.warning("a bug of ours: %s; the run goes on", tripped)
                    said.add(tripped if len(said) < _MOST_SAID else "")
            if not all(_stuck(camera.pipeline, camera.status) for camera in cameras):
                notify("WATCHDOG=1")

    def _duties(rate: float) -> None:
        if store is not None:
            store.tidy()
        power = read_power()
        limit_fps = controller.update(power, rate, time.monotonic())
        for camera, watch in zip(cameras, watches, strict=True):
            watch.look()
            camera.status.power = power
            _look_at_coding(camera.status)
            _slow_down(camera, None if limit_fps is None else limit_fps / len(cameras))

    thread = threading.Thread(target=keep, name="edgeguard-housekeeping", daemon=True)
    notify("READY=1")
    thread.start()
    try:
        yield
    finally:
        notify("STOPPING=1")
        over.set()
        thread.join(timeout=5)


def _slow_down(camera: Camera, limit_fps: float | None) -> None:
    pipeline, status, own = camera.pipeline, camera.status, camera.settings.fps
    wanted = own if limit_fps is None else min(limit_fps, own or limit_fps)
    if pipeline.reader is None or wanted == pipeline.timing.fps:
        return
    pipeline.timing.fps = wanted
    limits = ", ".join(status.power.now or ())
    status.slowed = "" if limit_fps is None else f"{limit_fps:.1f} results/s ({limits})"
    if status.slowed:
        _log.warning("slowed down on purpose to %s", status.slowed)
    else:
        _log.info("back to full speed")


class _CameraWatch:
    """Holds the alarms `frozen` and `refused` while their causes last; results are not needed for that."""

    def __init__(self, camera: Camera) -> None:
        self._pipeline, self._reader, self._status = camera.pipeline, camera.pipeline.reader, camera.status
        self._alarms, self._watch, self._frozen_after_s = camera.alarms, camera.watch, camera.settings.frozen_after
        self._refused, self._refused_at = 0, float("-inf")

    def look(self) -> None:
        """To be called about once a second."""
        reader = self._reader
        if reader is None:
            return
        same_s = reader.picture.same_for_s() if self._status.state is State.RUNNING else 0.0
        frozen = 0 < self._frozen_after_s <= same_s
        what = "picture" if self._pipeline.model.contract.audio is None else "sound"
        self._alarms.hold("frozen", frozen, f"the {what} has been the same to the last bit for {same_s:.0f} s")
        now, refused = time.monotonic(), reader.refused.total()
        if refused > self._refused:
            self._refused, self._refused_at = refused, now
        kinds = ", ".join(f"{count} {kind}" for kind, count in list(reader.refused.items()))
        self._alarms.hold("refused", now - self._refused_at < _REFUSED_FOR_S, f"frames are refused: {kinds}")
        self._status.ringing = self._alarms.ringing
        self._watch.tick(self._status.ringing)
        self._pipeline.count_reader()


def _look_at_coding(status: RunStatus) -> None:
    """Which JPEG tables the camera uses; a change is said, because pass 1 is judged by them."""
    last = status.last
    if last is None or last.received is None or last.pass1 == "run":
        return
    try:
        found = _coding(last.received)
    except JpegError:  # a damaged seal: this thread must not end by what a camera sends
        return
    if found is None or found[1] == status.coding:
        return
    frames, status.coding, seal = found
    _log.info("%s: %s", frames, status.coding)
    if seal is not None and last.time_source == "received" and abs(seal.captured_at - last.captured_at) > 1:
        off_s = seal.captured_at - last.captured_at
        _log.warning(
            "the sensor's clock differs by %.0f s, or nothing proves it (--key-file): ages count from arrival", off_s
        )


def _coding(received: Received) -> tuple[str, str, Seal | None] | None:
    """Whose frames they are, how they are coded, and the seal of one; None of raw frames."""
    if received.png is not None:
        png = read_png_info(received.png)
        return "the sensor's frames", f"PNG without loss, {png.width}x{png.height}", read_seal(png)
    if received.jpeg is None:
        return None
    info = read_jpeg_info(received.jpeg)
    return "the camera's JPEGs", f"{info.coding} {info.sampling}, tables {info.tables_sha256}", read_seal(info)


def _stuck(pipeline: Pipeline, status: RunStatus) -> bool:
    """Frames arrive, and no result came for long: not the camera's fault."""
    arrived = None if pipeline.reader is None else pipeline.reader.arrived_at
    if arrived is None or status.state is not State.RUNNING:
        return False
    since = status.result_at if status.result_at is not None else status.began
    return time.monotonic() - since > max(_STUCK_S, 3 / (pipeline.timing.fps or 1e9))
