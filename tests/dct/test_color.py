"""Colour conversion and chroma sampling against libjpeg's own (through Pillow and jpeglib)."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgeguard.dct.color import rgb_to_chroma, rgb_to_gray, upsample, ycbcr_to_rgb


@pytest.fixture(scope="module")
def colors() -> NDArray[np.uint8]:
    """Every 5th level of each channel."""
    axis = np.arange(0, 256, 5, dtype=np.uint8)
    return np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, axis.size, 3)


def test_luma_and_chroma_of_single_pixels(colors: NDArray[np.uint8]) -> None:
    theirs = np.asarray(Image.fromarray(colors).convert("YCbCr")).astype(int)
    exact = 0.299 * colors[..., 0] + 0.587 * colors[..., 1] + 0.114 * colors[..., 2]
    assert np.abs(rgb_to_gray(colors) - exact).max() <= 0.5001
    for ours, plane in zip(rgb_to_chroma(colors, 1, 1), (theirs[..., 1], theirs[..., 2]), strict=True):
        assert np.abs(ours.astype(int) - plane).max() <= 1  # Pillow truncates where libjpeg rounds


def test_averaged_chroma_is_exact(colors: NDArray[np.uint8]) -> None:
    pixels = colors[: colors.shape[0] // 2 * 2, : colors.shape[1] // 2 * 2]
    mean = pixels.reshape(pixels.shape[0] // 2, 2, -1, 2, 3).mean(axis=(1, 3))
    exact = 128 + mean @ np.array([-0.168735892, -0.331264108, 0.5])
    assert np.abs(rgb_to_chroma(pixels, 2, 2)[0] - exact).max() <= 0.501


def test_conversion_back(colors: NDArray[np.uint8]) -> None:
    y, cb, cr = (np.ascontiguousarray(colors[..., c]) for c in range(3))
    u, v = cb.astype(float) - 128, cr.astype(float) - 128
    exact = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], axis=2)
    assert np.abs(ycbcr_to_rgb(y, cb, cr) - np.clip(exact, 0, 255)).max() <= 0.51


@pytest.mark.parametrize(("subsampling", "rows", "columns"), [(0, 1, 1), (1, 1, 2), (2, 2, 2)])
@pytest.mark.parametrize("size", [(64, 64), (61, 75), (33, 50)])
def test_upsampling_is_libjpegs(subsampling: int, rows: int, columns: int, size: tuple[int, int]) -> None:
    """Chroma that is flat in each block survives coding exactly; what Pillow then decodes is libjpeg's upsampling."""
    height, width = size
    rng = np.random.default_rng(0)
    blocks = rng.integers(60, 190, (height // (8 * rows) + 1, width // (8 * columns) + 1, 2), dtype=np.uint8)
    chroma = blocks.repeat(8, axis=0).repeat(8, axis=1)  # the subsampled planes
    full = chroma.repeat(rows, axis=0).repeat(columns, axis=1)[:height, :width]
    picture = np.dstack([np.full((height, width, 1), 128, np.uint8), full])
    buffer = io.BytesIO()
    ones = [[1] * 64, [1] * 64]
    Image.fromarray(picture, "YCbCr").save(buffer, "JPEG", qtables=ones, subsampling=subsampling)
    decoded = Image.open(io.BytesIO(buffer.getvalue()))
    decoded.draft("YCbCr", None)
    theirs = np.asarray(decoded)
    real = (slice(-(-height // rows)), slice(-(-width // columns)))
    for c in range(2):
        ours = upsample(np.ascontiguousarray(chroma[..., c][real]), rows, columns, height, width)
        assert (ours == theirs[..., 1 + c]).all()
