"""A film of a session on a disk that is full: FFmpeg says nothing, and half of it counted as whole."""

import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import DeviceError, InputError
from edgeguard.fieldtest.analysis.films import _write_mp4


def test_a_film_that_was_cut_is_no_film(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (120, 160, 3), np.uint8) for _ in range(20)]
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(DeviceError, match="is the disk full"):
            _write_mp4(tmp_path / "film.mp4", pictures, 5.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())
    _write_mp4(tmp_path / "film.mp4", pictures, 5.0)
    assert (tmp_path / "film.mp4").stat().st_size > 20_000


def test_a_film_whose_name_is_no_utf8(tmp_path: Path) -> None:
    """OpenCV ended the process by a signal."""
    with pytest.raises(InputError, match="no UTF-8"):
        _write_mp4(tmp_path / os.fsdecode(b"\xff.mp4"), [np.zeros((120, 160, 3), np.uint8)], 5.0)
    assert not list(tmp_path.iterdir())
