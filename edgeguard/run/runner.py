"""A run from settings to its end: model, camera, pipeline, alarms, sinks, housekeeping."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeguard.camera import Source
from edgeguard.camera.reader import State
from edgeguard.errors import DeviceError, InputError, JpegError
from edgeguard.guard.passes import Received
from edgeguard.jpeg.header import read_jpeg_info
from edgeguard.jpeg.seal import Seal, read_seal
from edgeguard.model import Model
from edgeguard.pipeline import Pipeline, Region
from edgeguard.pipeline.alarms import Alarm, Alarms
from edgeguard.pipeline.heard import HeardSettings
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.png.frame import read_png_info
from edgeguard.run.notify import notify
from edgeguard.run.settings import Settings
from edgeguard.run.throttle import ThrottleController
from edgeguard.sinks.base import Sink
from edgeguard.sinks.queued import QueuedSink
from edgeguard.smoothing.frames import FrameSmoother
from edgeguard.system.addresses import read_token
from edgeguard.system.power import read_power

_TICK_S = 1.0
_PICTURES_THAT_WAIT = {"video": 8, "recorder": 32}  # of the outputs that want pictures
_MOST_SAID = 8  # different bugs
_LONGEST_DELAY_S = 1.5  # between attempts to open a camera again, but for a picture that is asked for more rarely
_PATIENCE_S = 4.0  # the first result waits so long for an MQTT broker, behind its queue
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
        InputError: a sink or a region that cannot be.
        DeviceError: a sink that cannot be opened at the start; a loss while running ends in the outcome.
    """
    source = open_frames()
    try:
        pipeline = _pipeline(settings, model, source, open_frames)
    except BaseException:
        source.close()
        raise
    if str(source.applied):
        _log.info("%s: %s", source.name, source.applied)
    pipeline.counters.checked_with_key = settings.key_file is not None
    status = RunStatus(source.name, model.contract, model.sha256, pipeline.counters, source.applied)
    _tell_states(pipeline, status)
    alarms = Alarms(
        disagreement=settings.alarm_disagreement,
        certified=settings.alarm_certified,
        unproven=settings.alarm_unproven,
        certified_patch=settings.alarm_certified_patch,
        window=settings.alarm_window,
        changed=_log_alarm,
    )
    failure: DeviceError | None = None
    terminated = False
    with ExitStack() as stack:
        stack.enter_context(pipeline)
        sinks = _open_sinks(settings, source, status, stack)
        _open_servers(settings, status, stack)
        stack.enter_context(_housekeeping(pipeline, status, settings, alarms))
        try:
            for found in pipeline:
                result = replace(found, alarms=alarms.update(found))
                status.ringing = result.alarms
                status.update(result)
                for sink in sinks:
                    sink.write(result)
                shown(result)
                if 0 < settings.frames <= pipeline.counters.frames:
                    break
        except DeviceError as error:
            failure = error
        except ends:
            terminated = True
    return Outcome(pipeline, status, failure, terminated)


def _pipeline(settings: Settings, model: Model, source: Source, open_frames: Callable[[], Source]) -> Pipeline:
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
    )


def _smoother(settings: Settings, model: Model, region: Region | None) -> FrameSmoother:
    sigma, draws, budget = settings.smooth_sigma, settings.smooth, settings.smooth_ms
    return FrameSmoother(model, region, sigma=sigma, draws=draws, budget_ms=budget)


def _tell_states(pipeline: Pipeline, status: RunStatus) -> None:
    """The camera's (or microphone's) states go to the status, losses and returns to the user."""
    device = "camera" if pipeline.model.contract.audio is None else "microphone"

    def changed(state: State, why: str) -> None:
        status.state = state
        if state in (State.LOST, State.REFUSED):
            status.away_since = status.away_since or time.time()
            status.reason = why
            word = f"{device} lost" if state is State.LOST else "ALL FRAMES ARE REFUSED"
            _log.warning("%s: %s; trying again", word, why)
        elif state is State.RUNNING:
            if status.away_since is not None:
                _log.info("%s is back", device)
            status.away_since, status.reason = None, ""
        notify(f"STATUS={device} {state} {status.reason}".strip())

    if pipeline.reader is not None:
        pipeline.reader.on_state = changed
    else:
        status.state = State.RUNNING


def _log_alarm(alarm: Alarm) -> None:
    if alarm.ringing:
        _log.warning("ALARM %s%s", alarm.name, f": {alarm.why}" if alarm.why else "")
    else:
        _log.info("alarm %s is over", alarm.name)


def _open_sinks(settings: Settings, source: Source, status: RunStatus, stack: ExitStack) -> list[Any]:
    """Sinks of a live source stand behind queues; those of files are written in step, and nothing is dropped."""
    sinks: list[Any] = []
    for name, opening in _sinks(settings, source, status):
        if source.live:
            pictures = name in _PICTURES_THAT_WAIT
            capacity = _PICTURES_THAT_WAIT.get(name, 256)
            queued = stack.enter_context(QueuedSink(name, opening, capacity=capacity, pictures=pictures))
            status.sinks.append(queued)
            sinks.append(queued)
        else:
            sinks.append(stack.enter_context(opening()))
    return sinks


