"""Pictures that are gone through again and again, one in memory at a time."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeguard.datasets import decoded
from edgeguard.datasets.decoded import DecodedFiles
from edgeguard.errors import InputError


def _files(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((20, 30, 3), number, np.uint8))
    return paths


def test_each_round_gives_all_pictures_and_keeps_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`guard design` kept them all: 40 pictures of 200 kB took more than 4 GB."""
    monkeypatch.setattr(decoded, "_KEPT_BYTES", 2 * 20 * 30 * 3)
    pictures, read = DecodedFiles(_files(tmp_path, 5)), list[str]()

    def noted(path: Path, *_: object) -> bytes:
        read.append(path.stem)
        return path.read_bytes()

    monkeypatch.setattr(decoded, "read_bounded", noted)
    for _ in range(2):
        assert [int(picture[0, 0, 0]) for picture in pictures] == [0, 1, 2, 3, 4]
    assert len(pictures) == 5 and read == ["0", "1", "2", "3", "4", "2", "3", "4"]


def test_a_file_that_does_not_decode_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"none")
    with pytest.raises(InputError, match=r"a\.png: the image does not decode"):
        list(DecodedFiles([tmp_path / "a.png"]))
