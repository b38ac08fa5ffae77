"""A microphone through PortAudio (sounddevice): overlapping windows of what it hears."""

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio.codecs import to_int16
from edgeguard.audio.spec import AudioInput
from edgeguard.camera.source import Applied, Captured, Lost, SoundWindow
from edgeguard.errors import DeviceError, InputError

_BLOCK_S = 0.02
_WAIT_S = 0.2  # for a block; then somebody may have closed the stream
_LONGEST_LATENCY_S = 1.0  # that is believed of a driver
_MOST_BLOCKS = 500  # that may wait: ten seconds, then the oldest are lost and counted
_one_at_a_time = threading.Lock()  # PortAudio's list of devices is the process's
_open_streams = 0


@dataclass(frozen=True)
class _Block:
    """Samples as they came, when the last of them was in the air, and whether some before them were lost."""

    samples: NDArray[np.int16]
    ended_at: float
    overflowed: bool


class MicrophoneOpener:
    """Opens the N-th microphone, and after a loss the one of the same name, whatever its number is then.

    Args:
        number: among the devices that record, from 0.
        audio: what the model hears.
        hop: samples between the beginnings of two windows.
        resample: open at the device's own rate where it does not know the model's.
    """

    def __init__(self, number: int, audio: AudioInput, hop: int, resample: bool) -> None:
        self._number, self._audio, self._hop, self._resample = number, audio, hop, resample
        self._name: str | None = None

    def __call__(self) -> "Microphone":
        """Open it.

        Raises:
            InputError: it does not record at the wanted rate; sounddevice or PortAudio is not installed.
            DeviceError: it is not there.
        """
        module = sounddevice()
        with _one_at_a_time:
            if not _open_streams:  # the list is made when PortAudio starts: what was plugged in since is not in it
                module._terminate()
                module._initialize()
            found = [(i, str(d["name"])) for i, d in enumerate(module.query_devices()) if d["max_input_channels"] > 0]
        device = self._choose(found)
        self._name = device[1]
        return Microphone(module, device, self._audio, self._hop, self._resample)

    def _choose(self, found: list[tuple[int, str]]) -> tuple[int, str]:
        if self._name is not None:
            same = [device for device in found if device[1] == self._name]
            if not same:
                raise DeviceError(f"the microphone {self._name!r} is not there")
            return same[0]
        if self._number >= len(found):
            there = ", ".join(f"{number} = {name}" for number, (_, name) in enumerate(found)) or "none is"
            raise DeviceError(f"microphone {self._number} is not there ({there})")
        return found[self._number]


class Microphone:
    """An open microphone. A window's time is that of its last sample, as far as the driver tells it."""

    live = True

    def __init__(self, module: Any, device: tuple[int, str], audio: AudioInput, hop: int, resample: bool) -> None:
        global _open_streams
        self.name = f"microphone {device[1]}"
        self._module, self._audio, self._hop = module, audio, hop
        self._blocks: queue.Queue[_Block | None] = queue.Queue(_MOST_BLOCKS)
        self._closed, self._missed = threading.Event(), 0
        rate = _rate(module, device, audio.rate_hz, resample)
        self._resampler = _resampler(rate, audio.rate_hz)
        try:
            self._stream = module.InputStream(
                device=device[0], channels=1, samplerate=rate, dtype="int16", blocksize=round(_BLOCK_S * rate),
                callback=self._called, finished_callback=self._finished,
            )  # fmt: skip
            self._stream.start()
        except module.PortAudioError as error:
            raise DeviceError(f"{self.name} cannot be opened: {_reason(error)}") from error
        with _one_at_a_time:
            _open_streams += 1
        self._rate = rate
        note = "" if rate == audio.rate_hz else f" (resampled from {rate} Hz)"
        self.applied = Applied(format=f"{audio.rate_hz} Hz{note}")

    def frames(self) -> Iterator[Captured | Lost]:
        """Windows, one each hop; what the driver lost is `Lost`.

        Raises:
            DeviceError: the stream ended.
        """
        length, rate = self._audio.taken, self._audio.rate_hz
        kept, begins, continues = np.zeros(0, np.int16), 0, False
        while not self._closed.is_set():
            try:
                block = self._blocks.get(timeout=_WAIT_S)
            except queue.Empty:
                continue
            if block is None:
                raise DeviceError(f"{self.name} is gone")
            if block.overflowed or self._missed:
                self._missed = 0
                kept, continues = np.zeros(0, np.int16), False
                yield Lost(0, self.name, "the driver lost samples: nobody took them in time")
            kept = np.concatenate([kept, self._at_rate(block.samples)])
            while len(kept) >= length:
                behind = len(kept) - length
                window = SoundWindow(kept[:length].copy(), begins / rate, continues=continues)
                ended_at = block.ended_at - behind / rate
                yield Captured(0, self.name, None, None, ended_at, "received", sound=window)
                kept, begins, continues = kept[self._hop :], begins + self._hop, True

    def close(self) -> None:
        """Release the device; safe to call twice, and from another thread."""
        global _open_streams
        with _one_at_a_time:
            first = not self._closed.is_set()
            self._closed.set()
            _open_streams -= first
        if first:
            try:
                self._stream.close()
            except self._module.PortAudioError:
                pass  # it is gone already

    def _called(self, data: NDArray[np.int16], count: int, times: Any, status: Any) -> None:
        """In PortAudio's thread."""
        latency_s = float(times.currentTime - times.inputBufferAdcTime) - count / self._rate_of_stream()
        ended_at = time.time() - (latency_s if 0 <= latency_s <= _LONGEST_LATENCY_S else 0.0)
        try:
            self._blocks.put_nowait(_Block(data[:, 0].copy(), ended_at, bool(status.input_overflow)))
        except queue.Full:
            self._missed += 1

    def _rate_of_stream(self) -> float:
        return float(self._stream.samplerate)

    def _finished(self) -> None:
        try:
            self._blocks.put_nowait(None)
        except queue.Full:
            self._missed += 1

    def _at_rate(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        if self._resampler is None:
            return samples
        return to_int16(np.asarray(self._resampler.resample_chunk(samples / 32768)))


def sounddevice() -> Any:
    """The module sounddevice.

    Raises:
        InputError: it or PortAudio is not installed.
    """
    try:
        import sounddevice as module
    except ImportError as error:
        from edgeguard.system.extras import how_to_install

        raise InputError(f"a microphone needs sounddevice ({error}): {how_to_install('audio')}") from error
    except OSError as error:
        raise InputError(f"a microphone needs PortAudio ({error}): sudo apt install libportaudio2") from error
    return module


def _rate(module: Any, device: tuple[int, str], wanted: int, resample: bool) -> int:
    """The rate to open a device at."""
    try:
        module.check_input_settings(device=device[0], channels=1, dtype="int16", samplerate=wanted)
        return wanted
    except module.PortAudioError as error:
        own = int(module.query_devices(device[0])["default_samplerate"])
        if "sample rate" not in str(error).lower():
            raise DeviceError(f"microphone {device[1]} cannot be opened: {_reason(error)}") from error
        if not resample:
            raise InputError(
                f"microphone {device[1]} does not record at {wanted} Hz, which the model wants (its own rate is {own} "
                "Hz): --resample converts it"
            ) from error
        return own


def _resampler(rate: int, wanted: int) -> Any:
    if rate == wanted:
        return None
    try:
        import soxr
    except ImportError as error:
        from edgeguard.system.extras import how_to_install

        raise InputError(f"resampling needs soxr: {how_to_install('audio')}") from error
    return soxr.ResampleStream(rate, wanted, 1, dtype="float64")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