def _sinks(settings: Settings, source: Source, status: RunStatus) -> Iterator[tuple[str, Callable[[], Sink]]]:
    if settings.output is not None:
        from edgeguard.sinks.jsonl import JsonLines

        target, limit, keep = settings.output, int(settings.rotate_mb * 1e6), settings.rotate_keep
        yield "output", lambda: JsonLines(target, limit, keep)
    if settings.save is not None:
        from edgeguard.sinks.video import AnnotatedVideo

        video = Path(settings.save)
        if video.suffix.lower() != ".mp4":
            raise InputError(f"--save wants an .mp4 file, got {video}")
        yield "video", lambda: AnnotatedVideo(video, source.applied.fps or 15.0)
    if settings.record is not None:
        from edgeguard.sinks.recorder import EventRecorder

        folder, seconds = Path(settings.record), settings.record_seconds
        yield "recorder", lambda: EventRecorder(folder, seconds, int(settings.record_quota_mb * 1e6))
    if settings.status_file is not None:
        from edgeguard.sinks.status_file import StatusFile

        status_file = Path(settings.status_file)
        yield "status", lambda: StatusFile(status_file, status)
    if settings.mqtt is not None:
        from edgeguard.sinks.mqtt import Mqtt

        url, password, authority = settings.mqtt, _path(settings.mqtt_password_file), _path(settings.mqtt_ca_file)
        yield (
            "mqtt",
            lambda: Mqtt(
                url, settings.mqtt_name, status, password_file=password, ca_file=authority, patience_s=_PATIENCE_S
            ),
        )


def _open_servers(settings: Settings, status: RunStatus, stack: ExitStack) -> None:
    if settings.web is not None:
        from edgeguard.sinks.web import WebPage

        host, _, port = settings.web.rpartition(":")
        token = None if settings.web_token_file is None else read_token(Path(settings.web_token_file))
        page = stack.enter_context(
            WebPage(host, int(port), status=status, stale_after_s=settings.stale_after, token=token)
        )
        _log.info("the page: %s", page.url)
    if settings.metrics is not None:
        from edgeguard.sinks.metrics import MetricsServer

        host, _, port = settings.metrics.rpartition(":")
        token = None if settings.metrics_token_file is None else read_token(Path(settings.metrics_token_file))
        server = stack.enter_context(
            MetricsServer(host, int(port), status=status, stale_after_s=settings.stale_after, token=token)
        )
        _log.info("metrics: %smetrics", server.url)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


@contextmanager
def _housekeeping(pipeline: Pipeline, status: RunStatus, settings: Settings, alarms: Alarms) -> Iterator[None]:
    """Once a second: alarms of the camera, temperature and throttling, the rate that follows, systemd's watchdog."""
    over, controller, said = threading.Event(), ThrottleController(), set[str]()
    watch = _CameraWatch(pipeline, status, alarms, settings.frozen_after)

    def keep() -> None:
        before, rate = pipeline.counters.frames, 0.0
        while not over.wait(_TICK_S):
            frames = pipeline.counters.frames
            rate, before = 0.8 * rate + 0.2 * (frames - before) / _TICK_S, frames
            try:
                _duties(rate)
            except Exception as error:  # without this thread the watchdog would restart the service for ever
                tripped = f"{type(error).__name__}: {error}"
                if tripped not in said:
                    _log.warning("a bug of ours: %s; the run goes on", tripped)
                    said.add(tripped if len(said) < _MOST_SAID else "")
            if not _stuck(pipeline, status):
                notify("WATCHDOG=1")

    def _duties(rate: float) -> None:
        watch.look()
        status.power = read_power()
        _look_at_coding(status)
        _slow_down(controller.update(status.power, rate, time.monotonic()))

    def _slow_down(limit_fps: float | None) -> None:
        wanted = settings.fps if limit_fps is None else min(limit_fps, settings.fps or limit_fps)
        if pipeline.reader is None or wanted == pipeline.timing.fps:
            return
        pipeline.timing.fps = wanted
        limits = ", ".join(status.power.now or ())
        status.slowed = "" if limit_fps is None else f"{limit_fps:.1f} results/s ({limits})"
        if status.slowed:
            _log.warning("slowed down on purpose to %s", status.slowed)
        else:
            _log.info("back to full speed")

    thread = threading.Thread(target=keep, name="edgeguard-housekeeping", daemon=True)
    notify("READY=1")
    thread.start()
    try:
        yield
    finally:
        notify("STOPPING=1")
        over.set()
        thread.join(timeout=5)


class _CameraWatch:
    """Holds the alarms `frozen` and `refused` while their causes last; results are not needed for that."""

    def __init__(self, pipeline: Pipeline, status: RunStatus, alarms: Alarms, frozen_after_s: float) -> None:
        self._pipeline, self._reader, self._status, self._alarms = pipeline, pipeline.reader, status, alarms
        self._frozen_after_s = frozen_after_s
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
