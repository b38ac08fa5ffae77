"""Windows of sound from files: a window for each clip of a folder, or overlapping ones of a single file."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from edgeguard.audio.clips import LARGEST, SUFFIXES, BrokenClipError, read_clip
from edgeguard.audio.codecs import fitted
from edgeguard.audio.frame_guard import FRAME
from edgeguard.audio.path import SoundPath
from edgeguard.audio.spec import AudioInput
from edgeguard.camera.source import Applied, Captured, Lost, SoundWindow, Source
from edgeguard.errors import InputError
from edgeguard.system.foreign import read_bounded


def sound_opener(spec: str, audio: AudioInput, *, hop_s: float, resample: bool) -> Callable[[], Source]:
    """What opens a source of sound, and opens it again after a loss.

    Args:
        spec: a folder of clips, a file, or `microphone:N`.
        audio: what the model hears.
        hop_s: between the beginnings of two windows of a file or a microphone; behind a guard a multiple of its frame.
        resample: convert other sample rates instead of refusing them.

    Raises:
        InputError: it is none of these.
    """
    hop = max(round(hop_s * audio.rate_hz), 1)
    if audio.sound_codec.guard is not None:
        hop = max(round(hop / FRAME), 1) * FRAME
    if spec.startswith("microphone:"):
        number = spec.removeprefix("microphone:")
        if not number.isdecimal():
            raise InputError(f"{spec} is not known: microphone:N, N counts from 0")
        from edgeguard.audio.microphone import MicrophoneOpener

        return MicrophoneOpener(int(number), audio, hop, resample)
    path = Path(spec)
    if not path.exists():
        raise InputError(f"{spec} is not there; a model of sound hears a folder of clips, a file, or --microphone N")
    if path.is_dir():
        return lambda: ClipFolder(path, audio, resample)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is no file of sound by its suffix ({', '.join(sorted(SUFFIXES))})")
    return lambda: SoundFile(path, audio, hop, resample)


class ClipFolder:
    """All clips of a folder in byte order of their names, each in one window; other files are ignored by suffix."""

    live = False
    applied = Applied()

    def __init__(self, folder: Path, audio: AudioInput, resample: bool) -> None:
        found = [entry for entry in folder.iterdir() if entry.suffix.lower() in SUFFIXES and entry.is_file()]
        if not found:
            raise InputError(f"{folder} holds no clips ({', '.join(sorted(SUFFIXES))})")
        self.name = str(folder)
        self._paths = sorted(found, key=lambda entry: os.fsencode(entry.name))
        self._path, self._resample = SoundPath(audio), resample

    def __len__(self) -> int:
        return len(self._paths)

    def frames(self) -> Iterator[Captured | Lost]:
        """A window for each clip; one that cannot be read is `Lost`."""
        rate = self._path.spec.rate_hz
        for index, path in enumerate(self._paths):
            try:
                clip = read_clip(read_bounded(path, LARGEST, "the clip"), rate, resample=self._resample)
                taken_at = path.stat().st_mtime
            except BrokenClipError as error:
                yield Lost(index, path.name, str(error))
                continue
            except OSError as error:
                yield Lost(index, path.name, error.strerror or str(error))
                continue
            samples, fit = self._path.placed(clip.samples)
            yield Captured(index, path.name, None, None, taken_at, "source", sound=SoundWindow(samples, 0.0, fit))

    def close(self) -> None:
        """Nothing stays open."""


class SoundFile:
    """One file: a window if it is no longer than that, else overlapping ones from its beginning to its end.

    Raises:
        InputError: it cannot be read as sound.
    """

    live = False

    def __init__(self, path: Path, audio: AudioInput, hop: int, resample: bool) -> None:
        self.name = path.name
        try:
            clip = read_clip(read_bounded(path, LARGEST, "the file"), audio.rate_hz, resample=resample)
        except BrokenClipError as error:
            raise InputError(f"{path}: {error}") from error
        self._samples, self._audio, self._hop = clip.samples, audio, hop
        self._taken_at = path.stat().st_mtime
        self.applied = Applied(format="; ".join(clip.notes) or None)

    def __len__(self) -> int:
        return 1 + -(-max(len(self._samples) - self._audio.taken, 0) // self._hop)

    def frames(self) -> Iterator[Captured]:
        """Windows in order; the last one is filled with silence."""
        length, rate = self._audio.taken, self._audio.rate_hz
        if len(self._samples) <= length:
            samples, fit = SoundPath(self._audio).placed(self._samples)
            yield self._captured(0, SoundWindow(samples, 0.0, fit))
            return
        for index in range(len(self)):
            start = index * self._hop
            piece = self._samples[start : start + length]
            window = SoundWindow(
                fitted(piece, length), start / rate, "padded" if len(piece) < length else "", continues=index > 0
            )
            yield self._captured(index, window)

    def close(self) -> None:
        """Nothing stays open."""

    def _captured(self, index: int, window: SoundWindow) -> Captured:
        ends_at = self._taken_at + window.start_s + self._audio.samples / self._audio.rate_hz
        return Captured(index, self.name, None, None, ends_at, "source", sound=window)
