"""Several cameras in one process: one model, which they use in turns; each has threads, a slot and a share of its own.

A camera that hangs, dies or floods harms no other. It is opened in a thread of its own. It has a turn at the model when
all who wait have had theirs. All that is done for it takes at most its share of the cores (`pipeline.core_share`).
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgeguard.camera import Source, names_a_file
from edgeguard.camera.source import Applied, Captured, Lost, Unchanged
from edgeguard.errors import DeviceError, EdgeGuardError, InputError
from edgeguard.model import Model
from edgeguard.model.turns import Turns
from edgeguard.pipeline.core_share import CoreShare
from edgeguard.pipeline.event import EventLog
from edgeguard.pipeline.result import FrameResult
from edgeguard.run.outputs import Outputs, open_servers, open_sinks
from edgeguard.run.runner import Camera, Outcome, housekeeping, prepared
from edgeguard.run.settings import Settings

_LOOK_S = 0.2
_BURST_S = 0.5
_ENDING_S = 6.0
_log = logging.getLogger(__name__)
Opening = Callable[[], Source]


class LateSource:
    """A live source that is opened by whoever reads it: the connection's thread, which may hang in that.

    Attributes:
        problem: why it could not be opened; None while that is not known.
    """

    live = True

    def __init__(self, name: str, opening: Opening) -> None:
        self._name, self._opening = name, opening
        self._source: Source | None = None
        self._closed = False
        self.problem: EdgeGuardError | None = None

    @property
    def name(self) -> str:
        """The camera's name, until it is open."""
        return self._name if self._source is None else self._source.name

    @property
    def applied(self) -> Applied:
        """What was set up; nothing before it is open."""
        return Applied() if self._source is None else self._source.applied

    def frames(self) -> Iterator[Captured | Lost | Unchanged]:
        """Open it and give its frames."""
        try:
            source = self._opening()
        except EdgeGuardError as error:
            self.problem = error
            raise
        self._source = source
        if self._closed:
            source.close()
            return
        if str(source.applied):
            _log.info("%s: %s: %s", self._name, source.name, source.applied)
        yield from source.frames()

    def close(self) -> None:
        """Release it, now or as soon as it is open."""
        self._closed = True
        if self._source is not None:
            self._source.close()


@dataclass(eq=False)
class _Worker:
    """A camera and the thread that works for it."""

    name: str
    camera: Camera
    thread: threading.Thread
    late: LateSource | None
    error: Exception | None = None


def run_several(
    settings: Settings,
    model: Model,
    openings: Mapping[str, Opening],
    *,
    shown: Callable[[FrameResult], None] = lambda result: None,
    ends: tuple[type[BaseException], ...] = (),
) -> dict[str, Outcome]:
    """Run all cameras of `settings.cameras` until each has ended, or a signal's exception ends them.

    Args:
        settings: with cameras.
        model: that all of them use.
        openings: what opens each camera's source, by its name.
        shown: called with each result, from one thread at a time.
        ends: exceptions that are a clean end (a signal's).

    Returns:
        How each camera ended.

    Raises:
        InputError: a source, a sink, a region or a rule that cannot be.
        DeviceError: none of the cameras is there at the start, or an output cannot be opened.
    """
    settings.rules.check_model(model.contract, model.classes)
    log, turns, showing = EventLog(), Turns(), threading.Lock()
    share = (os.cpu_count() or 1) / len(settings.cameras)
    terminated = False

    def show(result: FrameResult) -> None:
        with showing:
            shown(result)

    with ExitStack() as stack:
        workers: list[_Worker] = []
        for one in settings.cameras:
            own, opening = settings.of_camera(one), openings[one.name]
            late = None if _is_file(one.source) else LateSource(one.name, opening)
            source = late or opening()
            try:
                camera = prepared(
                    own, model.in_turns(turns), source, opening, name=one.name, log=log,
                    share=CoreShare(share, _BURST_S, partial(_say_slowed, one.name)),
                )  # fmt: skip
            except BaseException:
                source.close()
                raise
            stack.enter_context(camera.pipeline)
            worker = _Worker(one.name, camera, threading.Thread(), late)
            workers.append(worker)
        shared = stack.enter_context(Outputs(settings))
        for worker in workers:
            camera = worker.camera
            sinks = open_sinks(camera.settings, camera.pipeline.source, camera.status, stack, shared)
            worker.thread = threading.Thread(
                target=_work, args=(worker, sinks, show), name=f"edgeguard-{worker.name}", daemon=True
            )
            stack.callback(camera.watch.close)
        open_servers(settings, {worker.name: worker.camera.status for worker in workers}, stack, shared.store)
        stack.enter_context(housekeeping([worker.camera for worker in workers], shared.store))
        try:
            for worker in workers:
                worker.thread.start()
            while running := [worker.thread for worker in workers if worker.thread.is_alive()]:
                _look_at_the_start(workers)
                running[0].join(_LOOK_S)
        except ends:
            terminated = True
        finally:
            _stop(workers)
    return {worker.name: _outcome(worker, terminated) for worker in workers}


def _work(worker: _Worker, sinks: Sequence[Any], shown: Callable[[FrameResult], None]) -> None:
    """In the camera's thread: whatever ends it ends no other."""
    try:
        worker.camera.work(sinks, shown)
    except Exception as error:
        worker.error = error
        known = isinstance(error, EdgeGuardError | BrokenPipeError)
        why = str(error) if known else f"a bug of ours: {type(error).__name__}: {error}"
        _log.warning("%s: THIS CAMERA IS NOT WATCHED ANY MORE: %s", worker.name, why)


def _say_slowed(name: str) -> None:
    _log.warning(
        "%s: sends more than its share of the cores can read: it is read more slowly, and its frames are older than "
        "they look; let the camera send fewer or smaller frames",
        name,
    )


def _look_at_the_start(workers: Sequence[_Worker]) -> None:
    """A source that cannot be ends the run; so does it when no camera is there at its start."""
    for worker in workers:
        late = worker.late
        if late is not None and isinstance(late.problem, InputError):
            raise InputError(f"{worker.name}: {late.problem}")
        if late is not None and worker.camera.status.source == worker.name:
            worker.camera.status.source, worker.camera.status.applied = late.name, late.applied
    missing = [(worker, worker.late.problem) for worker in workers if worker.late is not None and worker.late.problem]
    if len(missing) == len(workers) and not any(worker.camera.pipeline.counters.captured for worker in workers):
        worker, problem = missing[0]
        raise DeviceError(f"none of the cameras is there; {worker.name}: {problem}")


def _stop(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.camera.stop = True
        worker.camera.pipeline.timing.stop()
        if worker.camera.pipeline.reader is not None:
            worker.camera.pipeline.reader.stop()
    until = _ENDING_S
    for worker in workers:
        if worker.thread.is_alive():
            worker.thread.join(until)
            until = 0.5 if worker.thread.is_alive() else until


def _outcome(worker: _Worker, terminated: bool) -> Outcome:
    error = worker.error
    failure = error if isinstance(error, DeviceError) else None
    if error is not None and failure is None:
        raise error
    return Outcome(worker.camera.pipeline, worker.camera.status, failure, terminated)


def _is_file(source: str) -> bool:
    return names_a_file(source) or (source.startswith("synthetic:") and "fps=" not in source)
