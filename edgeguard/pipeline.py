"""The flow of `run`: capture, pass 1, one slot, pass 2, crop and resize, model, results."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.camera.frame import Captured, Lost, Source
from edgeguard.camera.latest import LatestFrame
from edgeguard.guard.certificate import certificate
from edgeguard.guard.jpeg_header import JpegError
from edgeguard.guard.passes import (
    Received,
    model_tensor,
    pass_two,
    passes_of,
    receive_jpeg,
    receive_raw,
    received_tensor,
    works_on_coefficients,
)
from edgeguard.model.contract import ContractGuard
from edgeguard.model.interpreter import Model
from edgeguard.model.prediction import Score
from edgeguard.result import FrameResult

_WHY = {
    "run": "pass 1 was done by this process on the raw frames",
    "camera": "the camera codes its JPEGs with the profile's tables",
    "sensor": "the sensor says so in its JPEGs",
    "none": "nobody did pass 1 with this profile",
}


@dataclass(frozen=True, eq=False)
class _Prepared:
    captured: Captured
    received: Received


@dataclass
class Statistics:
    """Counters and stage times of a run; times in milliseconds, bounded in memory."""

    frames: int = 0
    captured: int = 0
    dropped: int = 0
    lost: int = 0
    disagreements: int = 0
    compared: int = 0
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None
    pass1: dict[str, int] = field(default_factory=dict)
    passes: dict[int, int] = field(default_factory=dict)
    certified_sum: float = 0.0
    certified_frames: int = 0
    suspected: int = 0  # frames in which the patch guard changed or marked something
    alarms: int = 0
    stages: dict[str, list[float]] = field(default_factory=lambda: {"decode": [], "sanitize": [], "infer": []})

    _KEPT = 10_000  # stage times kept for the percentiles

    def add(self, result: FrameResult) -> None:
        """Count one result."""
        self.frames += 1
        self.pass1[result.pass1] = self.pass1.get(result.pass1, 0) + 1
        self.passes[result.passes] = self.passes.get(result.passes, 0) + 1
        if result.certified_share is not None:
            self.certified_sum += result.certified_share
            self.certified_frames += 1
        if result.undefended is not None:
            self.compared += 1
            self.disagreements += result.undefended.index != result.prediction.index
        times = (result.decode_ms, result.sanitize_ms, result.infer_ms)
        for values, value in zip(self.stages.values(), times, strict=True):
            values.append(value)
            if len(values) > 2 * self._KEPT:
                del values[: self._KEPT]

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain data."""
        elapsed = (self.ended_at or time.monotonic()) - self.started_at
        main_pass1 = max(self.pass1, key=lambda key: self.pass1[key]) if self.pass1 else "none"
        passes = max(self.passes, key=lambda key: self.passes[key]) if self.passes else 0
        return {
            "frames": self.frames,
            "dropped": self.dropped,
            "lost": self.lost,
            "fps": round(self.frames / elapsed, 2) if elapsed > 0 else 0.0,
            "ms": {stage: _percentiles(values) for stage, values in self.stages.items()},
            "pass1": main_pass1,
            "passes": passes,
            "why": "no guard" if passes == 0 else _WHY[main_pass1],
            "certified_share": round(self.certified_sum / self.certified_frames, 4) if self.certified_frames else None,
            "suspected": self.suspected,
            "alarms": self.alarms,
            "compared": self.compared,
            "disagreements": self.disagreements,
        }


