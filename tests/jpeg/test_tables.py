import io

import numpy as np
import pytest
from PIL import Image

from edgeguard.jpeg.header import read_jpeg_info
from edgeguard.jpeg.tables import (
    ANNEX_K_CHROMA,
    ANNEX_K_LUMA,
    ZIGZAG,
    corner_table,
    from_zigzag,
    ijg_scaled,
    to_zigzag,
)


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 90, 100])
def test_ijg_tables_equal_those_of_libjpeg(quality: int) -> None:
    """Oracle: the tables that libjpeg (through Pillow) writes at this quality."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(buffer, "JPEG", quality=quality)
    luma, chroma, _ = read_jpeg_info(buffer.getvalue()).tables
    assert luma == ijg_scaled(ANNEX_K_LUMA, quality)
    assert chroma == ijg_scaled(ANNEX_K_CHROMA, quality)


def test_zigzag_starts_and_ends_as_in_the_standard() -> None:
    assert ZIGZAG[:10] == (0, 1, 8, 16, 9, 2, 3, 10, 17, 24)
    assert ZIGZAG[-3:] == (55, 62, 63)
    assert sorted(ZIGZAG) == list(range(64))


def test_zigzag_round_trip() -> None:
    table = tuple(range(1, 65))
    assert from_zigzag(to_zigzag(table)) == table


def test_corner_table() -> None:
    table = np.array(corner_table(24, 32)).reshape(8, 8)
    assert (table[:4, :4] == 24).all() and (table == 24).sum() == 16 and (table == 32).sum() == 48


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_quality_out_of_range(quality: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.100"):
        ijg_scaled(ANNEX_K_LUMA, quality)
