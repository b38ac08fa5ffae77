from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.fft import dctn

from edgeguard.dct.design import band_sigmas
from edgeguard.guard import GuardProfile, ProfileError
from edgeguard.jpeg.blocks import pad_to_blocks
from edgeguard.jpeg.tables import corner_table


def test_sigmas_equal_scipy(scenes: list[NDArray[np.uint8]]) -> None:
    """Oracle: scipy's DCT, block by block."""
    values = []
    for image in scenes[:2]:
        padded = pad_to_blocks(image).astype(float)
        for y in range(0, padded.shape[0], 8):
            for x in range(0, padded.shape[1], 8):
                values += [dctn(padded[y : y + 8, x : x + 8, c], norm="ortho") for c in range(3)]
    assert np.allclose(band_sigmas(scenes[:2], "rgb")[0], np.std(values, axis=0), rtol=1e-6)


def test_corner_is_the_preset(scenes: list[NDArray[np.uint8]]) -> None:
    assert GuardProfile.design(scenes).tables == (corner_table(24, 32),)


def test_sigma_gives_the_fine_step_to_the_widest_bands(scenes: list[NDArray[np.uint8]]) -> None:
    profile = GuardProfile.design(scenes, as_bands=15, as_step=20, md_step=30, by="sigma")
    table = np.array(profile.tables[0])
    sigmas = band_sigmas(scenes, "rgb")[0].ravel()
    assert (table == 20).sum() == 15 and sigmas[table == 20].min() >= sigmas[table == 30].max()


def test_ycbcr_has_a_table_for_each_component(scenes: list[NDArray[np.uint8]]) -> None:
    profile = GuardProfile.design(scenes, color="ycbcr420", by="sigma")
    assert len(profile.tables) == 3
    for table, sigmas in zip(profile.tables, band_sigmas(scenes, "ycbcr420"), strict=True):
        fine = np.array(table) == 24
        assert fine.sum() == 16 and sigmas.ravel()[fine].min() >= sigmas.ravel()[~fine].max()
    assert len(GuardProfile.design(scenes, color="gray", by="sigma").tables) == 1


@pytest.mark.parametrize(
    "options", [{"as_bands": 15}, {"as_bands": 0}, {"as_bands": 64}, {"as_step": 0}, {"md_step": 256}]
)
def test_impossible_designs(options: dict[str, Any], scenes: list[NDArray[np.uint8]]) -> None:
    with pytest.raises(ProfileError):
        GuardProfile.design(scenes, **options)
    with pytest.raises(ProfileError, match="no image"):
        GuardProfile.design([], by="sigma")


def test_large_pictures_are_looked_at_in_strips(
    scenes: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = band_sigmas(scenes, "rgb")
    monkeypatch.setattr("edgeguard.dct.design._LARGEST_STRIP", 16 * scenes[0].shape[1])
    assert np.allclose(band_sigmas(scenes, "rgb"), whole, rtol=1e-12)
