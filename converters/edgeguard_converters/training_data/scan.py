"""Facts of every image of a folder or a .zip, on all cores."""

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgeguard.datasets.entries import Entry, entries
from edgeguard.errors import DeviceError, InputError
from edgeguard.system.workers import single_thread_opencv, worker_pool
from edgeguard_converters.training_data.image_facts import ImageFacts, image_facts
from edgeguard_converters.training_data.merkle import content_of

#: What a training reads.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_CHUNK = 250
_ALONE = 2000  # so many images are done before other processes would have started
_TEST_PARTS = frozenset({"test", "testing", "val", "valid", "validation"})
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ScannedImage:
    """An image of a data set.

    Attributes:
        name: below the data's folder, with forward slashes.
        label: the folder that it is in; None at the top.
        facts: what is kept of it.
    """

    name: str
    label: str | None
    facts: ImageFacts

    @property
    def is_test(self) -> bool:
        """Whether it stands below a folder for testing."""
        return is_test(self.name)

    @property
    def digest(self) -> bytes:
        """The SHA-256 of its bytes; zeros where they cannot be read."""
        return bytes(32) if self.facts.sha256 is None else bytes.fromhex(self.facts.sha256)


def label_of(name: str) -> str | None:
    """The folder that a file is in, which is its class.

    Example:
        >>> label_of("train/cat/0.png"), label_of("0.png")
        ('cat', None)
    """
    parts = PurePosixPath(name).parts
    return parts[-2] if len(parts) > 1 else None


def is_test(name: str) -> bool:
    """Whether a name stands below a folder for testing (test, val, validation) above its class."""
    parts = PurePosixPath(name).parts
    return len(parts) > 2 and parts[-3].lower() in _TEST_PARTS


def scan(
    path: Path,
    *,
    exclude: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> list[ScannedImage]:
    """Read every image once.

    Args:
        path: a folder of class folders, or a .zip of one. It may be a stranger's.
        exclude: names that are left out.
        workers: processes; None: one for each core where the images are many, else this one.
        progress: called with what, images done, images in all.

    Returns:
        In byte order of their names.

    Raises:
        InputError: no images; links, names that lead elsewhere or are equal but for case, bombs; a name to leave out
            that is not there.
        DeviceError: a process was killed.
    """
    there = {entry.name: entry for entry in entries(path, SUFFIXES, strict=True)}
    missing = [name for name in exclude if name not in there]
    if missing:
        raise InputError(f"{missing[0]!r} of the list to leave out is not among the images of {path}")
    names = sorted(there.keys() - set(exclude), key=str.encode)
    if not names:
        raise InputError(f"{path} holds no images ({', '.join(sorted(SUFFIXES))})")
    found: list[ScannedImage] = []
    for part in _parts(path, there, names, 1 if workers is None and len(names) < _ALONE else workers):
        found += part
        progress("images", len(found), len(names))
    return found


def _parts(path: Path, there: dict[str, Entry], names: list[str], workers: int | None) -> Iterator[list[ScannedImage]]:
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    if workers == 1:
        yield from (_facts(there, chunk) for chunk in chunks)
        return
    with worker_pool(workers, single_thread_opencv) as pool:
        try:
            yield from pool.map(functools.partial(_scanned, path), chunks)
        except BrokenProcessPool as error:
            raise DeviceError("a process that read images was killed (out of memory?): run it again") from error
        except BaseException:
            pool.end_now()
            raise


def _scanned(path: Path, names: list[str]) -> list[ScannedImage]:
    """In a process of a pool, which opens the data once."""
    return _facts(_opened(path), names)


def _facts(there: dict[str, Entry], names: list[str]) -> list[ScannedImage]:
    return [ScannedImage(name, label_of(name), image_facts(content_of(there[name]))) for name in names]


@functools.lru_cache(maxsize=1)
def _opened(path: Path) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries(path, SUFFIXES, strict=True)}
