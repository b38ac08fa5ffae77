"""What a source gives: a captured frame, or the news that one was lost, or that nothing has changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.dct.room import without_room
from edgeguard.errors import DeviceError
from edgeguard.jpeg.seal import Refusal, read_seal
from edgeguard.png.frame import read_png, read_png_info


@dataclass(frozen=True, eq=False)
class SoundWindow:
    """What a microphone or a file gives for a frame: a window of samples.

    Attributes:
        samples: int16 (n,), one channel.
        start_s: where it begins, in seconds since the source began.
        fit: `padded` or `cut`, where a clip had another length than the window.
        continues: the window follows the one before in the same sound.
    """

    samples: NDArray[np.int16]
    start_s: float = 0.0
    fit: Literal["", "padded", "cut"] = ""
    continues: bool = False


@dataclass(frozen=True, eq=False)
class Captured:
    """A frame as the camera gave it: its own JPEG bytes, raw RGB pixels, or the PNG of an `edgeguard sensor`; or sound.

    Attributes:
        index: its number in the source, from 0; lost and dropped frames count.
        source: file name, or URL without credentials.
        captured_at: Unix seconds.
        time_source: `source` when the source gave the time (a file's own), `received` when we took it on arrival.
        png: a sensor's frame after pass 1, sealed, in the writing of `png.frame`.
        sound: a window of samples, where the source is no camera.
    """

    index: int
    source: str
    jpeg: bytes | None
    rgb: NDArray[np.uint8] | None
    captured_at: float
    time_source: Literal["source", "received"]
    png: bytes | None = None
    sound: SoundWindow | None = None

    @property
    def contents(self) -> bytes | NDArray[np.uint8]:
        """Whichever it is."""
        found = next((one for one in (self.jpeg, self.png, self.rgb) if one is not None), None)
        assert found is not None
        return found

    def decode(self) -> NDArray[np.uint8]:
        """Its pixels, RGB, with the camera's levels: a sensor's are without the room of its pass 1.

        Raises:
            JpegError: its bytes do not decode, or something of them is missing.
        """
        if self.rgb is not None:
            return self.rgb
        if self.png is None:
            return decode_whole(self.jpeg or b"")
        info = read_png_info(self.png)
        seal = read_seal(info)
        return without_room(read_png(info), 0 if seal is None else seal.room)


@dataclass(frozen=True)
class Lost:
    """A frame that arrived damaged or was refused; it is counted and never inferred on.

    Attributes:
        refusal: why its seal was refused; None for a frame that is merely damaged.
    """

    index: int
    source: str
    reason: str
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Unchanged:
    """The camera answers, and shows the picture that it showed before: it is alive, and there is nothing new."""

    source: str


class FormatError(DeviceError):
    """A source that answers and gives nothing that could be a picture: trying again does not help."""


@dataclass(frozen=True)
class Applied:
    """What a source set up, as the camera granted it; None where it does not say.

    Attributes:
        width, height: pixels.
        format: as the source names it, e.g. `MJPG`.
        fps: frames a second. An HTTP stream's is not known: it states none.
        exposure_s: seconds, where it is fixed.
    """

    width: int | None = None
    height: int | None = None
    format: str | None = None
    fps: float | None = None
    exposure_s: float | None = None

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}" if self.width and self.height else None
        rate = f"{self.fps:g} frames/s" if self.fps else None
        exposure = f"exposure {1e3 * self.exposure_s:g} ms" if self.exposure_s else None
        return ", ".join(part for part in (self.format, size, rate, exposure) if part)


class Source(Protocol):
    """A stream of frames.

    Attributes:
        name: for people, without credentials.
        applied: what was set up.
        live: True when frames that nobody takes in time are stale: the reader then keeps only the latest.
    """

    @property
    def name(self) -> str:
        """For people, without credentials."""
        ...

    @property
    def live(self) -> bool:
        """Whether frames that nobody takes in time are stale."""
        ...

    @property
    def applied(self) -> Applied:
        """What was set up, as the camera granted it."""
        ...

    def frames(self) -> "Iterator[Captured | Lost | Unchanged]":
        """Frames until the source ends.

        Raises:
            DeviceError: the source is lost.
        """
        ...

    def close(self) -> None:
        """Release the device or connection; safe to call twice, and from another thread than `frames`."""
        ...
