"""The stages of one frame: pass 1 on arrival, pass 2 up to the model's tensor, the model."""

import time
from dataclasses import dataclass, replace
from functools import cached_property

from edgeguard.camera.source import Captured, Lost
from edgeguard.errors import InputError, JpegError
from edgeguard.guard.passes import Received
from edgeguard.jpeg.header import read_jpeg_info
from edgeguard.jpeg.seal import is_sealed, read_seal
from edgeguard.model.input_path import InputPath, Prepared
from edgeguard.model.interpreter import Model
from edgeguard.model.prediction import Prediction, Score
from edgeguard.pipeline.result import FrameResult
from edgeguard.preprocess.region import Region


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
    certified_share: float | None


class Stages:
    """What is done with each frame; each method is called from one thread only.

    Args:
        model: with its contract.
        keep_frames, decode_scale, region: see `Pipeline`.
        certify_every_s: the certificate costs as much as sanitising in full; 0 makes one for each frame.

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
        certify_every_s: float,
    ) -> None:
        self._certify_every_s, self._certified_at = certify_every_s, float("-inf")
        self.model, self.other_profile = model, 0
        self.path = InputPath(
            model.contract,
            patch_guard=model.patch_guard,
            region=region,
            decode_scale=decode_scale,
            keep_frame=keep_frames,
        )
        self.region = self.path.region

    def pass_one(self, captured: Captured) -> Arrived | Lost:
        """In the capture thread of a live source."""
        try:
            if captured.jpeg is not None:
                received = self.path.capture_jpeg(captured.jpeg)
                self.other_profile += self._has_another_profile(received)
                return Arrived(captured, received)
            assert captured.rgb is not None
            return Arrived(captured, self.path.capture(captured.rgb))
        except JpegError as error:
            return Lost(captured.index, captured.source, str(error))

    def _has_another_profile(self, received: Received) -> bool:
        profile = self.path.profile
        if profile is None or received.pass1 == "sensor" or received.jpeg is None or not is_sealed(received.jpeg):
            return False
        seal = read_seal(read_jpeg_info(received.jpeg))
        return seal is not None and seal.profile != profile.sha256

    def make_ready(self, arrived: Arrived) -> Ready | Lost:
        """Decode, pass 2, crop, resize, quantise; in the thread that works ahead of the model."""
        try:
            prepared = self.path(arrived.received)
        except InputError as error:
            return Lost(arrived.captured.index, arrived.captured.source, str(error))
        return Ready(arrived, prepared, self._certified_share(prepared))

    def infer(self, ready: Ready, live: bool, compare: bool) -> FrameResult:
        """Run the model, and the undefended path where `compare` says so.

        Raises:
            GraphFailure: the graph fails on this frame, and may work on the next one.
            InputError: it fails again and again.
        """
        captured, prepared = ready.arrived.captured, ready.prepared
        start = time.perf_counter()
        prediction = _placed(self.model.read(self.model.run(prepared.tensor), *prepared.size), prepared.offset)
        infer_ms = (time.perf_counter() - start) * 1e3
        profile, guarded = self.path.profile, prepared.guarded
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
            certified_share=ready.certified_share,
            profile=None if profile is None else profile.sha256,
            model=self.model.sha256,
            undefended=self._run_undefended(captured) if compare else None,
            rgb=prepared.frame,
            received=ready.arrived.received,
            patch_suspect=None if guarded is None else bool(guarded.suspect.any()),
            patch_alarm=None if guarded is None else guarded.alarm,
        )

    def _certified_share(self, prepared: Prepared) -> float | None:
        """The share of blocks that +-1 level in transit cannot change; of a live source at most once a second."""
        if self._certify_every_s > 0 and time.monotonic() - self._certified_at < self._certify_every_s:
            return None
        found = prepared.certificate()
        if found is None:
            return None
        self._certified_at = time.monotonic()
        return found.share_1

    @cached_property
    def _undefended_path(self) -> InputPath:
        """Made when it is first wanted: a coefficient model has none."""
        return InputPath(self.model.contract, profile=None, patch_guard=None, region=self.region)

    def _run_undefended(self, captured: Captured) -> Score | None:
        """What the model would say without the guard, of the frame as the camera gave it."""
        path = self._undefended_path
        contents = captured.jpeg if captured.rgb is None else captured.rgb
        assert contents is not None
        prepared = path(path.arrive(contents))
        return self.model.read(self.model.run(prepared.tensor), *prepared.size, 1).best


def _placed(prediction: Prediction, offset: tuple[int, int]) -> Prediction:
    """Boxes in the whole frame's pixels."""
    left, top = offset
    if prediction.boxes is None or offset == (0, 0):
        return prediction
    moved = tuple(replace(b, x1=b.x1 + left, y1=b.y1 + top, x2=b.x2 + left, y2=b.y2 + top) for b in prediction.boxes)
    return replace(prediction, boxes=moved)
