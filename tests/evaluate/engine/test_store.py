import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import DeviceError, InputError
from edgeguard.evaluate.engine.store import AdversarialImages, Store, of_picture

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


def _signed(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest() + payload


def test_a_result_of_somebody_else_counts_as_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    image = np.zeros((512, 512, 3), np.uint8)
    packed, other, wide = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez_compressed(packed, count=1, seconds=1.0, image_0=image)
    np.savez(other, count=10**9, seconds=1.0)
    np.savez(wide, count=1, seconds=1.0, image_0=image.astype(np.float64))
    for payload in (packed.getvalue(), other.getvalue(), wide.getvalue(), b"no archive"):
        store.save(KEY, AdversarialImages((image,), 1.0))
        next(tmp_path.rglob("*.adv")).write_bytes(_signed(payload))
        assert store.load(KEY) is None


def test_links_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / ".draft-0123abcd.txt").write_text("precious")
    (folder / "ab").symlink_to(elsewhere)
    with pytest.raises(InputError, match="is a link"):
        Store(folder)
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "adversarial").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        Store(tmp_path / "output" / "adversarial")
    assert (elsewhere / ".draft-0123abcd.txt").exists()


def test_a_kept_result_of_another_size_is_said_with_what_to_do() -> None:
    """It came with somebody else's folder, under the right key: `evaluate` ended in exit code 70."""
    image = np.zeros((4, 5, 3), np.uint8)
    assert of_picture(image, image) is image
    for other in (image[:0], image[:, :4], image[:, :, :1]):
        with pytest.raises(InputError, match="a kept result has the size .*: delete the folder adversarial/"):
            of_picture(other, image)
