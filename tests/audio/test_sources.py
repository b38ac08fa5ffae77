from pathlib import Path

import numpy as np
import pytest
from audio.signals import noise, written

from edgeguard.audio.sources import sound_opener
from edgeguard.audio.spec import AudioInput
from edgeguard.camera.source import Captured, Lost, Unchanged
from edgeguard.errors import InputError

pytest.importorskip("soundfile", reason="needs the extra audio")
AUDIO = AudioInput(8000, 8128)


def _windows(path: Path, audio: AudioInput = AUDIO, hop_s: float = 0.1) -> list[Captured | Lost]:
    source = sound_opener(str(path), audio, hop_s=hop_s, resample=False)()
    return [one for one in source.frames() if not isinstance(one, Unchanged)]


def test_each_clip_of_a_folder_is_a_window(tmp_path: Path) -> None:
    (tmp_path / "b.wav").write_bytes(written(noise(9000)))
    (tmp_path / "a.flac").write_bytes(written(noise(100), kind="FLAC"))
    (tmp_path / "c.wav").write_bytes(b"RIFF....")
    (tmp_path / "note.txt").write_text("no sound")
    found = _windows(tmp_path)
    assert [one.source for one in found] == ["a.flac", "b.wav", "c.wav"]
    first, second, broken = found
    assert isinstance(first, Captured) and first.sound is not None and first.sound.fit == "padded"
    assert isinstance(second, Captured) and second.sound is not None and second.sound.fit == "cut"
    assert isinstance(broken, Lost) and "cannot be read as sound" in broken.reason


def test_a_long_file_gives_overlapping_windows_to_its_end(tmp_path: Path) -> None:
    samples = noise(20000)
    (tmp_path / "long.wav").write_bytes(written(samples))
    found = [one for one in _windows(tmp_path / "long.wav") if isinstance(one, Captured)]
    assert [one.sound.start_s for one in found if one.sound][:3] == [0.0, 0.1, 0.2]
    for one in found:
        assert one.sound is not None
        start = round(one.sound.start_s * 8000)
        piece = samples[start : start + 8128]
        assert np.array_equal(one.sound.samples[: len(piece)], piece)
    last = found[-1].sound
    assert last is not None and round(last.start_s * 8000) + 8128 >= 20000
    assert [one.sound.continues for one in found if one.sound][:2] == [False, True]


def test_behind_the_guard_windows_begin_on_its_grid(tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(written(noise(20000)))
    guarded = AudioInput(8000, 8128, codec="dct:280")
    starts = [one.sound.start_s * 8000 for one in _windows(tmp_path / "long.wav", guarded) if isinstance(one, Captured)
              and one.sound]  # fmt: skip
    assert len(starts) > 10
    assert all(start % 256 == 0 for start in starts)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "is not there"),
        ("empty", "holds no clips"),
        ("note.txt", "no file of sound by its suffix"),
        ("broken.wav", "cannot be read as sound"),
        ("fast.wav", "has 16000 Hz, the model wants 8000 Hz"),
        ("microphone:x", "microphone:N"),
    ],
)
def test_sources_that_are_none(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("x")
    (tmp_path / "broken.wav").write_bytes(b"x")
    (tmp_path / "fast.wav").write_bytes(written(noise(100), 16000))
    spec = name if name.startswith("microphone") else str(tmp_path / name)
    with pytest.raises(InputError, match=words):
        sound_opener(spec, AUDIO, hop_s=0.1, resample=False)()
