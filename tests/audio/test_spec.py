import numpy as np
import pytest

from edgeguard.audio.codebook import Codebook
from edgeguard.audio.features import OLD_SCALE, SCALE
from edgeguard.audio.path import SoundPath
from edgeguard.audio.spec import AudioInput, audio_input
from edgeguard.errors import InputError

BOOK = Codebook(np.arange(64, dtype=np.uint8).reshape(16, 4))
CODED = AudioInput(8000, 8128, codec="vq:16", reads="codes", codebook=BOOK)


@pytest.mark.parametrize("spec", [CODED, AudioInput(16000, 16256, "logmel", "dct:280"), AudioInput(8000, 8128)])
def test_what_stands_in_a_contract_comes_back(spec: AudioInput) -> None:
    assert audio_input(spec.to_dict()) == spec


def test_a_contract_without_a_scale_is_of_the_time_before_it() -> None:
    """Its network was trained on other features: with today's it would answer nonsense, in silence."""
    fields = AudioInput(8000, 8128).to_dict()
    assert fields.pop("scale") == SCALE
    old = audio_input(fields)
    assert old.scale == OLD_SCALE and old.to_dict() == fields and audio_input(old.to_dict()) == old
    assert "scale" not in AudioInput(8000, 8128, "logmel").to_dict()
    loud = np.full(8128, 3000, np.int16)
    assert not np.array_equal(SoundPath(old)(loud), SoundPath(AudioInput(8000, 8128))(loud))


def test_another_models_codebook_is_refused() -> None:
    fields = CODED.to_dict() | {"codebook": "00" * 64}
    with pytest.raises(InputError, match="codebook is another model's"):
        audio_input(fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rate_hz": "8000"}, "rate_hz is of another type"),
        ({"rate_hz": 10}, "sample rate"),
        ({"samples": 10}, "window"),
        ({"samples": 10**9}, "window"),
        ({"features": "mfcc"}, "not known"),
        ({"reads": "both"}, "not known"),
        ({"codec": "vq:32"}, "does not fit the codebook"),
        ({"codec": "none"}, "does not fit the codebook"),
        ({"codebook": "zz"}, "not hexadecimal"),
        ({"codebook": 3}, "not hexadecimal"),
        ({"codebook": "0011"}, "2, 4, 8"),
        ({"extra": 1}, "not a table of"),
        ({"scale": "1"}, "scale is of another type"),
        ({"scale": 0}, "above 0 and at most 1"),
        ({"scale": float("nan")}, "above 0 and at most 1"),
        ({"features": "logmel", "scale": 0.5}, "that of an stft"),
    ],
)
def test_damage_is_one_line(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        audio_input(CODED.to_dict() | change)


def test_codes_without_codewords_are_refused() -> None:
    with pytest.raises(InputError, match="codes are those of vq:K"):
        AudioInput(8000, 8128, reads="codes")


def test_shapes_of_the_tensor() -> None:
    assert CODED.shape == (32, 64, 4)
    assert AudioInput(8000, 8128, "logmel").shape == (62, 40, 1)
    assert SoundPath(CODED)(np.zeros(8128, np.int16)).shape == CODED.shape


def test_a_clip_stands_in_the_middle_of_its_window() -> None:
    path = SoundPath(AudioInput(8000, 8128))
    window, fit = path.placed(np.ones(128, np.int16))
    assert (fit, len(window), int(window[4000:4128].sum())) == ("padded", 8128, 128)
    window, fit = path.placed(np.arange(9128, dtype=np.int16))
    assert (fit, int(window[0])) == ("cut", 500)


def test_behind_the_guard_a_clip_keeps_its_grid() -> None:
    path = SoundPath(AudioInput(8000, 8128, codec="dct:280"))
    window, _ = path.placed(np.ones(1000, np.int16))
    assert len(window) == 8192
    assert int(np.flatnonzero(window)[0]) % 256 == 0
    window, _ = path.placed(np.arange(9000, dtype=np.int16))
    assert int(window[0]) % 256 == 0
