"""Frames after pass 1 on a link: bytes and CPU time of each way to send them, on both sides.

    python benchmarks/link.py PHOTOS [--guard fd] [--size 1280x720] [--count N]

One core, CPU time, shortest of five, means over the photographs, resized to one size. "ours" is what `edgeguard
sensor` sends and `edgeguard run` reads; "sealed" is the whole sensor from the raw frame to sealed bytes (pass 1,
coding, MAC), and the whole receiver from bytes to the frame before pass 2 (MAC, checks, decoding). Lossless formats
are checked level for level. JPEG in RGB colour with the profile's tables gives these levels only to a decoder that has
the kernel's own inverse, and its smallest change is a step: it stands here for its size.
"""

import argparse
import io
import statistics
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeguard.dct.profile import GuardProfile, resolve_profile
from edgeguard.guard import decode_rgb
from edgeguard.jpeg.seal import Seal, seal_png, verify_seal
from edgeguard.png.frame import read_png, read_png_info, write_png
from edgeguard.preprocess.crop_resize import sanitize

Frame = NDArray[np.uint8]
KEY, SEAL = b"k" * 32, Seal(1, 0.0, "ab" * 16, "00")


@dataclass(frozen=True)
class Way:
    """A format: how a frame is written and read."""

    name: str
    write: Callable[[Frame], bytes]
    read: Callable[[bytes], Frame]
    lossless: bool = True


def opencv(suffix: str, *options: int) -> Callable[[Frame], bytes]:
    """OpenCV's encoder; its swap of the colours is part of it."""
    return lambda rgb: cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), list(options))[1].tobytes()


def pillow(**options: Any) -> Callable[[Frame], bytes]:
    """Pillow's encoder."""

    def write(rgb: Frame) -> bytes:
        out = io.BytesIO()
        Image.fromarray(rgb).save(out, **options)
        return out.getvalue()

    return write


def opencv_read(data: bytes) -> Frame:
    """OpenCV's decoder."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def deflated(kind: str, level: int, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> Callable[[Frame], bytes]:
    """zlib on rows that are filtered all alike; what a PNG of them holds."""

    def write(rgb: Frame) -> bytes:
        rows = rgb.reshape(rgb.shape[0], -1)
        filtered = rows.copy()
        if kind == "up":
            filtered[1:] = rows[1:] - rows[:-1]
        elif kind == "sub":
            filtered[:, 3:] = rows[:, 3:] - rows[:, :-3]
        packer = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
        return packer.compress(filtered.tobytes()) + packer.flush()

    return write


def inflated(data: bytes) -> NDArray[np.uint8]:
    """What `deflated` packed; its time is that of zlib, since the filter is not undone."""
    return np.frombuffer(zlib.decompress(data), np.uint8)


def ways(profile: GuardProfile) -> Sequence[Way]:
    """Those that need nothing more than what a sensor has installed."""
    tables = [list(table) for table in profile.component_tables]
    level, strategy = cv2.IMWRITE_PNG_COMPRESSION, cv2.IMWRITE_PNG_STRATEGY
    return [
        Way("raw levels", lambda rgb: rgb.tobytes(), lambda data: np.frombuffer(data, np.uint8)),
        Way("ours: PNG, Sub and Up by rows", write_png, lambda data: read_png(read_png_info(data))),
        Way("PNG, OpenCV, level 1", opencv(".png", level, 1), opencv_read),
        Way("PNG, OpenCV, its default", opencv(".png"), opencv_read),
        Way("PNG, OpenCV, level 1, RLE", opencv(".png", level, 1, strategy, 3), opencv_read),
        Way("PNG, Pillow, level 1", pillow(format="PNG", compress_level=1), opencv_read),
        Way("rows less the row above, zlib 1", deflated("up", 1), inflated),
        Way("rows less the pixel before, zlib 1", deflated("sub", 1), inflated),
        Way("rows less the row above, RLE", deflated("up", 1, zlib.Z_RLE), inflated),
        Way("WebP lossless, OpenCV", opencv(".webp", cv2.IMWRITE_WEBP_QUALITY, 101), opencv_read),
        Way("WebP lossless, Pillow, method 0", pillow(format="WEBP", lossless=True, quality=0, method=0), opencv_read),
        Way("JPEG, RGB colour, the tables", pillow(format="JPEG", keep_rgb=True, qtables=tables, subsampling=0),
            opencv_read, lossless=False),
    ]  # fmt: skip


def resized(path: Path, size: tuple[int, int]) -> Frame:
    """A photograph of this width and height."""
    return np.asarray(cv2.resize(decode_rgb(path.read_bytes()), size, interpolation=cv2.INTER_AREA), np.uint8)


def send(raw: Frame, profile: GuardProfile) -> bytes:
    """All that the sensor does with a frame."""
    return seal_png(write_png(sanitize(raw, profile, "first")), SEAL, KEY)


def take(data: bytes) -> Frame:
    """All that the receiver does before pass 2."""
    verify_seal(data, KEY)
    return read_png(read_png_info(data))


def cpu_ms(work: Callable[[], Any]) -> tuple[float, Any]:
    """The shortest of five, and what the last gave."""
    times, found = [], None
    for _ in range(5):
        began = time.process_time()
        found = work()
        times.append(1e3 * (time.process_time() - began))
    return min(times), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--guard", default="fd")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--count", type=int, default=4)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    profile = resolve_profile(arguments.guard)
    assert profile is not None
    width, height = (int(side) for side in arguments.size.split("x"))
    photos = sorted(p for p in arguments.photos.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    photos = photos[:: max(len(photos) // arguments.count, 1)][: arguments.count]
    raw = [resized(path, (width, height)) for path in photos]
    frames = [sanitize(frame, profile, "first") for frame in raw]
    print(f"{len(frames)} frames of {width}x{height} after pass 1 of {profile.name}; CPU time of one core")
    print(f"{'':36}{'MB':>7}{'write ms':>10}{'read ms':>9}{'frames/s':>10}{'MB/s at 8':>11}")
    for way in ways(profile):
        written = [cpu_ms(partial(way.write, frame)) for frame in frames]
        read = [cpu_ms(partial(way.read, data)) for _, data in written]
        for frame, (_, found) in zip(frames, read, strict=True):
            if way.lossless and isinstance(found, np.ndarray) and not (found.reshape(frame.shape) == frame).all():
                raise SystemExit(f"{way.name} is not lossless")
        tell(way.name, [len(data) for _, data in written], [ms for ms, _ in written], [ms for ms, _ in read])
    sent = [cpu_ms(partial(send, frame, profile)) for frame in raw]
    taken = [cpu_ms(partial(take, data)) for _, data in sent]
    tell("ours, sealed", [len(data) for _, data in sent], [ms for ms, _ in sent], [ms for ms, _ in taken])


def tell(name: str, sizes: Sequence[int], write_ms: Sequence[float], read_ms: Sequence[float]) -> None:
    """One row."""
    size, write, read = statistics.mean(sizes) / 1e6, statistics.mean(write_ms), statistics.mean(read_ms)
    rate = f"{1e3 / write:10.1f}" if write > 1 else f"{'':>10}"
    print(f"{name:36}{size:7.3f}{write:10.1f}{read:9.1f}{rate}{8 * size:11.2f}", flush=True)


if __name__ == "__main__":
    main()
