import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeguard.errors import InputError
from edgeguard.train.config import TrainConfig
from edgeguard.train.data import Dataset, read_dataset


def _config(data: Path, **settings: Any) -> TrainConfig:
    return TrainConfig(data=str(data), **settings)


def _read(config: TrainConfig) -> Dataset:
    return read_dataset(config, size=config.size, seed=config.seed)


def test_parts_and_classes(stripes: Path) -> None:
    found = _read(_config(stripes))
    assert found.labels == ("across", "along", "round")
    assert len(found.train) == len(found.test) == 72
    assert isinstance(found.train.images, np.ndarray) and found.train.images.shape == (72, 32, 32, 3)
    assert np.bincount(found.train.targets).tolist() == [24, 24, 24]
    first = cv2.imread(str(stripes / "train" / "across" / "000.png"))
    assert first is not None
    assert np.array_equal(found.train.pixels(np.array([0]), 32)[0], first[:, :, ::-1])


def test_a_zip_is_the_same(stripes: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in stripes.rglob("*.png"):
            archive.write(file, f"top/{file.relative_to(stripes)}")
    a, b = _read(_config(stripes)), _read(_config(path))
    assert a.labels == b.labels
    assert np.array_equal(a.train.images, b.train.images)
    assert np.array_equal(a.test.targets, b.test.targets)


def test_without_parts_a_share_of_each_class_is_held_out(stripes: Path) -> None:
    found = _read(_config(stripes / "train", holdout=0.25))
    assert len(found.test) == 18 and len(found.train) == 54
    assert np.bincount(found.test.targets).tolist() == [6, 6, 6]
    again = _read(_config(stripes / "train", holdout=0.25))
    assert np.array_equal(found.test.images, again.test.images)


def test_limits_keep_classes_balanced(stripes: Path) -> None:
    assert np.bincount(_read(_config(stripes, limit=9)).train.targets).tolist() == [3, 3, 3]


def test_jpeg_bytes_are_kept_and_their_quality_is_said(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label in "ab":
            (tmp_path / part / label).mkdir(parents=True)
            image = np.full((32, 32, 3), 90 if label == "a" else 200, np.uint8)
            cv2.imwrite(str(tmp_path / part / label / "0.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 75])
    found = _read(_config(tmp_path, keep="jpeg"))
    assert isinstance(found.train.images, tuple) and found.train.images[0][:2] == b"\xff\xd8"
    assert found.train.qualities == {75: 2}
    assert found.train.file_bytes == sum(len(data) for data in found.train.images)
    assert np.array_equal(found.train.pixels(np.array([0, 1]), 32), _read(_config(tmp_path)).train.images)


def test_links_to_one_file_are_held_once(tmp_path: Path) -> None:
    """10^5 links to a picture of 60 MB were 6 TB."""
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    for part in ("train", "test"):
        for label in "ab":
            (tmp_path / part / label).mkdir(parents=True)
            for number in range(5):
                cv2.imwrite(str(tmp_path / part / label / f"{number}.jpg"), image)
    found = _read(_config(tmp_path, keep="jpeg")).train
    assert len({id(one) for one in found.images}) == 1 and found.file_bytes == 10 * len(found.images[0])


@pytest.mark.parametrize("keep", ["pixels", "jpeg"])
def test_what_does_not_fit_into_memory_is_said(keep: str, stripes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system ended the process when it had read for an hour."""
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 20, "SC_PAGE_SIZE": 4096}.get)
    with pytest.raises(InputError, match="take more than half of the memory here"):
        _read(_config(stripes, keep=keep))


def test_reading_many_images_says_how_far_it_is(
    stripes: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeguard.datasets.readable._SAID_EVERY_S", 0.0)
    _read(_config(stripes))
    assert said[0].endswith("1 of 72 images are opened")


def test_other_sizes_are_cropped_to_the_square_and_resized(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(3):
            cv2.imwrite(str(tmp_path / label / f"{number}.png"), np.full((60, 100, 3), 7 + number, np.uint8))
    found = _read(_config(tmp_path, size=32))
    images = found.train.images
    assert isinstance(images, np.ndarray) and images.shape[1:] == (32, 32, 3)


def test_broken_images_are_counted_and_listed_up_to_a_limit(stripes: Path, tmp_path: Path, said: list[str]) -> None:
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(stripes, folder)
    (folder / "train" / "round" / "000.png").write_bytes(b"not a picture")
    (folder / "train" / "round" / "001.png").write_bytes(b"")
    found = _read(_config(folder, bad_images_at_most=0.05))
    assert len(found.train) == 70 and len(found.broken) == 2 and "train/round/000.png" in found.broken[0]
    assert "2 of 144 images are broken" in said[0]
    with pytest.raises(InputError, match="2 of 144 images are broken"):
        _read(_config(folder))


def test_unbalanced_classes_are_said(stripes: Path, tmp_path: Path, said: list[str]) -> None:
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(stripes, folder)
    for file in sorted((folder / "train" / "along").iterdir())[2:]:
        file.unlink()
    _read(_config(folder))
    assert said == ["the classes are unbalanced: 2 images of along, 24 of across"]


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a folder nor a"):
        _read(_config(tmp_path / "nothing"))
    with pytest.raises(InputError, match="holds no classes"):
        _read(_config(tmp_path))
    (tmp_path / "x.zip").write_bytes(b"PK no")
    with pytest.raises(InputError, match="cannot be read as a"):
        _read(_config(tmp_path / "x.zip"))
    for part, label in (("train", "a"), ("train", "b"), ("test", "a")):
        (tmp_path / part / label).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / part / label / "0.png"), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(InputError, match=r"class b has too few images \(1\): train/ and test/ both need some"):
        _read(_config(tmp_path))


@pytest.mark.parametrize("name", ["../a/x.png", "/a/x.png", "a\\..\\x.png", "a/../../x.png"])
def test_a_zip_whose_names_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(InputError, match="leads elsewhere"):
        _read(_config(tmp_path / "d.zip"))


def test_a_zip_with_a_link_or_a_bomb_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a/x.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="link or a device"):
        _read(_config(tmp_path / "link.zip"))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"a/{number}.bmp", bytes(40 << 20))
    with pytest.raises(InputError, match="would unpack"):
        _read(_config(tmp_path / "bomb.zip"))
