"""The pipeline: capture, preparation and model overlap; OpenCV, the kernel and LiteRT release the GIL."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import TypeVar

from edgeguard.camera import source_opener
from edgeguard.camera.connection import close_in_time
from edgeguard.camera.reader import Drop, FrameReader
from edgeguard.camera.source import Captured, Lost, Source, Unchanged
from edgeguard.errors import EdgeGuardError, JpegError
from edgeguard.model.contract import require_pixels
from edgeguard.model.interpreter import Model, NoAnswer, load_model
from edgeguard.model.watched import GraphFailure
from edgeguard.pipeline.core_share import CoreShare
from edgeguard.pipeline.counters import Counters
from edgeguard.pipeline.heard import HeardSettings
from edgeguard.pipeline.lanes import Lanes
from edgeguard.pipeline.losses import LossTeller
from edgeguard.pipeline.pacing import Timing
from edgeguard.pipeline.prefetch import Prefetcher
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.stages import Arrived, Ready, Stages
from edgeguard.preprocess.region import Region
from edgeguard.smoothing.frames import FrameSmoother

_QUEUE = 8
_AHEAD = 2
_CERTIFY_SHARE = 0.05  # of one core, of a live source
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Pipeline:
    """Run a model over a source. Use as a context manager; iterate for results.

    Args:
        source: where frames come from, or what `open_source` takes: it is then opened here, and again after a loss.
            Live sources keep only the latest frame, files are read in full.
        model: with its contract, or the path of a .tflite.
        compare_every: run the undefended path beside it on every so many results; 0 never.
        keep_frames: put the sanitised frame into each result (`stages.Stages`).
        decode_scale: decode JPEGs at 1/1, 1/2 or 1/4 where pass 2 works on their coefficients; by default the smallest
            whose short side is at least 1.5 times the model's.
        region: what the model sees of the frame, grown to the codec's grid.
        smoother: answers for each frame by noisy copies as well.
        every: infer on every so many frames only.
        fps: results a second at most, of a live source.
        every_frame: no latest-frame slot but a queue of eight, and which frame goes when it is full.
        reopen, lost_after_s, give_up_after_s, longest_delay_s: see `FrameReader`.
        heard: when a label of a model of sound holds; by default `HeardSettings()`.
        share: of the cores, for capturing, preparing and inferring together.

    Raises:
        InputError: what is named cannot be used: see `open_source`, `load_model`, `Region`.
        DeviceError: the camera that is named is not there.

    Example:
        >>> with Pipeline("folder/", "model.tflite") as pipeline:  # doctest: +SKIP
        ...     for result in pipeline:
        ...         print(result.to_json())
    """

    def __init__(
        self,
        source: Source | int | str | os.PathLike[str],
        model: Model | str | os.PathLike[str],
        *,
        compare_every: int = 0,
        keep_frames: bool = True,
        decode_scale: int | None = None,
        region: Region | None = None,
        smoother: FrameSmoother | None = None,
        every: int = 1,
        fps: float | None = None,
        every_frame: Drop | None = None,
        reopen: Callable[[], Source] | None = None,
        lost_after_s: float = 3.0,
        give_up_after_s: float | None = None,
        longest_delay_s: float = 1.5,
        heard: HeardSettings | None = None,
        share: CoreShare | None = None,
    ) -> None:
        model = model if isinstance(model, Model) else load_model(model)
        if compare_every:
            require_pixels(model.contract, "--compare")
        opened = isinstance(source, (int, str, os.PathLike))
        if isinstance(source, (int, str, os.PathLike)):
            opening = source_opener(source)
            source, reopen = opening(), reopen or opening
        self.source, self.model = source, model
        try:
            self.stages = self._stages(model, keep_frames, decode_scale, region, heard, smoother)
        except BaseException:
            if opened:  # nobody else could close it
                source.close()
            raise
        self.timing = Timing(fps)
        self.counters = Counters()
        self.losses: list[Lost] = []  # the first hundred that were found after capture
        self._undecodable, self._last_failure = 0, ""
        self.misread = ""  # why what the graph said was first no result
        self._tripped = self._began = False
        self._teller = LossTeller()
        self.reader: FrameReader[Arrived] | None = None
        self._share = share
        self._compare_every, self._every, self._next_wanted = compare_every, every, 0
        self._just_in_time = source.live and every_frame is None
        if source.live:
            self.reader = FrameReader(
                source, self._pass_one, reopen=reopen, lost_after_s=lost_after_s, give_up_after_s=give_up_after_s,
                capacity=1 if every_frame is None else _QUEUE, drop=every_frame or "oldest",
                on_lost=self._teller.tell, longest_delay_s=longest_delay_s,
                after_each=(lambda: None) if share is None else share.after_reading,
            )  # fmt: skip

    def _stages(
        self, model: Model, keep_frames: bool, decode_scale: int | None, region: Region | None,
        heard: HeardSettings | None, smoother: FrameSmoother | None,
    ) -> Stages:  # fmt: skip
        if model.contract.audio is not None:
            from edgeguard.pipeline.sound_stages import SoundStages

            return SoundStages(model, heard=heard or HeardSettings(), live=self.source.live)
        return Stages(
            model,
            keep_frames=keep_frames,
            decode_scale=decode_scale,
            region=region,
            certify_share=_CERTIFY_SHARE if self.source.live else None,
            smoother=smoother,
        )

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        if self.reader is None:
            self.source.close()
        elif not self._began:  # else its reader closed it
            close_in_time(self.source)
        self.counters.ended_at = time.monotonic()

    def __iter__(self) -> Iterator[FrameResult]:
        """Results in order.

        Raises:
            DeviceError: a live source was lost for good; results before that have been given.
            InputError: the graph fails again and again.
        """
        self.counters.started_at = time.monotonic()
        if self.reader is None:
            with closing(self.source):  # last: FFmpeg aborts where one thread closes what another one reads
                yield from self._results(self._from_files())
            return
        self._began = True
        with self.reader:
            try:
                yield from self._results(self._from_reader)
            finally:
                self.count_reader()

    def evaluate_frame(self, captured: Captured) -> FrameResult:
        """The result of one frame that the caller holds; it is not counted.

        Raises:
            JpegError: it does not decode.
        """
        arrived = self.stages.pass_one(captured)
        ready = arrived if isinstance(arrived, Lost) else self.stages.make_ready(arrived)
        if isinstance(ready, Lost):
            raise JpegError(ready.reason)
        return self.stages.infer(ready, live=False, compare=False)

    def _results(self, take: Callable[[], Arrived | None]) -> Iterator[FrameResult]:
        """Results in order."""
        depth = 1 if self._just_in_time else _AHEAD
        lanes = None if self._just_in_time or self._compare_every else Lanes(self.model)
        prefetcher = Prefetcher(
            take, partial(self._make_ready, lanes), depth=depth, handed_over=self.timing.infer_begins
        )
        with lanes or nullcontext(), prefetcher:
            try:
                for ready in prefetcher:
                    if isinstance(ready, Lost):
                        self._lose(ready)
                        self.timing.infer_ends()
                        continue
                    compare = self._compare_every > 0 and self.counters.frames % self._compare_every == 0
                    result = self._infer(ready, compare)
                    self.timing.infer_ends()
                    if isinstance(result, Lost):
                        self._lose(result)
                        continue
                    self.counters.add(result)
                    if self._share is not None:
                        self._share.spend(self.model.threads * result.infer_ms / 1e3)  # its threads wait busily
                    self.count_reader()
                    yield result
            finally:
                self.timing.stop()
                if self.reader is not None:  # it closes the source after that: a loss after the stop is none
                    self.reader.stop()

    def _infer(self, ready: Ready, compare: bool) -> FrameResult | Lost:
        """A frame that the graph fails on is lost; a foreign graph may do that on purpose, so the user hears of it."""
        try:
            return self.stages.infer(ready, self.source.live, compare)
        except GraphFailure as error:
            captured = ready.arrived.captured
            if str(error) != self._last_failure and not self.source.live:
                _log.warning("frame %d of %s is lost: %s", captured.index, captured.source, error)
            self._last_failure = str(error)
            if isinstance(error, NoAnswer):
                self.counters.misread += 1
                self.misread = self.misread or str(error)
            return Lost(captured.index, captured.source, str(error))

    def _make_ready(self, lanes: Lanes | None, arrived: Arrived) -> Ready | Lost:
        began = time.monotonic()
        ready = self._survived(arrived.captured, lambda: self.stages.make_ready(arrived))
        self.timing.prepared(time.monotonic() - began)
        if lanes is None or isinstance(ready, Lost):
            return ready
        return replace(ready, answer=lanes.submit(ready.prepared.tensor))

    def _from_reader(self) -> Arrived | None:
        assert self.reader is not None
        if self._share is not None:
            self._share.before_work()
        if self._just_in_time:
            self.timing.until_wanted()
            if self.reader.arrived_at is not None:
                age_s = time.monotonic() - self.reader.arrived_at
                wait_s = self.timing.wait_for_next_s(age_s, self.reader.interval_s)
                if wait_s > 0:
                    self.reader.wait_for_newer(wait_s)
        return self.reader.take()

    def _from_files(self) -> Callable[[], Arrived | None]:
        items = self.source.frames()

        def take() -> Arrived | None:
            for item in items:
                if isinstance(item, Unchanged):
                    continue
                arrived = item if isinstance(item, Lost) else self._pass_one(item)
                if isinstance(arrived, Lost):
                    self._lose(arrived)
                    continue
                self.counters.captured += 1
                if arrived is not None:
                    return arrived
                self.counters.skipped += 1
            return None

        return take

    def _pass_one(self, captured: Captured) -> Arrived | Lost | None:
        """None for a frame that `every` leaves out."""
        if captured.index < self._next_wanted:
            return None
        arrived = self._survived(captured, lambda: self.stages.pass_one(captured))
        if isinstance(arrived, Arrived):
            self._next_wanted = captured.index + self._every
        return arrived

    def _survived(self, captured: Captured, work: Callable[[], T]) -> T | Lost:
        """What a camera sends ends no service: a frame that trips over a bug of ours is lost, and that is said once.

        A file's frame ends the command, so that the bug is seen.
        """
        try:
            return work()
        except EdgeGuardError:
            raise
        except Exception as error:
            if not self.source.live:
                raise
            reason = f"{type(error).__name__}: {error}"
            if not self._tripped:
                self._tripped = True
                _log.warning(
                    "a bug of ours: a frame of %s is left out (%s); later ones are counted", captured.source, reason
                )
            return Lost(captured.index, captured.source, reason)

    def count_reader(self) -> None:
        """Take the reader's counts over; safe in any thread."""
        if (reader := self.reader) is not None:
            counters = self.counters
            counters.captured, counters.dropped, counters.skipped = reader.captured, reader.dropped, reader.skipped
            counters.losses, counters.reconnects = reader.losses, reader.reconnects
            counters.lost = reader.lost + self._undecodable
            counters.other_profile = self.stages.other_profile
            counters.refused, counters.noted, counters.unchanged = reader.refused, reader.noted, reader.unchanged

    def _lose(self, lost: Lost) -> None:
        self.counters.lost += 1
        self._undecodable += 1
        if len(self.losses) < 100:
            self.losses.append(lost)
        if self.source.live:
            self._teller.tell(lost)
