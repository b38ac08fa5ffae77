"""Class folders, or a .zip of them: which images there are, of which class, and their bytes."""

import logging
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError, JpegError
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.jpeg.header import read_jpeg_info
from edgeguard.jpeg.tables import ANNEX_K_LUMA, Table, ijg_qualities
from edgeguard.model.contract import InputSpec, Preprocess
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.system.names import is_plain_name
from edgeguard.train.config import DataConfig

_log = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_TEST_PARTS = ("test", "val", "valid", "validation")
_MAX_BYTES = 64 << 20  # of one image file
_FREE_BYTES = 64 << 20  # that an archive may grow to, however small it is
_MOST_GROWTH = 20  # times its size: pictures are packed already
_PREPROCESS = Preprocess(crop="center", crop_fraction=1.0)


@dataclass(frozen=True, eq=False)
class Part:
    """The training or the test images.

    Attributes:
        images: uint8 (n, size, size, 3) pixels, or the files' bytes.
        targets: class index of each.
        file_bytes: how many bytes the files have together.
        qualities: IJG qualities of the JPEG files among them and how many have each (None: no IJG table).
    """

    images: NDArray[np.uint8] | tuple[bytes, ...]
    targets: NDArray[np.int64]
    file_bytes: int
    qualities: dict[int | None, int] = field(default_factory=dict)

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
    """

    labels: tuple[str, ...]
    train: Part
    test: Part
    broken: tuple[str, ...]


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
    files = list(_from_zip(path) if path.suffix.lower() == ".zip" else _from_folder(path))
    labels = tuple(sorted({file.label for file in files}, key=str.encode))
    if len(labels) < 2:
        raise InputError(f"{path} holds no classes: wanted a folder (or .zip) with a folder of images for each class")
    train, test = _split(files, config.holdout, seed)
    missing = sorted(set(labels) - {file.label for file in train} | set(labels) - {file.label for file in test})
    if missing:
        raise InputError(f"{path}: the class {missing[0]} has no images for training or for testing")
    broken: list[str] = []
    parts = [_read(_limited(chosen, config.limit), labels, size, config.keep, broken) for chosen in (train, test)]
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
    return Dataset(labels, parts[0], parts[1], tuple(broken))


def decoded(data: bytes, size: int) -> NDArray[np.uint8]:
    """A file's pixels, centre square, (size, size, 3).

    Raises:
        JpegError: the bytes do not decode.
    """
    rgb = decode_rgb(data)
    if rgb.shape[:2] == (size, size):
        return rgb
    return crop_and_resize(rgb, InputSpec(size, size), _PREPROCESS)


@lru_cache(maxsize=256)
def _quality(luma: Table) -> int | None:
    return max(ijg_qualities(luma, ANNEX_K_LUMA), default=None)


def _from_folder(folder: Path) -> Iterator[_File]:
    if not folder.is_dir():
        raise InputError(f"{folder} is neither a folder nor a .zip")
    for path in sorted(folder.rglob("*"), key=lambda p: str(p.relative_to(folder)).encode()):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            found = _placed(PurePosixPath(path.relative_to(folder).as_posix()), path.read_bytes)
            if found is not None:
                yield found


def _from_zip(path: Path) -> Iterator[_File]:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as a .zip: {error}") from error
    size, total, seen = path.stat().st_size, 0, set[str]()
    entries = [e for e in archive.infolist() if PurePosixPath(e.filename).suffix.lower() in SUFFIXES and not e.is_dir()]
    for entry in sorted(entries, key=lambda e: e.filename.encode()):
        if not is_plain_name(entry.filename) or entry.filename in seen:
            raise InputError(f"{path}: {entry.filename[:100]!r} leads elsewhere, or stands there twice; refused")
        if entry.external_attr >> 16 & 0o170000 not in (0, 0o100000):
            raise InputError(f"{path}: {entry.filename} is a link or a device; refused")
        if entry.file_size > _MAX_BYTES:
            raise InputError(f"{path}: {entry.filename} has {entry.file_size} bytes, more than {_MAX_BYTES}")
        seen.add(entry.filename)
        total += entry.file_size
        if total > max(_FREE_BYTES, size * _MOST_GROWTH):
            raise InputError(f"{path} would unpack to more than {total} bytes from {size}; refused")
        found = _placed(PurePosixPath(entry.filename), partial(archive.read, entry))
        if found is not None:
            yield found


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


def _read(files: list[_File], labels: tuple[str, ...], size: int, keep: str, broken: list[str]) -> Part:
    place = {label: index for index, label in enumerate(labels)}
    images: list[NDArray[np.uint8]] = []
    data: list[bytes] = []
    targets: list[int] = []
    total, qualities = 0, dict[int | None, int]()
    for file in files:
        try:
            content = file.read()
            pixels = decoded(content, size)
        except (JpegError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:  # RuntimeError: encrypted
            broken.append(f"{file.name} ({error})")
            continue
        if content[:2] == b"\xff\xd8":
            quality = _quality(read_jpeg_info(content).tables[0])
            qualities[quality] = qualities.get(quality, 0) + 1
        if keep == "jpeg":
            data.append(content)
        else:
            images.append(pixels)
        targets.append(place[file.label])
        total += len(content)
    kept = tuple(data) if keep == "jpeg" else np.stack(images) if images else np.zeros((0, size, size, 3), "u1")
    return Part(kept, np.array(targets, np.int64), total, qualities)
