"""What the tests of commands share."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.guard import GuardProfile, encode_jpeg


@pytest.fixture
def folder(tmp_path: Path, scenes: list[NDArray[np.uint8]]) -> Path:
    path = tmp_path / "frames"
    path.mkdir()
    for i, scene in enumerate(scenes[:4]):
        (path / f"{i}.jpg").write_bytes(encode_jpeg(scene, GuardProfile.preset("jpeg:90")))
    return path
