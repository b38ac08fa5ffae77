"""Reading files of sound, and every file that is none."""

import numpy as np
import pytest
from audio.signals import noise, tone, written
from system.crafted_zip import memory_below

from edgeguard.audio.clips import BrokenClipError, OtherRateError, read_clip
from edgeguard.errors import InputError

pytest.importorskip("soundfile", reason="needs the extra audio")


def test_a_wav_of_sixteen_bits_comes_as_it_is() -> None:
    samples = noise(3000)
    clip = read_clip(written(samples), 8000)
    assert np.array_equal(clip.samples, samples)
    assert clip.notes == ()


def test_stereo_is_averaged_and_said() -> None:
    left, right = tone(300), tone(600)
    clip = read_clip(written(np.stack([left, right], 1)), 8000)
    assert np.abs(clip.samples - (left.astype(int) + right) / 2).max() <= 0.5
    assert clip.notes == ("2 channels were averaged",)


def test_more_bits_are_rounded_and_said() -> None:
    samples = np.array([0.25 + 1 / 70000, -0.5, 0.0])
    clip = read_clip(written(samples, subtype="PCM_24"), 8000)
    assert clip.samples.tolist() == [8192, -16384, 0]
    assert clip.notes == ("24-bit samples were rounded to 16 bits",)


def test_another_rate_is_refused_with_the_one_wanted_or_resampled() -> None:
    data = written(tone(300, 16000, rate_hz=16000), 16000)
    with pytest.raises(OtherRateError, match="has 16000 Hz, the model wants 8000 Hz: --resample converts it"):
        read_clip(data, 8000)
    pytest.importorskip("soxr", reason="needs the extra audio")
    clip = read_clip(data, 8000, resample=True)
    assert len(clip.samples) == 8000
    assert np.abs(clip.samples[2000:6000] - tone(300, 8000)[2000:6000].astype(int)).max() < 300
    assert clip.notes == ("16000 Hz were resampled to 8000 Hz",)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"RIFX nothing", "cannot be read as sound"),
        (b"", "cannot be read as sound"),
        (written(np.zeros(0, np.int16)), "holds no samples"),
        (written(np.array([0.0, np.nan, 1.0]), subtype="FLOAT"), "not finite"),
        (written(np.array([0.0, np.inf]), subtype="FLOAT"), "not finite"),
        (written(noise(12000), kind="MP3", subtype="MPEG_LAYER_III")[:3000], "cut short"),
        (written(noise(3000))[:2000], "cut short"),
        (written(noise(12000), kind="OGG", subtype="VORBIS")[:-200], "cut short"),
        (written(noise(12000), kind="FLAC", subtype="PCM_16")[:6000], "cannot be read as sound"),
    ],
    ids=["no-riff", "empty", "no-samples", "nan", "infinite", "mp3-cut", "wav-cut", "vorbis-cut", "flac-cut"],
)
def test_what_is_no_clip_is_one_line(data: bytes, words: str) -> None:
    with pytest.raises(BrokenClipError, match=words) as found:
        read_clip(data, 8000)
    assert "\n" not in str(found.value)
    assert "BytesIO" not in str(found.value)


def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.audio.clips._MOST_VALUES", 1000)
    with pytest.raises(InputError, match="claims 3000 samples"):
        read_clip(written(noise(3000)), 8000)


def test_samples_beyond_full_scale_are_said() -> None:
    clip = read_clip(written(np.array([2.0, 0.0]), subtype="FLOAT"), 8000)
    assert clip.samples.tolist() == [32767, 0]
    assert clip.notes == ("samples beyond full scale were cut",)


@pytest.mark.parametrize("rate", [1, 3, 999])
def test_a_file_that_would_grow_without_end_is_refused(rate: int) -> None:
    """40 kB at one sample a second became 3.7 GB."""
    with pytest.raises(BrokenClipError, match=f"says that it has {rate} Hz"):
        read_clip(written(np.ones(20_000, np.int16), rate), 8000, resample=True)


@pytest.mark.parametrize(
    "kind", ["AIFF", "AU", "CAF", "IRCAM", "MAT4", "MAT5", "W64", "VOC", "NIST", "PAF", "SVX", "HTK"]
)
def test_a_format_that_nobody_named_is_not_opened(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """libsndfile opens two dozen, whatever the file's name, and has had holes in those that nobody uses."""
    import soundfile

    data = written(noise(3000), kind=kind)
    monkeypatch.setattr(soundfile, "SoundFile", lambda *_: pytest.fail("libsndfile opened it"))
    for begin in (b"", b"ID3\x04\0\0\0\0\0\x05hello"):
        with pytest.raises(BrokenClipError, match="neither WAV, FLAC, Ogg nor MP3"):
            read_clip(begin + data, 8000)


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32", "NMS_ADPCM_16"])
def test_a_coding_of_telephones_is_one_line(subtype: str) -> None:
    """libsndfile cannot go back in them: `run` ended in exit code 70."""
    with pytest.raises(BrokenClipError, match=f"its coding {subtype} is not known here"):
        read_clip(written(noise(3000), subtype=subtype), 8000)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_32", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"])
def test_other_codings_of_a_wav_are_read(subtype: str) -> None:
    samples = tone(300)
    found = read_clip(written(samples / 32768, subtype=subtype), 8000).samples[: len(samples)]
    assert np.abs(found.astype(int) - samples).mean() < 300


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "FLAC"])
def test_what_is_a_wav_or_flac_by_its_bytes_is_read(kind: str) -> None:
    samples = noise(3000)
    assert np.array_equal(read_clip(written(samples, kind=kind), 8000).samples, samples)


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"), [(8000, 2, "PCM_16"), (8000, 1, "PCM_24"), (22050, 3, "FLOAT")]
)
def test_a_file_in_pieces_is_the_same_as_in_one(
    rate: int, channels: int, subtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("soxr", reason="needs the extra audio")
    values = np.stack([noise(20_011, seed=seed) / 32768 for seed in range(channels)], 1)
    data = written(values, rate, subtype=subtype)
    whole = read_clip(data, 8000, resample=True)
    monkeypatch.setattr("edgeguard.audio.clips._PIECE", 997)
    pieces = read_clip(data, 8000, resample=True)
    assert np.array_equal(pieces.samples, whole.samples) and pieces.notes == whole.notes


def test_resampling_in_pieces_is_resampling() -> None:
    soxr = pytest.importorskip("soxr", reason="needs the extra audio")
    samples = noise(60_000)
    wanted = np.clip(np.rint(soxr.resample(samples / 32768, 44_100, 8000) * 32768), -32768, 32767)
    found = read_clip(written(samples, 44_100), 8000, resample=True).samples
    assert len(found) == len(wanted) and np.abs(found - wanted).max() <= 1


def test_a_few_kilobytes_of_silence_take_twice_their_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a whole, in 64 bits, 20 kB were 1.6 GB."""
    pytest.importorskip("soxr", reason="needs the extra audio")
    data = written(np.zeros((1 << 22, 2), np.int16), 8001, kind="FLAC")
    assert len(data) < 20_000
    with memory_below(4 << 23):
        assert len(read_clip(data, 8000, resample=True).samples) > 4_000_000
