"""The float64 oracle of sanitising: slow, plain, and only there to check the integer definition against."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.color import SAMPLING, upsample
from edgeguard.dct.dct_basis import DCT, TIE_TOLERANCE, Float, coefficients, quantize
from edgeguard.dct.planes import component_steps, components
from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.jpeg.blocks import check_frame, join_blocks, pad_to_blocks, split_blocks

#: RGB to Y, Cb - 128, Cr - 128 (BT.601 as JFIF takes it).
_YCBCR: Float = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.5],
        [0.5, -0.587 / 1.402, -0.114 / 1.402],
    ]
)


def inverse(dequantized: Float, room: int = 0) -> NDArray[np.uint8]:
    """Pixels: inverse DCT, levels room..255 - room to 0..255, rounded half up (ties within 1e-9), clamped."""
    pixels = np.einsum("ui,uv...,vj->ij...", DCT, dequantized, DCT, optimize=True)
    pixels = (pixels - room) * 255 / (255 - 2 * room)
    return np.clip(np.floor(pixels + 0.5 + TIE_TOLERANCE), 0, 255).astype(np.uint8)


def reference_sanitize(frame: NDArray[np.uint8], profile: GuardProfile, which: Pass = "only") -> NDArray[np.uint8]:
    """Sanitise an HxWx3 frame in float64, with a profile of any colour.

    For the `ycbcr*` colours luma and averaged chroma are rounded to 8 bits before the DCT and after it, as every JPEG
    coder and decoder does; what lies between is exact. `which` pass it is says at which ends the levels keep the
    profile's room; rounding that helps a proof (`proof_levels`) is no part of it.
    """
    if not profile.is_pixel_domain:
        return _reference_ycbcr(frame, profile)
    planes = components(frame, profile)
    rooms = (profile.room if which != "second" else 0, profile.room if which != "first" else 0)
    out = _reference_planes(planes, component_steps(profile), rooms=rooms)[: frame.shape[0], : frame.shape[1]]
    return np.repeat(out, 3, axis=2) if profile.color == "gray" else out


def _reference_planes(
    planes: NDArray[np.uint8], steps: NDArray[np.int32], level_shift: int = 0, rooms: tuple[int, int] = (0, 0)
) -> NDArray[np.uint8]:
    exact = coefficients(split_blocks(pad_to_blocks(planes))) * (255 - 2 * rooms[0]) / 255
    exact[0, 0] += 8 * (rooms[0] - level_shift)
    kept = quantize(exact, steps) * steps
    kept[0, 0] += 8 * level_shift
    return join_blocks(inverse(kept, rooms[1]))


def _reference_ycbcr(frame: NDArray[np.uint8], profile: GuardProfile) -> NDArray[np.uint8]:
    check_frame(frame)
    height, width = frame.shape[:2]
    rows, columns = SAMPLING[profile.color]
    padded = pad_to_blocks(frame, 8 * rows, 8 * columns).astype(np.float64)
    ycbcr = padded @ _YCBCR.T + [0, 128, 128]
    means = ycbcr.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns, 3).mean(axis=(1, 3))
    planes = []
    for c, exact in enumerate((ycbcr[..., 0], means[..., 1], means[..., 2])):
        plane = np.clip(np.floor(exact + 0.5), 0, 255).astype(np.uint8)
        planes.append(_reference_planes(plane[..., None], component_steps(profile)[..., c : c + 1], 128)[..., 0])
    real = (slice(-(-height // rows)), slice(-(-width // columns)))
    chroma = (upsample(plane[real], rows, columns, height, width) for plane in planes[1:])
    decoded = np.stack([planes[0][:height, :width], *chroma], axis=2)
    rgb = (decoded - np.array([0.0, 128, 128])) @ np.linalg.inv(_YCBCR).T
    return np.clip(np.floor(rgb + 0.5), 0, 255).astype(np.uint8)
