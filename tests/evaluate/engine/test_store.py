from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import DeviceError
from edgeguard.evaluate.engine.store import AdversarialImages, Store

KEY = "ab" * 32


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    images = [np.arange(60, dtype=np.uint8).reshape(4, 5, 3), np.zeros((2, 2, 3), np.uint8)]
    assert store.load(KEY) is None
    store.save(KEY, AdversarialImages(tuple(images), 1.5))
    kept = store.load(KEY)
    assert kept is not None and kept.seconds == 1.5
    assert all(np.array_equal(a, b) for a, b in zip(kept.images, images, strict=True))


@pytest.mark.parametrize("cut", [0, 10, 40, -1])
def test_half_a_file_counts_as_none(tmp_path: Path, cut: int) -> None:
    store = Store(tmp_path)
    store.save(KEY, AdversarialImages((np.zeros((8, 8, 3), np.uint8),), 1.0))
    path = next(tmp_path.rglob("*.adv"))
    path.write_bytes(path.read_bytes()[:cut])
    assert store.load(KEY) is None


def test_a_flipped_byte_counts_as_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(KEY, AdversarialImages((np.zeros((8, 8, 3), np.uint8),), 1.0))
    path = next(tmp_path.rglob("*.adv"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert store.load(KEY) is None


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DeviceError):
        Store(tmp_path / "file" / "inside")
