"""Results as JSON lines: to a file or to standard output, each line flushed."""

import contextlib
import errno
import io
import os
import sys
from pathlib import Path

from edgeguard.errors import DeviceError
from edgeguard.result import FrameResult


class JsonLines:
    """Append one line for each result. A full disk ends the run with the lines before it whole.

    Args:
        target: a path, or `-` for standard output.

    Raises:
        DeviceError: the file cannot be opened.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._stream: io.FileIO | None = None
        if target != "-":
            try:
                self._stream = io.FileIO(target, "ab")
            except OSError as error:
                raise DeviceError(f"cannot write {target}: {error.strerror}") from error

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
        line = (result.to_json() + "\n").encode()
        if self._stream is None:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            return
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
