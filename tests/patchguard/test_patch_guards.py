import cv2
import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeguard.patchguard import PATCH_GUARDS, patch_guard
from edgeguard.patchguard.chunk_forest import isolation_scores
from edgeguard.patchguard.double_masking import DoubleMasking, MaskSet
from edgeguard.patchguard.entropy import EntropyInpainting, filled
from edgeguard.patchguard.gradient_smoothing import LocalGradientSmoothing

SIDE, TOP, EDGE = 224, 60, 72


def _scene(seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colours with a few soft discs."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 215, (4, 4, 3)).astype(np.float32)
    scene = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    for _ in range(5):
        cv2.circle(scene, tuple(rng.integers(0, SIDE, 2).tolist()), 20, rng.uniform(0, 255, 3).tolist(), -1)
    return np.clip(cv2.GaussianBlur(scene, (0, 0), 2) + rng.normal(0, 2, scene.shape), 0, 255).astype(np.uint8)


def _patched(seed: int = 0) -> NDArray[np.uint8]:
    image = _scene(seed)
    rng = np.random.default_rng(seed + 100)
    image[TOP : TOP + EDGE, TOP : TOP + EDGE] = rng.integers(0, 256, (EDGE, EDGE, 3))
    return image


@pytest.mark.parametrize("name", PATCH_GUARDS)
def test_a_noise_patch_is_found_and_smooth_scenes_are_let_be(name: str) -> None:
    guard = patch_guard(name)
    assert guard.name == name
    for seed in range(4):
        clean, patched = guard(_scene(seed)), guard(_patched(seed))
        inside = patched.suspect[TOP : TOP + EDGE, TOP : TOP + EDGE].mean()
        outside = patched.suspect.sum() - inside * EDGE * EDGE
        assert inside > 0.6 and outside < 0.15 * SIDE * SIDE
        assert not clean.alarm and (name == "lgs" or clean.suspect.mean() < 0.15)
        assert patched.alarm == (name == "recompression")


@pytest.mark.parametrize("name", PATCH_GUARDS)
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 99), flat=st.booleans())
@settings(max_examples=examples(15), deadline=None)
def test_any_image_keeps_its_shape_and_its_bytes(name: str, height: int, width: int, seed: int, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), seed, np.uint8) if flat else rng.integers(0, 256, (height, width, 3), np.uint8)
    before = image.copy()
    found = patch_guard(name)(image)
    assert found.image.shape == image.shape and found.image.dtype == np.uint8
    assert found.suspect.shape == image.shape[:2] and np.array_equal(image, before)
    if name != "lgs":
        assert np.array_equal(found.image[~found.suspect], image[~found.suspect])


def test_an_unknown_guard_is_named() -> None:
    with pytest.raises(ValueError, match="jedi"):
        patch_guard("jedi")


def test_smoothing_is_the_papers_formula() -> None:
    """Against a literal double loop over windows."""
    guard, image = LocalGradientSmoothing(), _patched(3)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    padded = np.pad(gray, ((0, 1), (0, 1)), mode="reflect")
    gradient = np.hypot(padded[:-1, 1:] - gray, padded[1:, :-1] - gray)
    gradient = (gradient - gradient.min()) / (gradient.max() - gradient.min())
    mask = np.zeros_like(gradient)
    for row in range(0, SIDE, 10):
        for column in range(0, SIDE, 10):
            window = np.pad(gradient, ((0, 15), (0, 15)), mode="edge")[row : row + 15, column : column + 15]
            if window.mean() > 0.1:
                mask[row : row + 15, column : column + 15] = 1
    expected = image * (1 - np.clip(2.3 * gradient * mask, 0, 1))[:, :, None]
    np.testing.assert_allclose(guard(image).image, expected, atol=0.51)


def test_entropy_is_shannons() -> None:
    guard, image = EntropyInpainting(), _scene(1)
    bits = guard.local_entropy(image)
    level = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[100 - 8 : 100 + 9, 50 - 8 : 50 + 9] // 16
    share = np.bincount(level.ravel(), minlength=16) / level.size
    assert bits[100, 50] == pytest.approx(-sum(p * np.log2(p) for p in share if p), abs=1e-3)


def test_a_hole_takes_the_colour_around_it() -> None:
    image = np.full((64, 64, 3), (10, 120, 240), np.uint8)
    hole = np.zeros((64, 64), bool)
    hole[20:40, 20:40] = True
    spoiled = image.copy()
    spoiled[hole] = 255
    assert np.abs(filled(spoiled, hole).astype(int) - image).max() <= 1


@pytest.mark.full
def test_isolation_scores_rank_as_scikit_learns_do() -> None:
    forest = pytest.importorskip("sklearn.ensemble", reason="scikit-learn comes with the attack extra")
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 1, (190, 5)), rng.normal(4, 1, (10, 5))]).astype(np.float32)
    ours = isolation_scores(points, 200, 64, 0)
    theirs = -forest.IsolationForest(n_estimators=200, max_samples=64, random_state=0).fit(points).score_samples(points)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.97 and np.abs(ours - theirs).max() < 0.06


@given(size=st.integers(8, 80), data=st.data())
@settings(max_examples=examples(60), deadline=None)
def test_one_mask_covers_any_patch(size: int, data: st.DataObject) -> None:
    patch = data.draw(st.integers(1, size))
    masks = MaskSet(size, patch, data.draw(st.integers(1, 7)))
    row, column = (data.draw(st.integers(0, size - patch)) for _ in range(2))
    assert any(
        top <= row and left <= column and row + patch <= top + masks.side and column + patch <= left + masks.side
        for top, left in masks.places
    )
    assert all(0 <= value <= size - masks.side for place in masks.places for value in place)


def test_a_certified_image_keeps_its_label_under_every_patch() -> None:
    """A toy model that a bright patch flips; every place of the patch is tried."""
    rng = np.random.default_rng(1)

    def predict(image: NDArray[np.uint8]) -> int:
        return 9 if (image == 255).any() else int(image[:, :, 0].mean() > 100)

    masks = MaskSet(24, 4, 3)
    defence = DoubleMasking(predict, masks)
    certified = 0
    for level in (40, 101, 180):
        image = rng.integers(level - 20, level + 20, (24, 24, 3)).astype(np.uint8)
        label = predict(image)
        clean = defence(image)
        if not defence.is_certified(image, label):
            continue
        certified += 1
        assert clean.label == label and clean.unanimous and clean.queries == len(masks.places)
        for row in range(21):
            for column in range(21):
                attacked = image.copy()
                attacked[row : row + 4, column : column + 4] = 255
                assert defence(attacked).label == label
    assert certified >= 1
