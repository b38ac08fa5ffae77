"""Scenes for audits of the card detector."""

from pathlib import Path

import cv2
import numpy as np

from edgeguard.demo.detector_scenes import FRAME, photographed_scene


def test_a_photographed_scene_stands_before_the_photograph_and_holds_a_sign(tmp_path: Path) -> None:
    path = tmp_path / "green.png"
    cv2.imwrite(str(path), np.full((90, 130, 3), (20, 200, 20), np.uint8))
    frame, objects = photographed_scene(3, path)
    assert frame.shape == (FRAME[1], FRAME[0], 3) and 1 <= len(objects) <= 3
    for seen in objects:
        x1, y1, x2, y2 = seen.box
        assert 0 <= x1 < x2 <= FRAME[0] and 0 <= y1 < y2 <= FRAME[1]
    greener = frame[:, :, 1].astype(int) - frame[:, :, 0]
    assert (greener > 30).mean() > 0.4
    again, same = photographed_scene(3, path)
    assert np.array_equal(frame, again) and same == objects
