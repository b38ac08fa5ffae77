"""The stages of one frame: pass 1 on arrival, pass 2 up to the model's tensor, the model."""

import time
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property

from edgeguard.camera.source import Captured, Lost
from edgeguard.errors import InputError, JpegError
from edgeguard.guard.certificate import Proof
from edgeguard.guard.passes import Received
from edgeguard.jpeg.header import read_jpeg_info
from edgeguard.jpeg.seal import is_sealed, read_seal
from edgeguard.model.input_path import InputPath, Prepared
from edgeguard.model.interpreter import Model
from edgeguard.model.prediction import Prediction, Score
from edgeguard.pipeline.lanes import Answer
from edgeguard.pipeline.result import FrameResult
from edgeguard.png.frame import read_png_info
from edgeguard.preprocess.region import Region
from edgeguard.smoothing.frames import FrameSmoother


@dataclass(frozen=True, eq=False)
class Arrived:
    """A frame after pass 1."""

    captured: Captured
    received: Received


@dataclass(frozen=True, eq=False)
class Ready:
    """A frame after pass 2: all that is left is the model."""

    arrived: Arrived
    prepared: Prepared
    proof: Proof | None
    answer: Future[Answer] | None = field(default=None, kw_only=True)  # where another interpreter computes it


class Stages:
    """What is done with each frame; each method is called from one thread only.

    Args:
        model: with its contract.
        keep_frames, decode_scale, region: see `Pipeline`.
        certify_share: of one core's time that may go into proofs, above 0 and at most 1: a live source's frames are
            looked at as often as that allows; None looks at each frame.
        smoother: answers for each frame by noisy copies as well; None does not.

    Attributes:
        other_profile: frames that a sensor sealed with another profile than the run's.
    """

    def __init__(
        self,
        model: Model,
        *,
        keep_frames: bool,
        decode_scale: int | None,
        region: Region | None,
        certify_share: float | None,
        smoother: FrameSmoother | None = None,
    ) -> None:
        self._smoother = smoother
        self._certify_share, self._certify_again_at = certify_share, float("-inf")
        self.model, self.other_profile = model, 0
        self.path = InputPath(
            model.contract,
            patch_guard=model.patch_guard,
            region=region,
            decode_scale=decode_scale,
            keep_frame=keep_frames,
            measure_margins=True,
        )
        self.region = self.path.region

    def pass_one(self, captured: Captured) -> Arrived | Lost:
        """In the capture thread of a live source."""
        try:
            received = self.path.capture(captured.contents)
            self.other_profile += self._has_another_profile(captured, received)
            return Arrived(captured, received)
        except JpegError as error:
            return Lost(captured.index, captured.source, str(error))

    def _has_another_profile(self, captured: Captured, received: Received) -> bool:
        profile = self.path.profile
        if profile is None or received.pass1 == "sensor":
            return False
        seal = None
        if captured.png is not None:
            seal = read_seal(read_png_info(captured.png))
        elif captured.jpeg is not None and is_sealed(captured.jpeg):
            seal = read_seal(read_jpeg_info(captured.jpeg))
        return seal is not None and seal.profile != profile.sha256

    def make_ready(self, arrived: Arrived) -> Ready | Lost:
        """Decode, pass 2, crop, resize, quantise; in the thread that works ahead of the model."""
        try:
            prepared = self.path(arrived.received)
        except InputError as error:
            return Lost(arrived.captured.index, arrived.captured.source, str(error))
        return Ready(arrived, prepared, self._proof(prepared))

    def infer(self, ready: Ready, live: bool, compare: bool) -> FrameResult:
        """Run the model, and the undefended path where `compare` says so.

        Raises:
            GraphFailure: the graph fails on this frame, and may work on the next one.
            InputError: it fails again and again.
        """
        captured, prepared = ready.arrived.captured, ready.prepared
        answer = self._answer(ready)
        start = time.perf_counter()
        prediction = _placed(self.model.read(answer.outputs, *prepared.size), prepared.offset)
        infer_ms = answer.infer_ms + (time.perf_counter() - start) * 1e3
        profile, guarded, proof = self.path.profile, prepared.guarded, ready.proof
        return FrameResult(
            frame=captured.index,
            source=captured.source,
            captured_at=captured.captured_at,
            time_source=captured.time_source,
            age_ms=(time.time() - captured.captured_at) * 1e3 if live else None,
            prediction=prediction,
            decode_ms=prepared.decode_ms,
            sanitize_ms=prepared.sanitize_ms,
            infer_ms=infer_ms,
            pass1=prepared.pass1,
            passes=prepared.passes,
            certified_share=None if proof is None else proof.share_at[1],
            profile=None if profile is None else profile.sha256,
            model=self.model.sha256,
            undefended=self._run_undefended(captured) if compare else None,
            rgb=prepared.frame,
            received=ready.arrived.received,
            patch_suspect=None if guarded is None else bool(guarded.suspect.any()),
            patch_alarm=None if guarded is None else guarded.alarm,
            certifies=self.path.certifies,
            certified_share_2=None if proof is None else proof.share_at[2],
            proven=None if proof is None else proof.proven_at_1,
            proven_2=None if proof is None else proof.proven_at_2,
            smoothed=None if self._smoother is None else self._smoother(ready.arrived.received),
        )

    def _answer(self, ready: Ready) -> Answer:
        if ready.answer is not None:
            return ready.answer.result()
        start = time.perf_counter()
        outputs = self.model.run(ready.prepared.tensor)
        return Answer(outputs, (time.perf_counter() - start - self.model.waited_s) * 1e3)

    def _proof(self, prepared: Prepared) -> Proof | None:
        """What no change in transit can alter of the tensor; of a live source on a budget of time."""
        now = time.monotonic()
        if now < self._certify_again_at:
            return None
        began = time.thread_time()
        found = prepared.proof()
        if found is not None and self._certify_share is not None:
            self._certify_again_at = now + (time.thread_time() - began) / self._certify_share
        return found

    @cached_property
    def _undefended_path(self) -> InputPath:
        """Made when it is first wanted: a coefficient model has none."""
        return InputPath(self.model.contract, profile=None, patch_guard=None, region=self.region)

    def _run_undefended(self, captured: Captured) -> Score | None:
        """What the model would say without the guard, of the frame as the camera gave it."""
        path = self._undefended_path
        prepared = path(path.arrive(captured.contents))
        return self.model.read(self.model.run(prepared.tensor), *prepared.size, 1).best


def _placed(prediction: Prediction, offset: tuple[int, int]) -> Prediction:
    """Boxes, keypoints and class map in the whole frame's pixels."""
    left, top = offset
    if offset == (0, 0):
        return prediction
    boxes, points, seen = prediction.boxes, prediction.keypoints, prediction.class_map
    if boxes is not None:
        boxes = tuple(replace(b, x1=b.x1 + left, y1=b.y1 + top, x2=b.x2 + left, y2=b.y2 + top) for b in boxes)
    if points is not None:
        points = tuple(replace(point, x=point.x + left, y=point.y + top) for point in points)
    if seen is not None:
        seen = replace(seen, x1=seen.x1 + left, y1=seen.y1 + top, x2=seen.x2 + left, y2=seen.y2 + top)
    return replace(prediction, boxes=boxes, keypoints=points, class_map=seen)
