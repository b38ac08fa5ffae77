"""The stages of one frame: pass 1 on arrival, pass 2 up to the model's tensor, the model."""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeguard.camera.source import Captured, Lost
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError, JpegError
from edgeguard.guard.certificate import certificate
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
from edgeguard.guard.sanitizer import frame_to_tensor
from edgeguard.model.contract import ContractGuard
from edgeguard.model.interpreter import Model
from edgeguard.model.prediction import Prediction, Score
from edgeguard.patchguard import Guarded
from edgeguard.pipeline.result import FrameResult
from edgeguard.preprocess.region import Region


@dataclass(frozen=True, eq=False)
class Prepared:
    """A frame after pass 1."""

    captured: Captured
    received: Received


@dataclass(frozen=True, eq=False)
class Ready:
    """A frame after pass 2: all that is left is the model."""

    prepared: Prepared
    tensor: NDArray[np.generic]
    frame: NDArray[np.uint8] | None
    size: tuple[int, int]
    guarded: Guarded | None
    certified_share: float | None
    decode_ms: float
    sanitize_ms: float


class Stages:
    """What is done with each frame; each method is called from one thread only.

    Args:
        model: with its contract.
        keep_frames: keep the sanitised frame. Without, the kernel goes from the received frame to the model's tensor
            in one pass; the predictions are the same.
        decode_scale: see `Pipeline`.
        region: what the model sees of the frame.
        certify_every_s: the certificate costs as much as sanitising in full; 0 makes one for each frame.
    """

    def __init__(
        self,
        model: Model,
        keep_frames: bool,
        decode_scale: int | None,
        region: Region | None,
        certify_every_s: float,
    ) -> None:
        self._certify_every_s, self._certified_at = certify_every_s, float("-inf")
        self.model, self.keep_frames, self.decode_scale = model, keep_frames, decode_scale
        self.contract = model.contract
        self.profile = model.contract.guard.profile
        self._undefended = replace(model.contract, guard=ContractGuard())
        self.region = None if region is None else region.snapped(_grid(self.profile))

    def pass_one(self, captured: Captured) -> Prepared | Lost:
        """In the capture thread of a live source."""
        profile = self.profile if self.contract.guard.place == "frame" else None
        try:
            if captured.jpeg is not None:
                return Prepared(captured, receive_jpeg(captured.jpeg, profile))
            assert captured.rgb is not None
            return Prepared(captured, receive_raw(captured.rgb, profile))
        except JpegError as error:
            return Lost(captured.index, captured.source, str(error))

    def make_ready(self, prepared: Prepared) -> Ready | Lost:
        """Decode, pass 2, crop, resize, quantise; in the thread that works ahead of the model."""
        start = time.perf_counter()
        received = prepared.received
        try:
            if not self._on_coefficients(received):
                received = replace(received, jpeg=None, rgb=received.decode())
            decoded = time.perf_counter()
            frame, tensor, guarded = self._pass_two(received)
        except (JpegError, InputError) as error:
            return Lost(prepared.captured.index, prepared.captured.source, str(error))
        prepared_at = time.perf_counter()
        if received.jpeg is not None:
            decoded = prepared_at  # the coefficients were requantised inside the decoder
        share = self._certified_share(prepared.received, received.rgb)
        size = received.size() if self.region is None else self.region.size_within(*received.size())
        return Ready(
            prepared, tensor, frame, size, guarded, share, (decoded - start) * 1e3, (prepared_at - decoded) * 1e3
        )

    def infer(self, ready: Ready, live: bool, compare: bool) -> FrameResult:
        """Run the model, and the undefended path where it is asked for."""
        captured, received = ready.prepared.captured, ready.prepared.received
        start = time.perf_counter()
        prediction = self._placed(self.model.read(self.model.run(ready.tensor), *ready.size))
        infer_ms = (time.perf_counter() - start) * 1e3
        guarded = ready.guarded
        return FrameResult(
            frame=captured.index,
            source=captured.source,
            captured_at=captured.captured_at,
            time_source=captured.time_source,
            age_ms=(time.time() - captured.captured_at) * 1e3 if live else None,
            prediction=prediction,
            decode_ms=ready.decode_ms,
            sanitize_ms=ready.sanitize_ms,
            infer_ms=infer_ms,
            pass1=received.pass1,
            passes=passes_of(received, self.contract),
            certified_share=ready.certified_share,
            profile=None if self.profile is None else self.profile.sha256,
            model=self.model.sha256,
            undefended=self._run_undefended(captured) if compare else None,
            rgb=ready.frame,
            received=received,
            patch_suspect=None if guarded is None else bool(guarded.suspect.any()),
            patch_alarm=None if guarded is None else guarded.alarm,
        )

    def _certified_share(self, received: Received, rgb: NDArray[np.uint8] | None) -> float | None:
        """The share of blocks that +-1 level in transit cannot change; of a live source at most once a second."""
        if self.profile is None or rgb is None or passes_of(received, self.contract) != 2:
            return None
        if self._certify_every_s > 0 and time.monotonic() - self._certified_at < self._certify_every_s:
            return None
        self._certified_at = time.monotonic()
        found = certificate(rgb, self.profile)
        return None if found is None else found.share_1

    def _on_coefficients(self, received: Received) -> bool:
        return self.profile is not None and works_on_coefficients(received, self.contract, self.profile)

    def _pass_two(self, received: Received) -> tuple[NDArray[np.uint8] | None, NDArray[np.generic], Guarded | None]:
        """The frame, where it is kept, the model's tensor, and what the patch guard found."""
        if self.region is not None and received.rgb is not None and not self.keep_frames:
            # the region lies on the codec's grid: its blocks are the whole frame's
            return self._tensor(replace(received, rgb=self.region.of(received.rgb)), None)
        return self._tensor(received, self.region)

    def _tensor(
        self, received: Received, region: Region | None
    ) -> tuple[NDArray[np.uint8] | None, NDArray[np.generic], Guarded | None]:
        contract, profile, guard = self.contract, self.profile, self.model.patch_guard
        if region is None and guard is None and (received.jpeg is not None or not self.keep_frames):
            # a JPEG's tensor may come from a smaller decoding than its frame
            frame = pass_two(received, contract, profile) if self.keep_frames else None
            return frame, received_tensor(received, contract, profile, self.decode_scale), None
        frame = pass_two(received, contract, profile)
        seen, kept = frame if region is None else region.of(frame), frame if self.keep_frames else None
        if guard is None:
            return kept, model_tensor(seen, contract, profile), None
        tensor, guarded = self.model.behind_patch_guard(seen, guard)
        return kept, tensor, guarded

    def _placed(self, prediction: Prediction) -> Prediction:
        """Boxes in the whole frame's pixels."""
        region = self.region
        if region is None or prediction.boxes is None:
            return prediction
        moved = tuple(
            replace(b, x1=b.x1 + region.x, y1=b.y1 + region.y, x2=b.x2 + region.x, y2=b.y2 + region.y)
            for b in prediction.boxes
        )
        return replace(prediction, boxes=moved)

    def _run_undefended(self, captured: Captured) -> Score | None:
        """What the model would say without the guard, of the frame as the camera gave it."""
        frame = captured.rgb if captured.rgb is not None else Received(captured.jpeg, None, "none").decode()
        seen = frame if self.region is None else self.region.of(frame)
        outputs = self.model.run(frame_to_tensor(seen, self._undefended, None))
        return self.model.read(outputs, seen.shape[1], seen.shape[0], 1).best


def _grid(profile: GuardProfile | None) -> int:
    """Cells of a profile's codec: 16 pixels where chroma is halved."""
    return 16 if profile is not None and profile.color in ("ycbcr420", "ycbcr422") else 8
