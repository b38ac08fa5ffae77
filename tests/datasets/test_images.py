import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgeguard.datasets.images import digest, read_folder, read_labeled_folder
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
