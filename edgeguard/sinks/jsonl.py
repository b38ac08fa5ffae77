"""Results as JSON lines: to a file or to standard output, each line flushed."""

import contextlib
import errno
import io
import logging
import os
import stat
import sys
import time
from pathlib import Path

from edgeguard.errors import DeviceError, InputError
from edgeguard.pipeline.result import FrameResult
from edgeguard.system.terminal import printable_json

_FIRST = b'{"schema":'  # of every result
_LONGEST_LINE = 1 << 20
_READER_WITHIN_S = 5.0  # of a pipe
_log = logging.getLogger(__name__)


class JsonLines:
    """Append one line for each result. A full disk ends the run with the lines before it whole.

    Args:
        target: a path, or `-` for standard output.
        rotate_bytes: a file that has grown to so many becomes `TARGET.1`, the older one `.2`, and so on; 0 for never.
        keep: rotated files that stay.

    Raises:
        InputError: the file is there and holds something else than results.
        DeviceError: the file cannot be opened.
    """

    def __init__(self, target: str, rotate_bytes: int = 0, keep: int = 5) -> None:
        self._target, self._rotate_bytes, self._keep = target, rotate_bytes, keep
        self._stream: io.FileIO | None = None
        if target != "-":
            self._open()

    def _open(self) -> None:
        try:
            _refuse_other_contents(Path(self._target))
            _end_torn_line(Path(self._target))
            self._stream = io.FileIO(self._target, "ab", opener=_with_a_reader)
        except OSError as error:
            what = {
                errno.EISDIR: " (results go into one file, such as results.jsonl)",
                errno.ENOENT: f" (make the folder {Path(self._target).parent} first)",
            }.get(error.errno or 0, "")
            raise DeviceError(f"cannot write {self._target}: {error.strerror}{what}") from error

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, result: FrameResult) -> None:
        """Write one result.

        Raises:
            DeviceError: the disk is full or the file went away; no partial line is left.
        """
        text = result.to_json()
        if self._stream is None:
            sys.stdout.buffer.write(f"{printable_json(text)}\n".encode())
            sys.stdout.buffer.flush()
            return
        line = f"{text}\n".encode()
        start = self._stream.seek(0, os.SEEK_END) if self._stream.seekable() else None
        try:
            written = self._stream.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if start is not None:
                with contextlib.suppress(OSError):  # a device cannot be truncated, and holds no partial line either
                    self._stream.truncate(start)
            where = Path(self._target)
            raise DeviceError(
                f"cannot write {where}: {error.strerror}; the results before this one are kept"
            ) from error
        if start is not None and 0 < self._rotate_bytes <= start + len(line):
            self._rotate()

    def _rotate(self) -> None:
        """TARGET becomes TARGET.1, that becomes TARGET.2, and so on; the last one goes."""
        assert self._stream is not None
        self._stream.close()
        names = [Path(self._target), *(Path(f"{self._target}.{n}") for n in range(1, self._keep + 1))]
        try:
            for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
                if newer.exists():
                    newer.replace(older)
        except OSError as error:
            raise DeviceError(f"cannot rotate {self._target}: {error.strerror}") from error
        self._open()


def _with_a_reader(path: str, flags: int) -> int:
    """Opens a file for `FileIO`; a pipe waits for its reader, but not for ever."""
    until = time.monotonic() + _READER_WITHIN_S
    while True:
        try:
            descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(Path(path).stat().st_mode):
                raise
            if time.monotonic() > until:
                raise OSError(errno.ENXIO, "it is a pipe that nobody reads") from error
            time.sleep(0.05)
        else:
            os.set_blocking(descriptor, True)
            return descriptor


def _refuse_other_contents(path: Path) -> None:
    """A model, a photograph or a document of JSON that results are appended to is none afterwards."""
    if not path.is_file():
        return
    with open(path, "rb") as stream:
        head = stream.read(len(_FIRST))
    if head != _FIRST[: len(head)]:
        raise InputError(f"{path} holds no results (JSON lines) and stays as it is: name another file for them")


def _end_torn_line(path: Path) -> None:
    """A run that was killed may have left half of its last line: nothing half-written is taken for a result."""
    if not path.is_file():
        return
    with open(path, "rb+") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - _LONGEST_LINE, 0))
        tail = stream.read().rpartition(b"\n")[2]
        if tail.startswith(_FIRST):
            stream.truncate(size - len(tail))
            _log.warning("%s: half a line of a run that was killed is removed", path)
        elif tail:
            stream.write(b"\n")
