"""The planes that a profile quantises, and its steps in the shape of their blocks."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.color import rgb_to_gray
from edgeguard.dct.profile import GuardProfile
from edgeguard.jpeg.blocks import check_frame
from edgeguard.jpeg.tables import as_array


def component_steps(profile: GuardProfile) -> NDArray[np.int32]:
    """The profile's tables as (8, 8, 1, 1, C), which broadcasts against `split_blocks`."""
    channels = 1 if profile.color == "gray" else 3
    tables = [as_array(table) for table in profile.component_tables[:channels]]
    return np.stack(tables, axis=-1)[:, :, None, None, :]


def components(frame: NDArray[np.uint8], profile: GuardProfile) -> NDArray[np.uint8]:
    """The planes that an `rgb` or `gray` profile quantises: HxWx3 or HxWx1."""
    check_frame(frame)
    if not profile.is_pixel_domain:
        raise ValueError(f"a {profile.color} profile works on JPEG coefficients, not on decoded pixels")
    return rgb_to_gray(frame)[:, :, None] if profile.color == "gray" else frame
