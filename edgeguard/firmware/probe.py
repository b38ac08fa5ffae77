"""What a JPEG's encoder really applied: its tables, not what it was asked for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.dct_basis import coefficients
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.dct.jpeg_encode import coded_with
from edgeguard.dct.profile import GuardProfile
from edgeguard.jpeg.blocks import pad_to_blocks, split_blocks
from edgeguard.jpeg.header import JpegInfo, read_whole_jpeg
from edgeguard.jpeg.tables import ANNEX_K_CHROMA, ANNEX_K_LUMA, ijg_qualities

PRESETS = ("fd-jpeg",)
_BANDS = tuple((u, v) for u in range(4) for v in range(4) if 0 < u + v <= 3)
_FAR, _FEWEST, _RISE, _BANDS_WANTED = 24, 30, 3, 2


@dataclass(frozen=True)
class Probed:
    """What a file says.

    Attributes:
        info: size, sampling, tables.
        quality: the IJG quality of luma and of chroma, None where the table is no scaled Annex K table.
        profile: name of the preset, or of the profile asked for, that it was coded with.
        double_coded: the luma coefficients have the gaps that an earlier, coarser coding leaves. A sign and no proof;
            None where the picture has too little in it to tell.
    """

    info: JpegInfo
    quality: tuple[int | None, ...]
    profile: str | None
    double_coded: bool | None


def probe(data: bytes, wanted: GuardProfile | None = None) -> Probed:
    """Read a real JPEG.

    Raises:
        JpegError: it is none, or ends early.
    """
    info = read_whole_jpeg(data)
    bases = (ANNEX_K_LUMA, ANNEX_K_CHROMA, ANNEX_K_CHROMA)
    quality = _qualities([ijg_qualities(table, base) for table, base in zip(info.tables, bases, strict=False)])
    known = [*([wanted] if wanted is not None and not wanted.is_pixel_domain else [])]
    known += [GuardProfile.preset(name) for name in PRESETS]
    if quality[0] is not None and len(set(quality)) == 1:
        known.append(GuardProfile.preset(f"jpeg:{quality[0]}"))
    profile = next((one.name for one in known if coded_with(info, one)), None)
    return Probed(info, quality, profile, _double_coded(data, info))


def _qualities(candidates: list[set[int]]) -> tuple[int | None, ...]:
    """One quality for all components where there is one, else each its own."""
    if common := set.intersection(*candidates):
        return (max(common),) * len(candidates)
    return tuple(max(found, default=None) for found in candidates)


def _double_coded(data: bytes, info: JpegInfo) -> bool | None:
    """Gaps in the histograms of quantised luma coefficients.

    A coding with step q1 followed by one with a smaller step q2 leaves indices of q2 that no multiple of q1 falls on
    (Lukas and Fridrich, DFRWS 2003). Single coding gives histograms that fall smoothly from 1 on.
    """
    rgb = decode_whole(data).astype(np.float64)
    luma = np.clip(np.rint(rgb @ [0.299, 0.587, 0.114]), 0, 255).astype(np.uint8)[:, :, None]
    found = coefficients(split_blocks(pad_to_blocks(luma)))
    told, rising = 0, 0
    for u, v in _BANDS:
        step = info.tables[0][8 * u + v]
        indices = np.abs(np.rint(found[u, v] / step)).astype(np.int64).ravel()
        counts = np.bincount(np.minimum(indices, _FAR), minlength=_FAR + 1)[1:_FAR]
        told += int(counts.max() >= _FEWEST)
        rising += _rises(counts)
    return None if told < _BANDS_WANTED else rising >= _BANDS_WANTED


def _rises(counts: NDArray[np.int64]) -> bool:
    """Whether a bin is much fuller than one of the few before it, which a smooth fall never shows."""
    return any(
        counts[j] >= _FEWEST and counts[j] > _RISE * (counts[i] + 3)
        for i in range(len(counts))
        for j in range(i + 1, min(i + 6, len(counts)))
    )
