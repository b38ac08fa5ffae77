"""An annotated video of a run."""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edgeguard.errors import DeviceError
from edgeguard.pipeline.result import FrameResult
from edgeguard.sinks.overlay import draw_overlay
from edgeguard.system.files import check_writable, replaced
from edgeguard.system.leftovers import clear_partials
from edgeguard.system.names import utf8_path
from edgeguard.system.redirect import muted

#: FFmpeg's name for an MP4 in fragments, each with an index of its own. OpenCV hands no options to the muxer, but
#: chooses it by the file's name; with `.mp4` the only index comes at the end, and a killed run leaves nothing to play.
_IN_FRAGMENTS = ".ismv"
_log = logging.getLogger(__name__)


class AnnotatedVideo:
    """Write each result's frame with its overlay to an .mp4; the file appears when the run ends, also after a loss.

    Until then it is `.NAME-xxxxxxxx.ismv` beside it, which can be played up to where a run was killed. The next run
    with the same name removes what a killed one left.

    Raises:
        DeviceError: the file cannot be written.
    """

    def __init__(self, path: Path, fps: float = 15.0) -> None:
        self._path, self._fps = path, fps
        self._writer: Any = None
        self._size = (0, 0)
        self._frames = 0
        self._partial = path
        self._pending = ExitStack()
        check_writable(path)
        for name in clear_partials(path, _IN_FRAGMENTS, path.suffix):
            _log.warning("%s: the unfinished video of a run that was killed is removed", name)

    def __enter__(self) -> "AnnotatedVideo":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if self._readable():
            self._pending.close()
            return
        problem = DeviceError(f"cannot write {self._path}: is the disk full?")
        self._pending.__exit__(DeviceError, problem, None)
        if kind is None:
            raise problem

    def write(self, result: FrameResult) -> None:
        """Add one frame; all frames take the size of the first."""
        import cv2

        picture = draw_overlay(result)
        if self._writer is None:
            self._open(picture.shape[1], picture.shape[0])
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA).astype(picture.dtype)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def _open(self, width: int, height: int) -> None:
        import cv2

        self._size = width, height
        self._partial = self._pending.enter_context(replaced(self._path, suffix=_IN_FRAGMENTS))
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(utf8_path(self._partial), cv2.CAP_FFMPEG, fourcc, self._fps, self._size)
        if not self._writer.isOpened():  # it would take frames and keep none
            self._writer = None
            problem = DeviceError(f"cannot write {self._path}: is the folder there, and the disk not full?")
            self._pending.__exit__(DeviceError, problem, None)
            raise problem

    def _readable(self) -> bool:
        import cv2

        with muted():  # FFmpeg says aloud what is wrong with the file
            reader = cv2.VideoCapture(str(self._partial), cv2.CAP_FFMPEG)
        count = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) if reader.isOpened() else 0
        reader.release()
        return count == self._frames
