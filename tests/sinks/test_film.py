"""An MP4 of JPEGs as they are."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.sinks.film import write_film


def test_the_frames_are_in_it_byte_for_byte_and_it_plays(scenes: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    jpegs = [encode_jpeg(picture, GuardProfile.preset("jpeg:90")) for picture in scenes]
    film = tmp_path / "clip.mp4"
    assert write_film(film, [(5 + 0.2 * n, jpeg) for n, jpeg in enumerate(jpegs)]) == len(jpegs)
    assert b"".join(jpegs) in film.read_bytes() and [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    reader = cv2.VideoCapture(str(film), cv2.CAP_FFMPEG)
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == len(jpegs)
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(5, abs=0.1)
    for jpeg in jpegs:
        good, frame = reader.read()
        assert good and np.abs(frame[:, :, ::-1].astype(int) - decode_rgb(jpeg)).mean() < 4
    assert not reader.read()[0]


def test_a_film_without_frames_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without frames"):
        write_film(tmp_path / "clip.mp4", [])
    assert list(tmp_path.iterdir()) == []
