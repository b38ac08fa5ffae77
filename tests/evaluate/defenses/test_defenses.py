from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.evaluate.defenses.registry import defense_by_name
from edgeguard.guard import GuardProfile, Sanitizer

pytest.importorskip("skimage", reason="needs the attack extra")
FAST = (
    "none", "bits:5", "jpeg:75", "jpeg2000:20", "webp:80", "median:3", "tvm", "shield", "resize-pad",
    "pixel-deflection", "fd-paper", "fd-paper x2",
)  # fmt: skip


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("size", [(40, 56), (37, 51)])
def test_a_defence_keeps_the_picture_and_repeats_itself(
    name: str, size: tuple[int, int], scene: NDArray[np.uint8]
) -> None:
    image = np.ascontiguousarray(scene[80 : 80 + size[0], 100 : 100 + size[1]])
    before, defence = image.copy(), defense_by_name(name)
    out = defence(image, 3)
    assert out.shape == image.shape and out.dtype == np.uint8 and np.array_equal(image, before)
    assert np.array_equal(out, defence(image, 3))
    if name != "resize-pad":  # that one shifts the picture
        assert np.abs(out.astype(int) - image).mean() < 20
    if defence.randomized and name != "pixel-deflection":
        assert not np.array_equal(out, defence(image, 4))


@pytest.mark.full
def test_quilting_sews_clean_patches(scenes: list[NDArray[np.uint8]]) -> None:
    library = [cv2.imencode(".png", scene[:, :, ::-1])[1].tobytes() for scene in scenes[1:5]]
    image = np.ascontiguousarray(scenes[0][60:110, 100:160])
    out = defense_by_name("quilting", library)(image, 1)
    assert out.shape == image.shape and 0 < np.abs(out.astype(int) - image).mean() < 40


def test_quilting_of_its_own_library_is_nearly_the_picture(scene: NDArray[np.uint8]) -> None:
    from edgeguard.evaluate.defenses.quilting import Quilting

    image = np.ascontiguousarray(scene[100:132, 100:148])
    own = Quilting((image,), neighbors=1, count=4000)
    assert np.abs(own(image).astype(int) - image).mean() < 2


def test_bit_depth_leaves_that_many_levels(scene: NDArray[np.uint8]) -> None:
    assert len(np.unique(defense_by_name("bits:3")(scene))) <= 8


def test_median_is_scipys(scene: NDArray[np.uint8]) -> None:
    from scipy.ndimage import median_filter

    expected = median_filter(scene, (3, 3, 1), mode="nearest")
    assert np.array_equal(defense_by_name("median:3")(scene), expected)


def test_total_variation_falls(scene: NDArray[np.uint8]) -> None:
    image = np.ascontiguousarray(scene[:48, :48])

    def variation(x: NDArray[np.uint8]) -> float:
        return float(np.abs(np.diff(x.astype(float), axis=0)).sum() + np.abs(np.diff(x.astype(float), axis=1)).sum())

    assert variation(defense_by_name("tvm")(image)) < variation(image)


def test_multiplied_steps(scene: NDArray[np.uint8]) -> None:
    doubled = GuardProfile("d", "rgb", (tuple(min(2 * s, 255) for s in GuardProfile.preset("fd-paper").tables[0]),))
    assert np.array_equal(defense_by_name("fd-paper x2")(scene), Sanitizer(doubled)(scene))


def test_a_profile_file_may_have_an_x_in_its_name(scene: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "mine x rgb.toml"
    GuardProfile.preset("fd-paper").save(path)
    for factor in ("", " x2"):
        expected = defense_by_name(f"fd-paper{factor}")(scene)
        assert np.array_equal(defense_by_name(f"{path}{factor}")(scene), expected)


@pytest.mark.parametrize("name", ["nope", "bits:x", "webp:0", "fd x0", "quilting"])
def test_what_is_no_defence_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises((InputError, ValueError)):
        defense_by_name(name)


def _library(scenes: list[NDArray[np.uint8]]) -> list[bytes]:
    return [cv2.imencode(".png", scene[:, :, ::-1])[1].tobytes() for scene in scenes]


@pytest.mark.full
def test_magnet_gives_clean_pictures_back(scenes: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeguard.evaluate.defenses import magnet

    monkeypatch.setattr(magnet, "_STEPS", 60)
    image = np.ascontiguousarray(scenes[0][:64, :64])
    out = defense_by_name("magnet", _library(scenes[2:6]))(image)
    assert out.shape == image.shape and np.abs(out.astype(int) - image).mean() < 40


def test_a_detector_refuses_one_in_twenty_clean_pictures(scenes: list[NDArray[np.uint8]]) -> None:
    from edgeguard.evaluate.defenses.detectors import FeatureSqueezing, threshold

    def classify(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        edges = float(np.abs(np.diff(image.astype(np.float32), axis=0)).mean()) / 40
        return np.array([edges, 1 - edges], np.float32)

    pictures = [np.ascontiguousarray(s[y : y + 40, x : x + 40]) for s in scenes for y in (0, 80) for x in (0, 90, 180)]
    detector = FeatureSqueezing()
    limit = threshold(detector, classify, pictures)
    refused = sum(detector.distance(classify, picture) > limit for picture in pictures)
    assert refused == 3  # of 48
    noisy = pictures[0].copy()
    noisy[::2, ::2] = 255 - noisy[::2, ::2]
    assert detector.distance(classify, noisy) > limit
