"""Which outputs a run opens: sinks of results, and servers."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.camera import Source
from edgeguard.errors import InputError
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.run.settings import Settings
from edgeguard.sinks.base import Sink
from edgeguard.sinks.queued import QueuedSink
from edgeguard.system.addresses import read_token

if TYPE_CHECKING:
    from edgeguard.sinks.event_store import EventStore

_PICTURES_THAT_WAIT = {"video": 8, "recorder": 32}  # of the outputs that want pictures
_PATIENCE_S = 4.0  # the first result waits so long for an MQTT broker, behind its queue
_log = logging.getLogger(__name__)


class Shared:
    """A sink that the cameras of a run write to in turns. It is opened by the first of them."""

    def __init__(self, opening: Callable[[], Sink]) -> None:
        self._opening, self._lock = opening, threading.Lock()
        self._sink: Sink | None = None

    def __enter__(self) -> "Shared":
        return self

    def __exit__(self, *_: object) -> None:
        """The others may still write; `close` closes it."""

    def open(self) -> "Shared":
        """Open it where it is not; raises what its opening raises."""
        with self._lock:
            self._sink = self._sink or self._opening()
        return self

    def write(self, result: FrameResult) -> None:
        """Write one result; after a failure it is opened anew."""
        with self._lock:
            sink = self._sink = self._sink or self._opening()
            try:
                sink.write(result)
            except Exception:
                self._sink = None
                sink.__exit__(None, None, None)
                raise

    def close(self) -> None:
        """At the end of all cameras."""
        with self._lock:
            if self._sink is not None:
                self._sink.__exit__(None, None, None)


class Outputs:
    """What the cameras of a run share: the file of results, and the folder of events."""

    def __init__(self, settings: Settings) -> None:
        self.lines: Shared | None = None
        self.store = None if settings.record is None else _store(settings.record, settings.record_quota_mb)
        if settings.output is not None:
            from edgeguard.sinks.jsonl import JsonLines

            target, limit, keep = settings.output, int(settings.rotate_mb * 1e6), settings.rotate_keep
            self.lines = Shared(lambda: JsonLines(target, limit, keep))

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(self, *_: object) -> None:
        if self.lines is not None:
            self.lines.close()


def open_sinks(settings: Settings, source: Source, status: RunStatus, stack: ExitStack, shared: Outputs) -> list[Any]:
    """Sinks of a live source stand behind queues; those of files are written in step, and nothing is dropped."""
    sinks: list[Any] = []
    for name, opening in _sinks(settings, source, status, shared):
        if source.live:
            pictures = name in _PICTURES_THAT_WAIT
            capacity = _PICTURES_THAT_WAIT.get(name, 256)
            queued = stack.enter_context(QueuedSink(name, opening, capacity=capacity, pictures=pictures))
            status.sinks.append(queued)
            sinks.append(queued)
        else:
            sinks.append(stack.enter_context(opening()))
    return sinks


def _sinks(
    settings: Settings, source: Source, status: RunStatus, shared: Outputs
) -> Iterator[tuple[str, Callable[[], Sink]]]:
    if (lines := shared.lines) is not None:
        yield "output", lambda: lines.open()
    if settings.save is not None:
        from edgeguard.sinks.video import AnnotatedVideo

        video = Path(settings.save)
        if video.suffix.lower() != ".mp4":
            raise InputError(f"--save wants an .mp4 file, got {video}")
        if status.camera:
            video = video.with_stem(f"{video.stem}-{status.camera}")
        yield "video", lambda: AnnotatedVideo(video, source.applied.fps or 15.0)
    if (store := shared.store) is not None:
        from edgeguard.sinks.recorder import EventRecorder

        seconds, rules = settings.record_seconds, settings.rules.events
        before = max((rule.before + rule.frames for rule in rules if rule.record), default=0.0)
        by_rule = frozenset(rule.alarm for rule in rules if rule.record and rule.alarm is not None)
        yield "recorder", lambda: EventRecorder(store, seconds, before_s=before, camera=status.camera, by_rule=by_rule)
    if settings.status_file is not None:
        from edgeguard.sinks.status_file import StatusFile

        status_file = Path(settings.status_file)
        if status.camera:
            status_file = status_file.with_stem(f"{status_file.stem}-{status.camera}")
        yield "status", lambda: StatusFile(status_file, status)
    if settings.mqtt is not None:
        from edgeguard.sinks.mqtt import Mqtt

        url, password, authority = settings.mqtt, _path(settings.mqtt_password_file), _path(settings.mqtt_ca_file)
        name = f"{settings.mqtt_name}-{status.camera}" if status.camera else settings.mqtt_name
        yield (
            "mqtt",
            lambda: Mqtt(
                url, name, status, password_file=password, ca_file=authority, patience_s=_PATIENCE_S,
                picture_every_s=settings.mqtt_picture_every,
            ),
        )  # fmt: skip


def open_servers(
    settings: Settings, statuses: Mapping[str, RunStatus], stack: ExitStack, store: "EventStore | None"
) -> None:
    """The page, the metrics and the webhook: of all cameras.

    Args:
        settings: of the run.
        statuses: of each camera by its name.
        stack: closes them.
        store: of recorded events.
    """
    first = next(iter(statuses.values()))
    if settings.web is not None:
        from edgeguard.sinks.web import WebPage

        host, _, port = settings.web.rpartition(":")
        token = None if settings.web_token_file is None else read_token(Path(settings.web_token_file))
        page = stack.enter_context(
            WebPage(host, int(port), status=statuses, stale_after_s=settings.stale_after, token=token, store=store)
        )
        _log.info("the page: %s", page.url)
    if settings.metrics is not None:
        from edgeguard.sinks.metrics import MetricsServer

        host, _, port = settings.metrics.rpartition(":")
        token = None if settings.metrics_token_file is None else read_token(Path(settings.metrics_token_file))
        server = stack.enter_context(
            MetricsServer(host, int(port), status=statuses, stale_after_s=settings.stale_after, token=token)
        )
        _log.info("metrics: %smetrics", server.url)
    if settings.webhook is not None:
        from edgeguard.sinks.webhook import Webhook

        hook = stack.enter_context(Webhook(settings.webhook, first.events, _path(settings.webhook_token_file)))
        first.sinks.append(hook)


def _store(folder: str, quota_mb: float) -> "EventStore":
    from edgeguard.sinks.event_store import EventStore

    return EventStore(Path(folder), int(quota_mb * 1e6))


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
