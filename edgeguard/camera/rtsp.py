"""RTSP through OpenCV's FFmpeg, with its doors shut: one demuxer, one protocol family, and timeouts."""

import time
from collections.abc import Iterator
from urllib.parse import SplitResult

import numpy as np

from edgeguard.camera.files import from_jpeg
from edgeguard.camera.opencv_capture import MOST_PIXELS, OpenCvCapture, ffmpeg_options
from edgeguard.camera.rtsp_describe import describe
from edgeguard.camera.source import Applied, Captured, Lost
from edgeguard.camera.urls import split_url, without_credentials
from edgeguard.errors import DeviceError

#: FFmpeg follows playlists and redirects to other protocols unless it is told which it may open.
_SHUT = "input_format;rtsp|protocol_whitelist;{protocols}|rtsp_transport;{transport}|allowed_media_types;video"
_TRANSPORTS = ("transport=udp", "transport=tcp")
_BETWEEN_TRIES_S = 0.3


class Rtsp:
    """Frames of an rtsp:// or rtsps:// stream, over TCP, or over UDP with `?transport=udp`.

    The server is asked what it has first (`rtsp_describe.py`), since FFmpeg tells no failure from another.

    Motion JPEG streams keep the camera's bytes as FFmpeg puts them together from RTP (RFC 2435 leaves the headers out,
    so the tables are the sender's and the bytes are not); others are decoded.

    Args:
        url: with or without user:password@, which is sent and never shown. `transport=udp` or `transport=tcp` in its
            query is for us.
        timeout_s: for opening, and for each read.

    Raises:
        InputError: not an RTSP URL.
        DeviceError: it refuses, does not answer in time, does not know the user or the path, or has no video.
    """

    live = True

    def __init__(self, url: str, *, timeout_s: float = 3.0) -> None:
        import cv2

        parts, transport = _without_transport(split_url(url, ("rtsp", "rtsps")))
        self.name = without_credentials(parts)
        probe = describe(parts, self.name, timeout_s)
        protocols = "tls,tcp,rtp,srtp" if parts.scheme == "rtsps" else "tcp,rtp"
        if transport == "udp":
            protocols += ",udp"
        settings = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1e3 * timeout_s), cv2.CAP_PROP_READ_TIMEOUT_MSEC]
        settings += [int(1e3 * timeout_s), cv2.CAP_PROP_N_THREADS, 1]
        options = _SHUT.format(protocols=protocols, transport=transport)
        with probe:
            self._capture = _open(parts.geturl(), settings, options)
        if not self._capture.opened:  # some cameras serve one connection at a time
            time.sleep(_BETWEEN_TRIES_S)
            self._capture = _open(parts.geturl(), settings, options)
        if not self._capture.opened:
            other = "tcp" if transport == "udp" else "udp"
            raise DeviceError(
                f"{self.name} has video and does not deliver it over {transport.upper()}: try ?transport={other}; or "
                "FFmpeg knows neither its codec nor its login (of Digest it knows MD5 only)"
            )
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


def _open(url: str, settings: list[int], options: str) -> OpenCvCapture:
    import cv2

    with ffmpeg_options(options):
        return OpenCvCapture(url, cv2.CAP_FFMPEG, settings)


def _without_transport(parts: SplitResult) -> tuple[SplitResult, str]:
    """The URL as the camera knows it, and `tcp` or `udp`."""
    words = [word for word in parts.query.split("&") if word]
    transport = next((word[10:] for word in words if word in _TRANSPORTS), "tcp")
    return parts._replace(query="&".join(word for word in words if word not in _TRANSPORTS)), transport
