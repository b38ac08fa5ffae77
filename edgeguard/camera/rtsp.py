"""RTSP through OpenCV's FFmpeg, with its doors shut: one demuxer, one protocol family, and timeouts."""

import time
from collections.abc import Iterator

import numpy as np

from edgeguard.camera.files import from_jpeg
from edgeguard.camera.opencv_capture import MOST_PIXELS, OpenCvCapture, ffmpeg_options
from edgeguard.camera.source import Applied, Captured, Lost
from edgeguard.camera.urls import split_url, without_credentials
from edgeguard.errors import DeviceError

#: FFmpeg follows playlists and redirects to other protocols unless it is told which it may open.
_SHUT = "input_format;rtsp|protocol_whitelist;{protocols}|rtsp_transport;tcp|allowed_media_types;video"


class Rtsp:
    """Frames of an rtsp:// or rtsps:// stream, over TCP.

    Motion JPEG streams keep the camera's bytes as FFmpeg puts them together from RTP (RFC 2435 leaves the headers out,
    so the tables are the sender's and the bytes are not); others are decoded.

    Args:
        url: with or without user:password@, which is sent and never shown.
        timeout_s: for opening, and for each read.

    Raises:
        InputError: not an RTSP URL.
        DeviceError: it refuses, does not answer in time, or holds no video.
    """

    live = True

    def __init__(self, url: str, *, timeout_s: float = 3.0) -> None:
        import cv2

        parts = split_url(url, ("rtsp", "rtsps"))
        self.name = without_credentials(parts)
        protocols = "tls,tcp,rtp,srtp" if parts.scheme == "rtsps" else "tcp,rtp"
        settings = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1e3 * timeout_s), cv2.CAP_PROP_READ_TIMEOUT_MSEC]
        settings += [int(1e3 * timeout_s), cv2.CAP_PROP_N_THREADS, 1]
        with ffmpeg_options(_SHUT.format(protocols=protocols)):
            self._capture = OpenCvCapture(url, cv2.CAP_FFMPEG, settings)
        if not self._capture.opened:
            raise DeviceError(f"{self.name} cannot be opened: no answer, a refusal, or no video in it")
        width, height = (int(self._capture.get(k)) for k in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MOST_PIXELS:
            self.close()
            raise DeviceError(f"{self.name} announces {width}x{height} pixels, more than {MOST_PIXELS}")
        codec, rate = self._capture.fourcc, self._capture.get(cv2.CAP_PROP_FPS)
        self._motion_jpeg = codec == "MJPG" and self._capture.set(cv2.CAP_PROP_FORMAT, -1)
        self.applied = Applied(width or None, height or None, codec or None, rate if 0 < rate < 1000 else None)

    def frames(self) -> Iterator[Captured | Lost]:
        """Frames until the stream is lost; RTSP has no word for a clean end."""
        index = 0
        while True:
            frame = self._capture.read()
            if frame is None:
                raise DeviceError(f"{self.name} was lost after {index} frames")
            if frame.size > 3 * MOST_PIXELS:
                raise DeviceError(f"{self.name} turned to {frame.shape[1]}x{frame.shape[0]} pixels: too many")
            if self._motion_jpeg:
                yield from_jpeg(index, self.name, frame.tobytes())
            else:
                yield Captured(index, self.name, None, np.ascontiguousarray(frame[:, :, ::-1]), time.time(), "received")
            index += 1

    def close(self) -> None:
        """Release the stream."""
        self._capture.close()
