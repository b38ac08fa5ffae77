"""Class folders of clips, or a .zip of them: which clips there are, of which class, and their samples."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio.clips import SUFFIXES, BrokenClipError, OtherRateError, read_clip
from edgeguard.audio_training.config import SoundConfig
from edgeguard.datasets.entries import Entry, UnreadableMember, entries
from edgeguard.errors import InputError

_log = logging.getLogger(__name__)
_FREE_BYTES = 1 << 30  # that the samples of all clips may have, however small their files are
_MOST_GROWTH = 40  # times the size of the files: Opus and MP3 of speech grow by 16, and a file of silence by 8,000
_PARTS = {"train": "train", "training": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of one part.

    Attributes:
        samples: int16 of each.
        targets: class index of each.
        names: of the files, below the data's folder.
    """

    samples: tuple[NDArray[np.int16], ...]
    targets: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def sha256(self) -> str:
        """Of samples and targets."""
        total = hashlib.sha256(self.targets.tobytes())
        for samples in self.samples:
            total.update(hashlib.sha256(samples.tobytes()).digest())
        return total.hexdigest()


@dataclass(frozen=True, eq=False)
class SoundData:
    """Two parts of the same classes.

    Attributes:
        labels: class names in byte order.
        broken: names of clips that were left out, and why.
        digests: SHA-256 of the bytes of each file that was read, by name.
        split: how the parts came about, in words.
    """

    labels: tuple[str, ...]
    train: Clips
    test: Clips
    broken: tuple[str, ...]
    digests: dict[str, bytes]
    split: str

    @property
    def described(self) -> str:
        """Counts, classes and split, for whoever quotes a figure."""
        return f"{len(self.train)} clips of {len(self.labels)} classes to train, {len(self.test)} to test; {self.split}"


@dataclass(frozen=True)
class _File:
    entry: Entry
    label: str
    part: str

    @property
    def speaker(self) -> str:
        return speaker_of(self.entry.name)


def speaker_of(name: str) -> str:
    """Whose clip it is: what stands before the last underscore of the file's name; nothing where there is none.

    Example:
        >>> speaker_of("train/7/jackson_12.wav")
        'jackson'
    """
    return PurePosixPath(name).stem.rpartition("_")[0]


def speakers(path: Path) -> tuple[str, ...]:
    """All speakers of a data set, in byte order.

    Raises:
        InputError: there are fewer than two.
    """
    found = sorted({file.speaker for file in _files(path)} - {""}, key=str.encode)
    if len(found) < 2:
        raise InputError(f"{path}: its files name no speakers; --leave-out wants names like SPEAKER_7.wav")
    return tuple(found)


def read_sound(config: SoundConfig) -> SoundData:
    """Read `config.data`.

    Raises:
        InputError: no class folders, one class only, a class without clips in a part, no such speaker, clips of
            another rate, or too many that are broken.
    """
    path = Path(config.data)
    files = _files(path)
    labels = tuple(sorted({file.label for file in files}, key=str.encode))
    if len(labels) < 2:
        raise InputError(f"{path} holds no classes: wanted a folder (or .zip) with a folder of clips for each class")
    train, test, split = _split(files, config, path)
    for label in labels:
        if not any(f.label == label for f in train) or not any(f.label == label for f in test):
            raise InputError(f"{path}: the class {label} has no clips for training or for testing")
    reading = _Reading(config, labels)
    parts = [reading.read(_limited(chosen, config.limit)) for chosen in (train, test)]
    total = len(parts[0]) + len(parts[1]) + len(reading.broken)
    if len(reading.broken) > config.bad_clips_at_most * total:
        raise InputError(
            f"{path}: {len(reading.broken)} of {total} clips are broken (the first: {reading.broken[0]}), more than "
            f"bad_clips_at_most = {config.bad_clips_at_most:g}"
        )
    if reading.broken:
        _log.warning("%d of %d clips are broken and left out; the first: %s", len(reading.broken), total,
                     reading.broken[0])  # fmt: skip
    for note, count in reading.notes.items():
        _log.info("%d clips: %s", count, note)
    return SoundData(labels, parts[0], parts[1], tuple(reading.broken), reading.digests, split)


class _Reading:
    """Reads parts, and counts what was odd."""

    def __init__(self, config: SoundConfig, labels: tuple[str, ...]) -> None:
        self._config, self._place = config, {label: index for index, label in enumerate(labels)}
        self.broken: list[str] = []
        self.digests: dict[str, bytes] = {}
        self.notes: Counter[str] = Counter()
        self._packed = self._held = 0  # bytes of files, and of their samples

    def read(self, files: Sequence[_File]) -> Clips:
        samples, targets, names = [], [], []
        for file in files:
            name = file.entry.name
            try:
                content = file.entry.read()
                self.digests[name] = hashlib.sha256(content).digest()
                clip = read_clip(content, self._config.rate, resample=self._config.resample)
            except OtherRateError as error:
                raise InputError(f"{name}: {error}; or set --rate") from error
            except (BrokenClipError, UnreadableMember, OSError) as error:
                self.broken.append(f"{name} ({error})")
                continue
            self.notes.update(clip.notes)
            self._packed, self._held = self._packed + len(content), self._held + clip.samples.nbytes
            if self._held > max(_FREE_BYTES, _MOST_GROWTH * self._packed):
                raise InputError(
                    f"{self._config.data}: the clips up to {name} hold {self._held} bytes of sound in {self._packed} "
                    "bytes of files; refused: cut the silence off"
                )
            samples.append(clip.samples)
            targets.append(self._place[file.label])
            names.append(name)
        longer = sum(len(one) > self._config.samples for one in samples)
        if longer:
            self.notes["longer than the window: their middle is used"] += longer
        return Clips(tuple(samples), np.array(targets, np.int64), tuple(names))


def _files(path: Path) -> list[_File]:
    found = []
    for entry in entries(path, SUFFIXES):
        parts = PurePosixPath(entry.name).parts
        if len(parts) > 1:
            found.append(_File(entry, parts[-2], _PARTS.get(parts[-3].lower(), "") if len(parts) > 2 else ""))
    return found


def _split(files: Sequence[_File], config: SoundConfig, path: Path) -> tuple[list[_File], list[_File], str]:
    speaker = config.leave_out
    if speaker is not None:
        test = [file for file in files if file.speaker == speaker]
        if not test:
            raise InputError(f"{path}: no clip is {speaker}'s; its speakers are {', '.join(speakers(path))}")
        return [file for file in files if file.speaker != speaker], test, f"speaker {speaker} left out"
    train, test = ([file for file in files if file.part == part] for part in ("train", "test"))
    if train and test:
        mixed = {file.speaker for file in train} & {file.speaker for file in test} - {""}
        return train, test, "the data's own split" + (", the same speakers in both parts" if mixed else "")
    classes: dict[str, list[_File]] = {}
    for row in np.random.default_rng(config.seed).permutation(len(files)):
        classes.setdefault(files[row].label, []).append(files[row])
    train, test = [], []
    for of_class in classes.values():
        count = max(round(config.holdout * len(of_class)), 1) if len(of_class) > 1 else 0
        test += of_class[:count]
        train += of_class[count:]
    return train, test, f"{config.holdout:.0%} held out at random"


def _limited(files: list[_File], limit: int) -> list[_File]:
    """The first clips of each class, so that about `limit` are left."""
    if not limit or limit >= len(files):
        return files
    classes: dict[str, list[_File]] = {}
    for file in files:
        classes.setdefault(file.label, []).append(file)
    most = -(-limit // len(classes))
    return [file for of_class in classes.values() for file in of_class[:most]]