class Pipeline:
    """Run a model over a source. Use as a context manager; iterate for results.

    Args:
        source: where frames come from. Live sources keep only the latest frame, files are read in full.
        model: with its contract.
        compare: run the undefended path beside it on each frame.
        keep_frames: put the sanitised frame into each result. Without, the kernel goes from the received frame to the
            model's tensor in one pass; the predictions are the same.
        decode_scale: decode JPEGs at 1/1, 1/2 or 1/4 where pass 2 works on their coefficients; by default the smallest
            whose short side is at least 1.5 times the model's.

    Example:
        >>> with Pipeline(open_source("folder/"), load_model("model.tflite")) as pipeline:  # doctest: +SKIP
        ...     for result in pipeline:
        ...         print(result.to_json())
    """

    def __init__(
        self,
        source: Source,
        model: Model,
        *,
        compare: bool = False,
        keep_frames: bool = True,
        decode_scale: int | None = None,
    ) -> None:
        self.source, self.model, self.compare = source, model, compare
        self.keep_frames, self.decode_scale = keep_frames, decode_scale
        self.statistics = Statistics()
        self.losses: list[Lost] = []
        self._profile = model.contract.guard.profile
        self._undefended = replace(model.contract, guard=ContractGuard())

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()
        self.statistics.ended_at = time.monotonic()

    def __iter__(self) -> Iterator[FrameResult]:
        """Results in order.

        Raises:
            DeviceError: a live source was lost; results before that have been given.
        """
        for prepared in self._live() if self.source.live else self._in_full():
            try:
                result = self._process(prepared)
            except JpegError as error:
                self._lose(Lost(prepared.captured.index, prepared.captured.source, str(error)))
                continue
            self.statistics.add(result)
            yield result

    def judge(self, captured: Captured) -> FrameResult:
        """The result of one frame that the caller holds; it is not counted.

        Raises:
            JpegError: it does not decode.
        """
        prepared = self._pass_one(captured)
        if isinstance(prepared, Lost):
            raise JpegError(prepared.reason)
        return self._process(prepared)

    def _live(self) -> Iterator[_Prepared]:
        with LatestFrame(self.source, self._pass_one) as reader:
            try:
                yield from reader
            finally:
                self.statistics.captured, self.statistics.dropped = reader.captured, reader.dropped
                self.statistics.lost += reader.lost

    def _in_full(self) -> Iterator[_Prepared]:
        for item in self.source.frames():
            prepared = item if isinstance(item, Lost) else self._pass_one(item)
            if isinstance(prepared, Lost):
                self._lose(prepared)
                continue
            self.statistics.captured += 1
            yield prepared

    def _lose(self, lost: Lost) -> None:
        self.statistics.lost += 1
        if len(self.losses) < 100:
            self.losses.append(lost)

    def _pass_one(self, captured: Captured) -> _Prepared | Lost:
        """In the capture thread of a live source."""
        profile = self._profile if self.model.contract.guard.place == "frame" else None
        try:
            if captured.jpeg is not None:
                return _Prepared(captured, receive_jpeg(captured.jpeg, profile))
            assert captured.rgb is not None
            return _Prepared(captured, receive_raw(captured.rgb, profile))
        except JpegError as error:
            return Lost(captured.index, captured.source, str(error))

    def _process(self, prepared: _Prepared) -> FrameResult:
        model, captured = self.model, prepared.captured
        contract, profile = model.contract, self.model.contract.guard.profile
        start = time.perf_counter()
        received = prepared.received
        if profile is None or not works_on_coefficients(received, contract, profile):
            received = replace(received, jpeg=None, rgb=received.decode())
        decoded = time.perf_counter()
        frame, tensor, alarm = self._pass_two(received)
        prepared_at = time.perf_counter()
        if received.jpeg is not None:
            decoded = prepared_at  # the coefficients were requantised inside the decoder
        width, height = received.size()
        prediction = model.read(model.run(tensor), width, height)
        inferred = time.perf_counter()
        passes = passes_of(prepared.received, contract)
        share = certificate(received.rgb, profile) if passes == 2 and profile and received.rgb is not None else None
        return FrameResult(
            frame=captured.index,
            source=captured.source,
            captured_at=captured.captured_at,
            time_source=captured.time_source,
            age_ms=(time.time() - captured.captured_at) * 1e3 if self.source.live else None,
            prediction=prediction,
            decode_ms=(decoded - start) * 1e3,
            sanitize_ms=(prepared_at - decoded) * 1e3,
            infer_ms=(inferred - prepared_at) * 1e3,
            pass1=prepared.received.pass1,
            passes=passes,
            certified_share=None if share is None else share.share_1,
            profile=None if profile is None else profile.sha256,
            model=model.sha256,
            undefended=self._run_undefended(captured) if self.compare else None,
            rgb=frame,
            patch_alarm=alarm,
        )

    def _pass_two(self, received: Received) -> tuple[NDArray[np.uint8] | None, NDArray[np.generic], bool | None]:
        """The frame, where it is kept, the model's tensor, and what the patch guard says."""
        contract, profile = self.model.contract, self.model.contract.guard.profile
        if self.model.patch_guard is not None:
            whole = pass_two(received, contract, profile)
            tensor, guarded = self.model.behind_patch_guard(whole, self.model.patch_guard)
            self.statistics.suspected += bool(guarded.suspect.any())
            self.statistics.alarms += guarded.alarm
            return whole, tensor, guarded.alarm
        frame = pass_two(received, contract, profile) if self.keep_frames else None
        if (
            frame is None or received.jpeg is not None
        ):  # a JPEG's tensor may come from a smaller decoding than its frame
            return frame, received_tensor(received, contract, profile, self.decode_scale), None
        return frame, model_tensor(frame, contract, profile), None

    def _run_undefended(self, captured: Captured) -> Score | None:
        """What the model would say without the guard, of the frame as the camera gave it."""
        frame = captured.rgb if captured.rgb is not None else Received(captured.jpeg, None, "none").decode()
        outputs = self.model.run(model_tensor(frame, self._undefended, None))
        return self.model.read(outputs, frame.shape[1], frame.shape[0], 1).best


def _percentiles(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"p50": None, "p95": None}
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}
