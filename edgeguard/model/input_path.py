"""The one way from a received frame to the model's tensor: decode, pass 2, region, crop, resize, patch guard, quantize.

Whoever shows a frame to a model goes through here: `run`, a called model, the converter's calibration and gates,
the field test's scores, evaluations, the demo and the timings. What was measured is then what runs.
"""

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.dct.native_kernel import empty_margins
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.guard.certificate import Certificate, Proof, certificate, proof_of, proof_of_margins
from edgeguard.guard.passes import (
    Pass1,
    Received,
    model_tensor,
    pass_two,
    passes_of,
    receive_jpeg,
    receive_png,
    receive_raw,
    received_tensor,
    works_on_coefficients,
)
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.jpeg.seal import is_sealed_png
from edgeguard.model.contract import Contract, ContractGuard
from edgeguard.patchguard import Guarded, PatchGuard, patch_guard
from edgeguard.preprocess.crop_resize import crop_and_resize, is_one_pass, sanitize, slices
from edgeguard.preprocess.geometry import place, quantize_input
from edgeguard.preprocess.region import Region

Frame = NDArray[np.uint8]
Contents = bytes | Frame
_JPEG_MARK = b"\xff\xd8"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A frame that is ready for the model, and what was done with it.

    Attributes:
        tensor: (1, *contract.input.shape), of the input's type.
        frame: the whole frame after pass 2, uint8 HxWx3, where the path keeps it.
        received: what arrived, decoded where pass 2 worked on pixels.
        size: width and height of what the model's crop was taken from: the frame, or the region.
        offset: left and top of that within the frame, pixels.
        guarded: what the patch guard made of the model's pixels; None without one.
        pass1: who did pass 1.
        passes: how many passes count: 0, 1 or 2.
        decode_ms, sanitize_ms: wall time; a JPEG whose coefficients are requantised is decoded and sanitised in one go,
            which counts as decoding.
        profile: pass 2's.
        reads: the pixels of the received frame that the model's crop reads.
        margins: of their blocks, as `certificate.measured_margins` has them, where pass 2 measured them.
    """

    tensor: NDArray[np.generic]
    frame: Frame | None
    received: Received
    size: tuple[int, int]
    offset: tuple[int, int]
    guarded: Guarded | None
    pass1: Pass1
    passes: int
    decode_ms: float
    sanitize_ms: float
    profile: GuardProfile | None
    reads: Box | None = None
    margins: NDArray[np.uint16] | None = None

    def certificate(self) -> Certificate | None:
        """What no change in transit can alter of this frame; costs as much as sanitising it.

        None where it proves nothing: fewer than two passes, no profile, or a profile that works on coefficients.
        """
        if self.profile is None or self.received.rgb is None or self.passes != 2:
            return None
        return certificate(self.received.rgb, self.profile)

    def proof(self) -> Proof | None:
        """Whether every block that the model's crop reads is certified: then no change in transit alters the tensor.

        None where there is no certificate; see `certificate`. It costs as much as sanitising, or next to nothing where
        the path measured the margins (`InputPath(measure_margins=True)`).
        """
        if self.profile is None or self.received.rgb is None or self.passes != 2:
            return None
        if self.margins is None or self.reads is None:
            return proof_of(self.received.rgb, self.profile, self.reads)
        height, width = self.received.rgb.shape[:2]
        blocks = self.reads.on_grid(width, height)
        return proof_of_margins(self.received.rgb[slices(blocks)], self.profile, self.margins)


class InputPath:
    """From a received frame to the tensor of a model with this contract; holds no state, safe in several threads.

    Args:
        contract: the model's.
        profile: pass 2's, in place of the contract's; None for no guard. It works at the contract's place, and on the
            frame where the contract has no place outside of its graph.
        patch_guard: in place of the contract's; None for none.
        region: what the model sees of the frame; it grows to the codec's grid.
        decode_scale: decode JPEGs at 1/1, 1/2 or 1/4 where pass 2 works on their coefficients; by default the smallest
            whose short side is at least 1.5 times the model's.
        keep_frame: keep the whole frame after pass 2. Without, the kernel goes from the received frame to the tensor in
            one pass; the tensor is the same.
        measure_margins: measure the margins of the blocks that the crop reads where the kernel does pass 2 in one pass,
            so that `Prepared.proof` costs next to nothing.

    Raises:
        InputError: there is no patch guard of the contract's name, or a coefficient model is given another profile.

    Example:
        >>> from edgeguard.model.contract import InputSpec
        >>> contract = Contract(InputSpec(32, 32), guard=ContractGuard(GuardProfile.preset("fd"), "frame"))
        >>> path = InputPath(contract)
        >>> path(path.capture(np.zeros((50, 70, 3), np.uint8))).passes
        2
    """

    def __init__(
        self,
        contract: Contract,
        *,
        profile: GuardProfile | Literal["contract"] | None = "contract",
        patch_guard: PatchGuard | Literal["contract"] | None = "contract",
        region: Region | None = None,
        decode_scale: int | None = None,
        keep_frame: bool = False,
        measure_margins: bool = False,
    ) -> None:
        if profile != "contract":
            contract = _with_profile(contract, profile)
        self.contract, self.profile = contract, contract.guard.profile
        self.patch_guard = contract_patch_guard(contract) if patch_guard == "contract" else patch_guard
        self.region = None if region is None else region.snapped(_grid(self.profile))
        self._decode_scale, self._keep_frame = decode_scale, keep_frame
        self._measure_margins = measure_margins

    @property
    def certifies(self) -> bool:
        """Whether frames can be proven at all: an `rgb` or `gray` profile that works on the frame."""
        return self.profile is not None and self.profile.is_pixel_domain and self.contract.guard.place == "frame"

    def capture(self, contents: Contents) -> Received:
        """A frame as the camera gave it, after pass 1: a raw one is coded here; a JPEG and a sensor's PNG keep theirs.

        A guard at another place than the frame has no pass 1.

        Args:
            contents: the bytes of an image file, or uint8 HxWx3 RGB. Other files than these two are raw frames.

        Raises:
            JpegError: the bytes do not decode, or end early.
        """
        if isinstance(contents, bytes) and contents[:2] == _JPEG_MARK:
            return self.capture_jpeg(contents)
        if isinstance(contents, bytes) and is_sealed_png(contents):
            return receive_png(contents, self._pass_one_profile)
        return receive_raw(_pixels(contents), self._pass_one_profile)

    def capture_jpeg(self, data: bytes) -> Received:
        """A camera's JPEG after pass 1: it keeps its bytes.

        Raises:
            JpegError: the bytes are not a JPEG that we read, or they end early.
        """
        return receive_jpeg(data, self._pass_one_profile)

    @property
    def _pass_one_profile(self) -> GuardProfile | None:
        return self.profile if self.contract.guard.place == "frame" else None

    def arrive(self, contents: Contents, pass1: Pass1 = "none") -> Received:
        """A frame as it arrived, with no pass 1 of ours. Who did pass 1 a JPEG's tables say, and a sensor's seal.

        Args:
            contents: the bytes of an image file, or uint8 HxWx3 RGB.
            pass1: who coded raw pixels, where the caller knows.

        Raises:
            JpegError: the bytes do not decode, or end early.
        """
        if isinstance(contents, bytes) and contents[:2] == _JPEG_MARK:
            return receive_jpeg(contents, self.profile)
        if isinstance(contents, bytes) and is_sealed_png(contents):
            return receive_png(contents, self._pass_one_profile)
        room = self.profile.room if self.profile is not None and pass1 in ("run", "sensor") else 0
        return Received(None, _pixels(contents), pass1, room=room)

    def __call__(self, received: Received) -> Prepared:
        """Decode, pass 2, crop, resize, patch guard, quantise.

        Raises:
            JpegError: the received bytes do not decode.
            InputError: the region lies outside of the frame.
        """
        start = time.perf_counter()
        if not self._on_coefficients(received):
            received = replace(received, jpeg=None, rgb=received.decode(), png=None)
        decoded = time.perf_counter()
        margins = self._margins_to_measure(received)
        frame, tensor, guarded = self._pass_two(received, margins)
        done = time.perf_counter()
        if received.jpeg is not None:
            decoded = done  # the coefficients were requantised inside the decoder
        size = received.size() if self.region is None else self.region.size_within(*received.size())
        offset = (0, 0) if self.region is None else (self.region.x, self.region.y)
        reads = self._reads(received)
        return Prepared(
            tensor=tensor,
            frame=frame,
            received=received,
            size=size,
            offset=offset,
            guarded=guarded,
            pass1=received.pass1,
            passes=passes_of(received, self.contract),
            decode_ms=(decoded - start) * 1e3,
            sanitize_ms=(done - decoded) * 1e3,
            profile=self.profile,
            reads=reads,
            margins=None if margins is None else margins[:, :, : -(-reads.on_grid(*received.size()).width // 8)],
        )

    def frame(self, received: Received) -> Frame:
        """The whole frame after pass 2, uint8 HxWx3, at its full size.

        Raises:
            JpegError: the received bytes do not decode.
        """
        return pass_two(received, self.contract, self.profile)

    def levels(self, received: Received) -> tuple[Frame, Guarded | None]:
        """The uint8 levels that become the tensor, (h, w, 3) or a coefficient model's, and the patch guard's findings.

        `quantize` of them is the tensor of `__call__`.

        Raises:
            JpegError: the received bytes do not decode.
            InputError: the region lies outside of the frame.
        """
        prepared = self._unsigned(received)
        return np.asarray(prepared.tensor[0], np.uint8), prepared.guarded

    @cached_property
    def _unsigned(self) -> "InputPath":
        """The same path to a uint8 input, whose tensor is the levels."""
        contract = replace(self.contract, input=replace(self.contract.input, dtype="uint8"))
        return InputPath(contract, patch_guard=self.patch_guard, region=self.region, decode_scale=self._decode_scale)

    def quantize(self, levels: Frame) -> NDArray[np.generic]:
        """Levels of the model's size, uint8 (h, w, 3), to its tensor (1, h, w, 3)."""
        return quantize_input(levels, self.contract.input, self.contract.preprocess)

    def _on_coefficients(self, received: Received) -> bool:
        return self.profile is not None and works_on_coefficients(received, self.contract, self.profile)

    def _reads(self, received: Received) -> Box:
        """The pixels of the received frame that the crop reads."""
        spec, preprocess, region = self.contract.input, self.contract.preprocess, self.region
        if region is None:
            return place(*received.size(), spec, preprocess).source
        source = place(*region.size_within(*received.size()), spec, preprocess).source
        return replace(source, left=source.left + region.x, top=source.top + region.y)

    def _margins_to_measure(self, received: Received) -> NDArray[np.uint16] | None:
        """Room for the margins that pass 2 will measure, where it can and they prove something."""
        if self.profile is None or received.rgb is None or not self._measure_margins or self._keep_frame:
            return None
        size = received.size() if self.region is None else self.region.size_within(*received.size())
        at_once = is_one_pass(*size, self.contract.input, self.contract.preprocess) and self.patch_guard is None
        if not at_once or not self.profile.is_pixel_domain or passes_of(received, self.contract) != 2:
            return None
        blocks = self._reads(received).on_grid(*received.size())
        return empty_margins(self.profile, blocks.width, blocks.height)

    def _pass_two(
        self, received: Received, margins: NDArray[np.uint16] | None
    ) -> tuple[Frame | None, NDArray[np.generic], Guarded | None]:
        if self.region is not None and received.rgb is not None and not self._keep_frame:
            # the region lies on the codec's grid: its blocks are the whole frame's
            return self._tensor(replace(received, rgb=self.region.of(received.rgb)), None, margins)
        return self._tensor(received, self.region, margins)

    def _tensor(
        self, received: Received, region: Region | None, margins: NDArray[np.uint16] | None
    ) -> tuple[Frame | None, NDArray[np.generic], Guarded | None]:
        contract, profile = self.contract, self.profile
        if region is None and self.patch_guard is None and (received.jpeg is not None or not self._keep_frame):
            # a JPEG's tensor may come from a smaller decoding than its frame
            frame = pass_two(received, contract, profile) if self._keep_frame else None
            return frame, received_tensor(received, contract, profile, self._decode_scale, margins), None
        frame = pass_two(received, contract, profile)
        seen, kept = frame if region is None else region.of(frame), frame if self._keep_frame else None
        if self.patch_guard is None:
            return kept, model_tensor(seen, contract, profile), None
        guarded = self.patch_guard(self._model_pixels(seen))
        return kept, self.quantize(guarded.image), guarded

    def _model_pixels(self, frame: Frame) -> Frame:
        """A frame after pass 2 to the levels that a patch guard looks at."""
        pixels = crop_and_resize(frame, self.contract.input, self.contract.preprocess)
        if self.profile is not None and self.contract.guard.place == "input":
            return sanitize(pixels, self.profile)
        return pixels


def contract_patch_guard(contract: Contract) -> PatchGuard | None:
    """The patch guard that a contract names, or None.

    Raises:
        InputError: there is none of this name.
    """
    if contract.guard.patch is None:
        return None
    try:
        return patch_guard(contract.guard.patch)
    except ValueError as error:
        raise InputError(str(error)) from error


def _with_profile(contract: Contract, profile: GuardProfile | None) -> Contract:
    guard = contract.guard
    if contract.input.color == "DCT" and profile != guard.profile:
        raise InputError("a coefficient model reads its own guard's indices: no other guard can take its place")
    if profile is None:
        return replace(contract, guard=ContractGuard(patch=guard.patch))
    place = guard.place if guard.place in ("frame", "input") else "frame"
    return replace(contract, guard=ContractGuard(profile, place, guard.patch))


def _pixels(contents: Contents) -> Frame:
    return decode_rgb(contents) if isinstance(contents, bytes) else contents


def _grid(profile: GuardProfile | None) -> int:
    """Cells of a profile's codec: 16 pixels where chroma is halved."""
    return 16 if profile is not None and profile.color in ("ycbcr420", "ycbcr422") else 8
