"""A microphone behind a stand-in for PortAudio: windows, losses, names, rates."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from audio.signals import noise

from edgeguard.audio import microphone
from edgeguard.audio.microphone import Microphone, MicrophoneOpener
from edgeguard.audio.spec import AudioInput
from edgeguard.camera.source import Captured, Lost
from edgeguard.errors import DeviceError, InputError

AUDIO = AudioInput(8000, 8128)


class PortAudioError(Exception):
    """As sounddevice's."""


class Stream:
    """An input stream that a test feeds."""

    def __init__(self, **given: Any) -> None:
        self.samplerate, self._callback = given["samplerate"], given["callback"]
        self._finished = given["finished_callback"]
        self.closed = 0

    def start(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1

    def feed(self, samples: np.ndarray, *, overflow: bool = False, latency_s: float = 0.05) -> None:
        times = SimpleNamespace(currentTime=10.0, inputBufferAdcTime=10.0 - latency_s - len(samples) / self.samplerate)
        self._callback(samples[:, None], len(samples), times, SimpleNamespace(input_overflow=overflow))

    def unplug(self) -> None:
        self._finished()


class PortAudio:
    """Stands for the module sounddevice."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        self.names = ["loudspeaker", "usb mic", "headset"]
        self.rates = {8000}
        self.streams: list[Stream] = []
        self.starts = 0

    def _initialize(self) -> None:
        self.starts += 1

    def _terminate(self) -> None:
        pass

    def query_devices(self, device: int | None = None) -> Any:
        found = [
            {"name": name, "max_input_channels": 0 if name == "loudspeaker" else 1, "default_samplerate": 48000.0}
            for name in self.names
        ]
        return found if device is None else found[device]

    def check_input_settings(self, **given: Any) -> None:
        if given["samplerate"] not in self.rates:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def InputStream(self, **given: Any) -> Stream:
        self.streams.append(Stream(**given))
        return self.streams[-1]


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> Iterator[PortAudio]:
    module = PortAudio()
    monkeypatch.setattr(microphone, "sounddevice", lambda: module)
    monkeypatch.setattr(microphone, "_open_streams", 0)
    yield module


def _take(opened: Microphone, count: int) -> list[Captured | Lost]:
    frames = opened.frames()
    return [next(frames) for _ in range(count)]


def test_windows_overlap_by_the_hop_and_hold_what_was_heard(portaudio: PortAudio) -> None:
    opened = MicrophoneOpener(0, AUDIO, 800, False)()
    samples = noise(12000)
    for start in range(0, 12000, 160):
        portaudio.streams[0].feed(samples[start : start + 160])
    first, second, third = _take(opened, 3)
    for index, one in enumerate((first, second, third)):
        assert isinstance(one, Captured) and one.sound is not None
        assert np.array_equal(one.sound.samples, samples[800 * index : 800 * index + 8128])
        assert one.sound.continues == (index > 0)
    opened.close()
    opened.close()
    assert portaudio.streams[0].closed == 1


def test_a_windows_time_is_that_of_its_last_sample(portaudio: PortAudio) -> None:
    opened = MicrophoneOpener(0, AUDIO, 800, False)()
    portaudio.streams[0].feed(noise(8128 + 80), latency_s=0.05)
    (one,) = _take(opened, 1)
    assert isinstance(one, Captured)
    assert time.time() - one.captured_at == pytest.approx(0.05 + 80 / 8000, abs=0.2)


def test_what_the_driver_loses_is_counted_and_no_window_spans_it(portaudio: PortAudio) -> None:
    opened = MicrophoneOpener(0, AUDIO, 800, False)()
    stream, behind = portaudio.streams[0], noise(8128, seed=2)
    stream.feed(noise(8000))
    stream.feed(behind, overflow=True)
    lost, window = _take(opened, 2)
    assert isinstance(lost, Lost) and "the driver lost samples" in lost.reason
    assert isinstance(window, Captured) and window.sound is not None
    assert np.array_equal(window.sound.samples, behind)
    assert not window.sound.continues


def test_one_that_is_unplugged_is_lost_and_found_again_by_its_name(portaudio: PortAudio) -> None:
    opener = MicrophoneOpener(0, AUDIO, 800, False)
    opened = opener()
    portaudio.streams[0].unplug()
    with pytest.raises(DeviceError, match="microphone usb mic is gone"):
        next(opened.frames())
    opened.close()
    portaudio.names = ["headset"]
    with pytest.raises(DeviceError, match="'usb mic' is not there"):
        opener()
    portaudio.names = ["headset", "usb mic"]
    assert opener().name == "microphone usb mic"
    assert portaudio.starts == 3  # the list of devices is read anew each time


def test_a_number_that_is_not_there_names_those_that_are(portaudio: PortAudio) -> None:
    with pytest.raises(DeviceError, match=r"microphone 2 is not there \(0 = usb mic, 1 = headset\)"):
        MicrophoneOpener(2, AUDIO, 800, False)()


def test_another_rate_is_refused_with_the_one_wanted_or_resampled(portaudio: PortAudio) -> None:
    portaudio.rates = {48000}
    with pytest.raises(InputError, match=r"does not record at 8000 Hz, which the model wants \(its own rate is 48000"):
        MicrophoneOpener(0, AUDIO, 800, False)()
    pytest.importorskip("soxr", reason="needs the extra audio")
    opened = MicrophoneOpener(0, AUDIO, 800, True)()
    assert str(opened.applied) == "8000 Hz (resampled from 48000 Hz)"
    wave = np.rint(8000 * np.sin(2 * np.pi * 440 * np.arange(96000) / 48000)).astype(np.int16)
    for start in range(0, len(wave), 960):
        portaudio.streams[0].feed(wave[start : start + 960])
    (one,) = _take(opened, 1)
    assert isinstance(one, Captured) and one.sound is not None
    spectrum = np.abs(np.fft.rfft(one.sound.samples[1000:]))
    assert abs(spectrum.argmax() * 8000 / 7128 - 440) < 3
