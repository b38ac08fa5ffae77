"""JPEG with a profile's tables, as pass 1 writes it, and whether a JPEG was coded with them."""

import io

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.profile import GuardProfile
from edgeguard.jpeg.header import JpegInfo


def encode_jpeg(rgb: NDArray[np.uint8], profile: GuardProfile) -> bytes:
    """Code a frame as a real JPEG with a `ycbcr*` profile's tables, verbatim: pass 1.

    Raises:
        ValueError: an `rgb` or `gray` profile, which JPEG's colour transform cannot express.
    """
    from PIL import Image

    if profile.is_pixel_domain:
        raise ValueError(f"a {profile.color} profile is not JPEG; use a ycbcr one (fd-jpeg, jpeg:Q)")
    subsampling = {"ycbcr444": 0, "ycbcr422": 1, "ycbcr420": 2}[profile.color]
    buffer = io.BytesIO()
    tables = [list(table) for table in profile.tables]  # Pillow takes natural order
    Image.fromarray(rgb).save(buffer, "JPEG", qtables=tables, subsampling=subsampling)
    return buffer.getvalue()


def coded_with(info: JpegInfo, profile: GuardProfile) -> bool:
    """True when a JPEG's tables and subsampling are the profile's: its coefficients are exact multiples."""
    if profile.color != f"ycbcr{info.sampling}":
        return False
    return info.tables == profile.component_tables
