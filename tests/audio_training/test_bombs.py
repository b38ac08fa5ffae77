"""Clips of a stranger that are a thousand times as large as their files."""

from pathlib import Path

import numpy as np
import pytest
from audio.signals import noise, written

pytest.importorskip("torch", reason="needs the extra convert")
pytest.importorskip("soundfile", reason="needs the extra audio")

from edgeguard.audio_training import data as data_module
from edgeguard.audio_training.config import SoundConfig
from edgeguard.audio_training.data import read_sound
from edgeguard.errors import InputError


def _folder(folder: Path, clip: bytes, kind: str) -> SoundConfig:
    for label in ("no", "yes"):
        (folder / label).mkdir(parents=True)
        for number in range(4):
            (folder / label / f"{number}.{kind}").write_bytes(clip)
    return SoundConfig(data=str(folder))


def test_clips_that_grow_without_bound_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """80 files of 200 kB would become 10 GB."""
    monkeypatch.setattr(data_module, "_FREE_BYTES", 1 << 20)
    silence = _folder(tmp_path / "silence", written(np.zeros(1 << 18, np.int16), kind="FLAC"), "flac")
    with pytest.raises(InputError, match=r"the clips up to .*\.flac hold \d+ bytes of sound in \d+ bytes of files"):
        read_sound(silence)


def test_sound_of_people_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "_FREE_BYTES", 0)
    speech = _folder(tmp_path / "speech", written(noise(16_000, level=300), kind="OGG", subtype="OPUS"), "ogg")
    assert len(read_sound(speech).train) > 0
