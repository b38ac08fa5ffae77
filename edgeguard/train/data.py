"""Class folders, or a .zip of them: which images there are, of which class, and their bytes."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.entries import Entry, UnreadableMember, entries
from edgeguard.datasets.exclusions import read_exclusions
from edgeguard.datasets.poison_note import poison_line, poison_note
from edgeguard.datasets.readable import every_ten_seconds
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError, JpegError
from edgeguard.jpeg.header import read_jpeg_info
from edgeguard.jpeg.tables import ANNEX_K_LUMA, Table, ijg_qualities
from edgeguard.model.contract import InputSpec, Preprocess
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.train.config import DataConfig

_log = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_TEST_PARTS = ("test", "val", "valid", "validation")
_PREPROCESS = Preprocess(crop="center", crop_fraction=1.0)


@dataclass(frozen=True, eq=False)
class Part:
    """The training or the test images.

    Attributes:
        images: uint8 (n, size, size, 3) pixels, or the files' bytes.
        targets: class index of each.
        file_bytes: how many bytes the files have together.
        qualities: IJG qualities of the JPEG files among them and how many have each (None: no IJG table).
        names: of the files, below the data's folder.
    """

    images: NDArray[np.uint8] | tuple[bytes, ...]
    targets: NDArray[np.int64]
    file_bytes: int
    qualities: dict[int | None, int] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def coding(self) -> str:
        """Which JPEG quality most of the images come with, in words: to be said beside every figure."""
        coded = sum(self.qualities.values())
        if not coded:
            return "not JPEG-coded"
        quality, count = max(self.qualities.items(), key=lambda item: item[1])
        share = "" if count == len(self) else f" ({count} of {len(self)})"
        return "already JPEG-coded" + (f" at quality {quality}{share}" if quality is not None else " with other tables")

    def pixels(self, rows: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """Decoded pixels of some images, (n, size, size, 3)."""
        if isinstance(self.images, np.ndarray):
            return self.images[rows]
        return np.stack([decoded(self.images[row], size) for row in rows])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Two parts of the same classes.

    Attributes:
        labels: class names in byte order; a target is a place in them.
        broken: names of images that were left out, and why.
        digests: SHA-256 of the bytes of each file that was read, by name.
        poison: what the data's own `poison.json` says of them, in a line; None where there is none.
    """

    labels: tuple[str, ...]
    train: Part
    test: Part
    broken: tuple[str, ...]
    digests: dict[str, bytes] = field(default_factory=dict)
    poison: str | None = None


@dataclass
class _Both:
    """What is found while both parts are read."""

    path: Path
    broken: list[str] = field(default_factory=list)
    digests: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class _File:
    name: str
    label: str
    part: str  # "train", "test", or empty where the data has no parts
    read: Callable[[], bytes]


def read_dataset(config: DataConfig, *, size: int, seed: int) -> Dataset:
    """Read `config.data`.

    Args:
        config: the data's place, and how much of it is wanted.
        size: side of the pictures, pixels.
        seed: which images are kept for testing where the data has no test part.

    Raises:
        InputError: no class folders, a class without images, one class only, or too many broken images.
    """
    path = Path(config.data)
    files = _files(path, config)
    labels = tuple(sorted({file.label for file in files}, key=str.encode))
    if len(labels) < 2:
        raise InputError(f"{path} holds no classes: wanted a folder (or .zip) with a folder of images for each class")
    train, test = _split(files, config.holdout, seed)
    missing = sorted(set(labels) - {file.label for file in train} | set(labels) - {file.label for file in test})
    if missing:
        count = sum(file.label == missing[0] for file in files)
        apart = {"train", "test"} <= {file.part for file in files}
        why = "train/ and test/ both need some" if apart else "two or more are needed, one of them for testing"
        raise InputError(f"{path}: the class {missing[0]} has too few images ({count}): {why}")
    both = _Both(path)
    parts = [_read(both, _limited(chosen, config.limit), labels, size, config.keep) for chosen in (train, test)]
    broken, digests = both.broken, both.digests
    total = len(parts[0]) + len(parts[1]) + len(broken)
    if len(broken) > config.bad_images_at_most * total:
        raise InputError(
            f"{path}: {len(broken)} of {total} images are broken (the first: {broken[0]}), "
            f"more than bad_images_at_most = {config.bad_images_at_most:g}"
        )
    if broken:
        _log.warning("%d of %d images are broken and left out; the first: %s", len(broken), total, broken[0])
    counts = np.bincount(parts[0].targets, minlength=len(labels))
    if counts.min() * 10 < counts.max():
        least, most = labels[int(counts.argmin())], labels[int(counts.argmax())]
        _log.warning("the classes are unbalanced: %d images of %s, %d of %s", counts.min(), least, counts.max(), most)
    poison = [line for place in (config.data, config.overlay) if place and (line := poison_line(Path(place)))]
    return Dataset(labels, parts[0], parts[1], tuple(broken), digests, "; ".join(poison) or None)


def _files(path: Path, config: DataConfig) -> list[_File]:
    """What is in class folders; files of the overlay stand for those of the same name, and listed ones are left out."""
    placed = (
        _placed(PurePosixPath(entry.name), entry.read)
        for entry in training_entries(path, config.overlay, config.exclude)
    )
    return [file for file in placed if file is not None]


