"""GIF, palettes and AVIF as codecs of training and as defenses."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_kind import codec_kind
from edgeguard.train.lossy_codecs import lossy_codec


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    y, x = np.mgrid[:32, :32]
    noise = np.random.default_rng(0).integers(0, 40, (32, 32, 3))
    return np.clip(np.stack([4 * x, 4 * y, 2 * (x + y)], 2) + noise, 0, 255).astype(np.uint8)


def _colors(image: NDArray[np.uint8]) -> int:
    return len(np.unique(image.reshape(-1, 3), axis=0))


def test_palettes_have_so_many_colors(picture: NDArray[np.uint8]) -> None:
    assert _colors(picture) > 256
    for name, most in (("gif", 256), ("palette:16", 16), ("palette:16+dither", 16), ("palette:2", 2)):
        codec = lossy_codec(name)
        assert codec is not None
        out = codec(picture)
        assert out.shape == picture.shape and out.dtype == np.uint8 and 1 < _colors(out) <= most
        assert np.array_equal(out, codec(picture))
    plain, dithered = (lossy_codec(name) for name in ("palette:16", "palette:16+dither"))
    assert plain is not None and dithered is not None and not np.array_equal(plain(picture), dithered(picture))


def test_avif_is_nearer_at_a_higher_quality(picture: NDArray[np.uint8]) -> None:
    pytest.importorskip("PIL._avif", reason="this Pillow has no AVIF")
    errors = []
    for quality in (5, 50, 95):
        codec = lossy_codec(f"avif:{quality}")
        assert codec is not None
        out = codec(picture)
        assert np.array_equal(out, codec(picture))
        errors.append(float(np.abs(out.astype(int) - picture).mean()))
    assert errors[0] > errors[1] > errors[2] > 0


def test_they_are_codecs_of_a_training(picture: NDArray[np.uint8]) -> None:
    codec = TrainingCodec("gif")
    assert codec.profile is None and not codec.is_drawn and TrainingCodec("gif", 0.5).is_drawn
    assert codec_kind("palette:8").kind == "lossy" and lossy_codec("jpeg:75") is None
    out = codec(np.stack([picture, picture]), np.random.default_rng(0))
    assert np.array_equal(out[0], out[1]) and _colors(out[0]) <= 256


@pytest.mark.parametrize(
    ("name", "said"), [("palette:1", "2 to 256 colors"), ("palette:257", "2 to 256"), ("avif:101", "0 to 100")]
)
def test_numbers_out_of_range(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        codec_kind(name)
