"""The pictures of many files, to be gone through again and again: not all of them fit into memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError, JpegError
from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded

_KEPT_BYTES = 1 << 30


class DecodedFiles:
    """Decodes one file after another; the first gigabyte of pictures stays for the next time.

    Args:
        paths: of the files. Iterating raises `InputError` at the first that cannot be read.

    Example:
        >>> pictures = DecodedFiles([Path("a.jpg"), Path("b.png")])
        >>> [picture.shape for picture in pictures]  # doctest: +SKIP
        [(1080, 1920, 3), (480, 640, 3)]
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._kept: dict[Path, NDArray[np.uint8]] = {}
        self._free = _KEPT_BYTES

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for path in self._paths:
            yield self._picture(path)

    def _picture(self, path: Path) -> NDArray[np.uint8]:
        if path in self._kept:
            return self._kept[path]
        try:
            rgb = decode_whole(read_bounded(path, LARGEST_PICTURE, "the image"))
        except JpegError as error:
            raise InputError(f"{path}: {error}") from error
        if rgb.nbytes <= self._free:
            self._free -= rgb.nbytes
            self._kept[path] = rgb
        return rgb