def training_entries(path: Path, overlay: str | None = None, exclude: str | None = None) -> list[Entry]:
    """The image files that a training is given, in byte order of their names.

    Args:
        path: class folders, or a .zip of them.
        overlay: a folder whose files stand for those of the same name, whatever the suffix.
        exclude: a list of names, a line each, that are left out.

    Raises:
        InputError: what cannot be read, or a name of overlay or list that the data do not have.
    """
    found = {entry.name: entry for entry in entries(path, SUFFIXES)}
    if overlay is not None:
        _lay_over(found, Path(overlay), path)
    if exclude is not None:
        names = read_exclusions(Path(exclude))
        _require_there(names, found, exclude, path)
        for name in names:
            del found[name]
    return sorted(found.values(), key=lambda entry: entry.name.encode())


def _lay_over(found: dict[str, Entry], overlay: Path, path: Path) -> None:
    """Files of the overlay in the place of those of the same name; what its `poison.json` moves to another class goes
    there."""
    note = poison_note(overlay) or {}
    moved = {str(new): str(old) for new, old in dict(note.get("moved", {})).items()}
    by_stem: dict[str, str] = {}
    twice = {_stem(name) for name in found if by_stem.setdefault(_stem(name), name) != name}
    changed = entries(overlay, SUFFIXES)
    wanted = [_stem(moved.get(entry.name, entry.name)) for entry in changed]
    _require_there(wanted, by_stem, overlay, path)
    if ambiguous := sorted(twice & set(wanted)):
        raise InputError(f"{path} has several images {ambiguous[0]}.*: it is not known which {overlay} stands for")
    for entry, old in zip(changed, wanted, strict=True):
        if entry.name in moved:
            del found[by_stem[old]]
            found[entry.name] = entry
        else:
            found[by_stem[old]] = entry


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _require_there(names: Sequence[str], found: Mapping[str, object], where: object, path: Path) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(
            f"{where}: {missing[0]!r} is not among the images of {path}"
            + (f", nor are {len(missing) - 1} more" if len(missing) > 1 else "")
            + ": names are relative to the data's folder"
        )


def decoded(data: bytes, size: int) -> NDArray[np.uint8]:
    """A file's pixels, centre square, (size, size, 3).

    Raises:
        JpegError: the bytes do not decode.
    """
    rgb = decode_whole(data)
    if rgb.shape[:2] == (size, size):
        return rgb
    return crop_and_resize(rgb, InputSpec(size, size), _PREPROCESS)


@lru_cache(maxsize=256)
def _quality(luma: Table) -> int | None:
    return max(ijg_qualities(luma, ANNEX_K_LUMA), default=None)


def _placed(name: PurePosixPath, read: Callable[[], bytes]) -> _File | None:
    """Its class is the folder that it is in; the part is one above that, if that is called so."""
    if len(name.parts) < 2:
        return None
    above = name.parts[-3].lower() if len(name.parts) > 2 else ""
    part = "train" if above in ("train", "training") else "test" if above in _TEST_PARTS else ""
    return _File(str(name), name.parts[-2], part, read)


def _split(files: Sequence[_File], holdout: float, seed: int) -> tuple[list[_File], list[_File]]:
    train, test = ([f for f in files if f.part == part] for part in ("train", "test"))
    if train and test:
        return train, test
    order = np.random.default_rng(seed).permutation(len(files))
    chosen: dict[str, list[_File]] = {}
    for row in order:
        chosen.setdefault(files[row].label, []).append(files[row])
    train, test = [], []
    for of_class in chosen.values():
        count = max(round(holdout * len(of_class)), 1) if len(of_class) > 1 else 0
        test += of_class[:count]
        train += of_class[count:]
    return train, test


def _limited(files: list[_File], limit: int) -> list[_File]:
    """The first images of each class, so that `limit` are left."""
    if not limit or limit >= len(files):
        return files
    classes: dict[str, list[_File]] = {}
    for file in files:
        classes.setdefault(file.label, []).append(file)
    most = -(-limit // len(classes))
    return [file for of_class in classes.values() for file in of_class[:most]]


def _refuse_more_than_memory(where: object, size_bytes: int) -> None:
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    if size_bytes > most:
        raise InputError(
            f"{where}: its images take more than half of the memory here ({most / 1e9:.1f} GB): take fewer with "
            "--limit, or smaller ones with --size"
        )


def _read(both: _Both, files: list[_File], labels: tuple[str, ...], size: int, keep: str) -> Part:
    place = {label: index for index, label in enumerate(labels)}
    if keep == "pixels":
        _refuse_more_than_memory(both.path, len(files) * size * size * 3)
    images = np.empty((len(files) if keep == "pixels" else 0, size, size, 3), np.uint8)
    data: list[bytes] = []
    held: dict[bytes, bytes] = {}  # by digest: links and copies of a file are kept once
    targets: list[int] = []
    names: list[str] = []
    total, once, qualities = 0, 0, dict[int | None, int]()
    progress = every_ten_seconds(both.path)
    for number, file in enumerate(files, start=1):
        progress(number, len(files))
        try:
            content = file.read()
            both.digests[file.name] = digest = hashlib.sha256(content).digest()
            pixels = decoded(content, size)
        except (JpegError, OSError, UnreadableMember) as error:
            both.broken.append(f"{file.name} ({error})")
            continue
        if content[:2] == b"\xff\xd8":
            quality = _quality(read_jpeg_info(content).tables[0])
            qualities[quality] = qualities.get(quality, 0) + 1
        if keep == "jpeg":
            if digest not in held:
                _refuse_more_than_memory(both.path, once := once + len(content))
            data.append(held.setdefault(digest, content))
        else:
            images[len(names)] = pixels
        targets.append(place[file.label])
        names.append(file.name)
        total += len(content)
    kept = tuple(data) if keep == "jpeg" else images[: len(names)]
    return Part(kept, np.array(targets, np.int64), total, qualities, tuple(names))
