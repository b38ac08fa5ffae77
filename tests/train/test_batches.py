from pathlib import Path

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.guard import GuardProfile, Sanitizer
from edgeguard.train.codec import SHIELD_QUALITIES, TrainingCodec, local_quantization
from edgeguard.train.config import TrainConfig

torch = pytest.importorskip("torch")

from edgeguard.differentiable.guard_layer import to_frames  # noqa: E402
from edgeguard.train.batches import Batches, augmented  # noqa: E402
from edgeguard.train.data import Part, read_dataset  # noqa: E402


def _part(config: TrainConfig) -> Part:
    return read_dataset(config, size=config.size, seed=config.seed).train


def _batches(part: Part, config: TrainConfig) -> Batches:
    codec = TrainingCodec(config.codec, config.codec_share)
    return Batches(part, size=config.size, batch=config.batch, seed=config.seed, augment=config, codec=codec)


def test_a_step_is_the_same_whenever_it_is_asked(stripes: Path) -> None:
    config = TrainConfig(data=str(stripes), batch=16, codec="jpeg:20..90")
    part = _part(config)
    batches = _batches(part, config)
    assert batches.per_epoch == 4
    ahead = list(batches.steps(3, 9))
    for step, batch in zip(range(3, 9), ahead, strict=True):
        again = _batches(part, config).at(step)
        assert torch.equal(batch.levels, again.levels) and torch.equal(batch.targets, again.targets)
    assert not torch.equal(batches.at(0).levels, batches.at(4).levels)


def test_an_epoch_sees_each_image_once(stripes: Path) -> None:
    config = TrainConfig(data=str(stripes), batch=24, flip=False, shift=0)
    part = _part(config)
    assert isinstance(part.images, np.ndarray)
    seen = np.concatenate([to_frames(b.levels) for b in _batches(part, config).steps(0, 3)])
    assert len(np.unique(seen.reshape(72, -1), axis=0)) == 72
    assert np.array_equal(np.sort(seen.sum((1, 2, 3))), np.sort(part.images.sum((1, 2, 3))))


@given(st.integers(0, 2**31), st.integers(0, 6), st.booleans())
@settings(max_examples=examples(30), deadline=None)
def test_augmented_images_are_windows_of_reflected_ones(seed: int, shift: int, flip: bool) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    for image, out in zip(images, augmented(images, flip, shift, rng), strict=True):
        found = False
        for mirrored in (image, image[:, ::-1]) if flip else (image,):
            padded = np.pad(mirrored, ((shift, shift), (shift, shift), (0, 0)), "reflect")
            found |= any(
                np.array_equal(out, padded[y : y + 16, x : x + 16])
                for y in range(2 * shift + 1)
                for x in range(2 * shift + 1)
            )
        assert found


def test_a_grey_square_is_cut_out() -> None:
    images = np.full((200, 16, 16, 3), 7, np.uint8)
    out = augmented(images, False, 0, np.random.default_rng(0), cutout=6)
    cut = (out == 128).all(3)
    assert ((out == 7).all(3) ^ cut).all() and (images == 7).all()
    sizes = cut.sum((1, 2))
    assert sizes.max() == 36 and 9 <= sizes.min() < 36  # squares hang over the edge by up to half
    for one in cut:
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        assert one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


def test_codecs_are_the_devices_bytes(scene_tiles: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    sanitizer = Sanitizer(GuardProfile.preset("fd"))
    out = TrainingCodec("fd")(scene_tiles, rng)
    assert all(np.array_equal(a, sanitizer(b)) for a, b in zip(out, scene_tiles, strict=True))
    versions = {q: Sanitizer(GuardProfile.preset(f"jpeg:{q}")) for q in range(20, 91)}
    for a, b in zip(TrainingCodec("jpeg:20..90")(scene_tiles, rng), scene_tiles, strict=True):
        assert any(np.array_equal(a, version(b)) for version in versions.values())
    for a, b in zip(TrainingCodec("fd*0.5..2")(scene_tiles, rng), scene_tiles, strict=True):
        assert any(np.array_equal(a, Sanitizer(GuardProfile.preset("fd").multiplied(m / 10))(b)) for m in range(5, 21))


def test_a_share_of_the_images_stays_as_it_is(scene_tiles: np.ndarray) -> None:
    many = np.concatenate([scene_tiles] * 25)
    changed = (TrainingCodec("fd", 0.3)(many, np.random.default_rng(1)) != many).any((1, 2, 3))
    assert 40 <= changed.sum() <= 80  # 200 draws at 0.3
    assert TrainingCodec("fd", 0.3).profile is None and TrainingCodec("fd", 0.3).is_drawn
    assert TrainingCodec("fd").profile == GuardProfile.preset("fd") and not TrainingCodec("fd").is_drawn
    assert TrainingCodec("none")(many, np.random.default_rng(1)) is many and not TrainingCodec("none").is_drawn


def test_local_quantisation_takes_each_block_from_one_quality(scene_tiles: np.ndarray) -> None:
    image = scene_tiles[0]
    out = local_quantization(image, SHIELD_QUALITIES, np.random.default_rng(3))
    versions = [Sanitizer(GuardProfile.preset(f"jpeg:{q}"))(image) for q in SHIELD_QUALITIES]
    taken = set()
    for y in range(0, 32, 8):
        for x in range(0, 32, 8):
            block = np.s_[y : y + 8, x : x + 8]
            fits = [i for i, version in enumerate(versions) if np.array_equal(out[block], version[block])]
            assert fits
            taken.update(fits)
    assert len(taken) > 1


@pytest.fixture
def scene_tiles(scene: np.ndarray) -> np.ndarray:
    """Eight 32x32 pieces of a real picture."""
    return np.stack([scene[y : y + 32, x : x + 32] for y in (0, 40) for x in (0, 60, 120, 180)])
