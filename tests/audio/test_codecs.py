import builtins
from typing import Any

import numpy as np
import pytest
from audio.signals import noise, tone

from edgeguard.audio.codecs import fitted, sound_codec, to_int16
from edgeguard.errors import InputError

soundfile = pytest.importorskip("soundfile", reason="needs the extra audio")


@pytest.mark.parametrize("name", ["mp3", "opus:0.8", "vorbis:0.5", "dct:300", "none", "vq:16"])
def test_as_many_samples_come_back_and_they_resemble(name: str) -> None:
    samples = tone(440, 8192)
    codec = sound_codec(name)
    back = codec(samples, 8000)
    assert back.dtype == np.int16
    assert len(back) == 8192
    error = back.astype(float) - samples
    assert (error**2).sum() < 0.05 * (samples.astype(float) ** 2).sum()
    assert np.array_equal(codec(samples, 8000), back)  # the same samples, the same result


def test_smaller_levels_make_smaller_files() -> None:
    samples = noise(8128)
    sizes = [len(sound_codec(name).encode(samples, 8000)) for name in ("opus:0", "opus:0.8", "opus:1")]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("name", ["mp4", "opus", "opus:1.5", "dct:0", "dct:99999", "vq:3", "vq:512", "", "mp3:1"])
def test_names_that_are_no_codec(name: str) -> None:
    with pytest.raises(InputError, match="there is no codec of sound"):
        sound_codec(name)


def test_rates_that_a_codec_does_not_know() -> None:
    with pytest.raises(InputError, match="opus does not know 44100 Hz; it knows 8000"):
        sound_codec("opus:0.5")(noise(4410), 44100)


def test_without_soundfile_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "soundfile":
            raise ImportError("No module named 'soundfile'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"sound needs soundfile .*pip install"):
        sound_codec("mp3")(noise(4000), 8000)
    assert len(sound_codec("dct:300")(noise(512), 8000)) == 512  # the guard needs nothing


def test_samples_beyond_full_scale_are_cut() -> None:
    assert to_int16(np.array([1.5, -2.0, 0.5])).tolist() == [32767, -32768, 16384]
    assert fitted(np.array([1, 2], np.int16), 3).tolist() == [1, 2, 0]
