import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgeguard.datasets import readable as readable_images
from edgeguard.datasets.classes import Classes
from edgeguard.datasets.images import LabeledImage, digest, labeled_folder, read_folder, read_labeled_folder
from edgeguard.datasets.readable import readable
from edgeguard.errors import InputError


def _save(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


def test_class_folders_by_label_or_by_order(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    for name in ("cat", "dog"):
        _save(tmp_path / name / "x.png", scene)
    assert [i.label for i in read_labeled_folder(tmp_path, ())] == [0, 1]
    assert [i.label for i in read_labeled_folder(tmp_path, ("dog", "x", "cat"))] == [2, 0]
    _save(tmp_path / ".ipynb_checkpoints" / "x-checkpoint.png", scene)
    _save(tmp_path / "cat" / ".thumbnails" / "x.png", scene)
    _save(tmp_path / "cat" / "._x.png", scene)
    _save(tmp_path / "loose.png", scene)
    found = labeled_folder(tmp_path, Classes())
    assert [(i.name, i.label) for i in found.images] == [("cat/x.png", 0), ("dog/x.png", 1)]
    assert found.mapping.left_out == (".ipynb_checkpoints", "1 images outside of class folders")
    for name in (".ipynb_checkpoints/x-checkpoint.png", "cat/.thumbnails/x.png", "cat/._x.png", "loose.png"):
        (tmp_path / name).unlink()
    assert [i.label for i in read_folder(tmp_path)] == [None, None]


def test_table(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    _save(tmp_path / "a.png", scene)
    (tmp_path / "labels.csv").write_text("file,class_index\na.png,7\n")
    assert [i.label for i in read_labeled_folder(tmp_path, ())] == [7]
    for text, message in (
        ("b.png,1\n", "labels.csv:1: b.png is not there"),
        ("a.png,1\na.png,x\n", "labels.csv:2"),
        ("", "no images"),
    ):
        (tmp_path / "labels.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            read_labeled_folder(tmp_path, ())


def test_folders_that_are_none(tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", tmp_path):
        with pytest.raises(InputError):
            read_folder(folder)
        with pytest.raises(InputError):
            read_labeled_folder(folder, ())


def test_digest_sees_names_and_contents(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    _save(tmp_path / "a.png", scene)
    first = digest(read_folder(tmp_path))
    assert first == digest(read_folder(tmp_path))
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    assert digest(read_folder(tmp_path)) != first


def test_a_background_label_is_no_class(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    for name in ("b", "a"):
        _save(tmp_path / name / "1.png", scene[:16, :16])
    found = read_labeled_folder(tmp_path, ("background", "b", "a"))
    assert {image.name: image.label for image in found} == {"a/1.png": 1, "b/1.png": 0}


def test_images_that_cannot_be_read_are_named_and_left_out(
    tmp_path: Path, scene: NDArray[np.uint8], said: list[str]
) -> None:
    for number in range(100):
        _save(tmp_path / f"{number:03}.png", scene[:8, :8])
    (tmp_path / "007.png").write_bytes((tmp_path / "007.png").read_bytes()[:60])
    images = read_folder(tmp_path)
    seen = []
    kept = readable(images, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert [i.name for i in images if i not in kept] == ["007.png"] and seen[-1] == (100, 100)
    assert "1 of 100 images cannot be read and are left out: 007.png (" in said[0]
    with pytest.raises(InputError, match="1 of 99 images cannot be read, more than 1%: 007.png"):
        readable(images[:99], tmp_path)
    assert readable([LabeledImage("x", scene)], tmp_path)[0].name == "x", "pixels need no decoder"


def test_names_that_are_no_utf8_are_one_line(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    _save(tmp_path / "picture" / "stop" / "a.png", scene)
    _save(tmp_path / "folder" / "stop" / "a.png", scene)
    _save(tmp_path / "folder" / "caf" / "b.png", scene)
    _save(tmp_path / "hidden" / "stop" / "a.png", scene)
    (tmp_path / "picture" / "stop" / "a.png").rename(tmp_path / "picture" / "stop" / "caf\udce9.png")
    (tmp_path / "folder" / "caf").rename(tmp_path / "folder" / "caf\udce9")
    (tmp_path / "hidden" / ".\udce9").mkdir()
    for name in ("picture", "folder"):
        for read in (read_folder, lambda folder: labeled_folder(folder, Classes())):
            with pytest.raises(InputError, match=f"{name}.*the name .* is no UTF-8: rename the file") as refused:
                read(tmp_path / name)
            str(refused.value).encode()
    assert len(read_folder(tmp_path / "hidden")) == len(labeled_folder(tmp_path / "hidden", Classes()).images) == 1
    assert digest([LabeledImage("caf\udce9", b"x")]) != digest([LabeledImage("caf\u00e9", b"x")])


def test_opening_many_images_says_how_far_it_is(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readable_images, "_SAID_EVERY_S", 0.0)
    images = [LabeledImage(str(number), np.zeros((4, 4, 3), np.uint8)) for number in range(3)]
    assert readable_images.readable(images, "photos") == images
    assert said == ["photos: 1 of 3 images are opened", "photos: 2 of 3 images are opened"]
