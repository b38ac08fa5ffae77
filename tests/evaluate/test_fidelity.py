import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.evaluate.fidelity import ms_ssim, psnr_db


def _pictures(side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    y, x = np.mgrid[:side, :side]
    picture = (127 + 100 * np.sin(x / 9)[..., None] * np.cos(y[..., None] / np.array([7, 11, 13]))).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 12, picture.shape)
    return picture, np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_equal_pictures_and_more_noise() -> None:
    picture, noisy = _pictures(176)
    assert ms_ssim(picture, picture) == 1 and psnr_db(picture, picture) == float("inf")
    assert 0 < ms_ssim(picture, noisy) < 1 and ms_ssim(255 - picture, picture) < 0.1
    assert psnr_db(picture, noisy) == pytest.approx(20 * np.log10(255 / 12), abs=0.3)


def test_one_scale_is_the_usual_ssim() -> None:
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    picture, noisy = _pictures(16)  # one scale fits
    wanted = structural_similarity(
        picture, noisy, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
        win_size=11,
    )  # fmt: skip
    assert ms_ssim(picture, noisy) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.full
def test_five_scales_are_those_of_tensorflow() -> None:
    tf = pytest.importorskip("tensorflow")
    picture, noisy = _pictures(192)
    assert ms_ssim(picture, noisy) == pytest.approx(float(tf.image.ssim_multiscale(picture, noisy, 255)), abs=1e-5)


def test_a_picture_smaller_than_the_window() -> None:
    with pytest.raises(ValueError, match="smaller than the window"):
        ms_ssim(*_pictures(8))
