"""Sanitising, against what scripts do today, in the same run.

    python benchmarks/sanitise.py [--photo FILE_OR_FOLDER] [--rounds N]

One core, CPU time, all methods in turn (each once untimed before it is timed), medians. The peer of the first table is
OpenCV's JPEG round trip (quality 75, 4:2:0, with its RGB swaps); above 1 is faster. Pillow, simplejpeg, ART and kornia
are timed where they are installed.
With a folder each round takes the next of its photographs, so that no branch predictor learns a picture by heart.
Without --photo a rendered frame is used, which is easier on the peers' entropy coding than a photograph.
"""

import argparse
import io
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.libjpeg import libjpeg_path
from edgeguard.dct.native_kernel import instruction_sets, sanitize_native, tensor_native
from edgeguard.dct.numpy_kernel import sanitize_frame
from edgeguard.guard import GuardProfile, certificate, decode_rgb
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.preprocess.geometry import place
from edgeguard.preprocess.requantize import requantized_tensor
from edgeguard.scene.views import render, stand_in_views

Frame = NDArray[np.uint8]
Method = Callable[[Frame], object]
SIZES = ((224, 224), (640, 480), (1280, 720), (1920, 1080))
FD, FD_JPEG = GuardProfile.preset("fd"), GuardProfile.preset("fd-jpeg")
MODEL, CROP = SimpleNamespace(width=224, height=224), SimpleNamespace(crop="center", crop_fraction=1.0)


def round_trip(rgb: Frame) -> Frame:
    """The peer."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 75])
    coded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert coded is not None
    return np.asarray(cv2.cvtColor(coded, cv2.COLOR_BGR2RGB), np.uint8)


def resized(rgb: Frame) -> Frame:
    """The centre square by INTER_AREA."""
    box = place(rgb.shape[1], rgb.shape[0], MODEL, CROP).source
    part = rgb[box.top : box.top + box.height, box.left : box.left + box.width]
    return np.asarray(cv2.resize(part, (224, 224), interpolation=cv2.INTER_AREA), np.uint8)


def as_int8(pixels: Frame) -> NDArray[np.int8]:
    """Levels minus 128."""
    return (pixels ^ np.uint8(0x80)).view(np.int8)


def fused(rgb: Frame, name: str) -> Frame:
    """The kernel's one pass from the frame to the int8 tensor."""
    out = np.empty((224, 224, 3), np.uint8)
    box = place(rgb.shape[1], rgb.shape[0], MODEL, CROP).source
    tensor_native(rgb, FD, box, out, signed=True, instruction_set=name)
    return out


def frame_methods() -> dict[str, Method]:
    """Frame to frame."""
    colors = {c: GuardProfile(c, c, FD.tables) for c in ("ycbcr420", "ycbcr422", "ycbcr444", "gray")}
    methods: dict[str, Method] = {"OpenCV round trip": round_trip, **peers()}
    for name in reversed(instruction_sets()):
        methods[f"rgb (fd), {name}"] = partial(sanitize_native, profile=FD, instruction_set=name)
    for name in reversed(instruction_sets()):
        methods[f"ycbcr420, {name}"] = partial(sanitize_native, profile=colors["ycbcr420"], instruction_set=name)
    for color in ("ycbcr422", "ycbcr444", "gray"):
        if instruction_sets():
            methods[f"{color}, {instruction_sets()[-1]}"] = partial(sanitize_native, profile=colors[color])
    methods["rgb (fd), numpy"] = partial(sanitize_frame, profile=FD)
    methods["certificate"] = partial(certificate, profile=FD)
    return methods


def peers() -> dict[str, Method]:
    """Other libraries, where they are installed."""
    found: dict[str, Method] = {}
    tables = [list(FD.tables[0])] * 2

    def pillow(rgb: Frame) -> Frame:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "JPEG", qtables=tables, subsampling=2)
        return np.asarray(Image.open(buffer))

    found["Pillow with qtables="] = pillow
    try:
        import simplejpeg

        found["simplejpeg"] = lambda rgb: simplejpeg.decode_jpeg(
            simplejpeg.encode_jpeg(rgb, quality=75, colorsubsampling="420")
        )
    except ImportError:
        pass
    try:
        from art.defences.preprocessor import JpegCompression

        art = JpegCompression(clip_values=(0, 255), quality=75, channels_first=False)
        found["ART JpegCompression"] = lambda rgb: art(rgb[None])
    except ImportError:
        pass
    try:
        import torch
        from kornia.enhance import jpeg_codec_differentiable

        torch.set_num_threads(1)
        quality = torch.tensor([75.0])

        def kornia(rgb: Frame) -> Any:
            height, width = rgb.shape[0] // 16 * 16, rgb.shape[1] // 16 * 16
            image = torch.from_numpy(rgb[:height, :width]).permute(2, 0, 1)[None].float() / 255
            with torch.inference_mode():
                return jpeg_codec_differentiable(image, quality)

        found["kornia"] = kornia
    except ImportError:
        pass
    return found


def tensor_methods() -> dict[str, Method]:
    """RGB frame to the int8 tensor of a 224x224 model."""
    methods: dict[str, Method] = {"OpenCV round trip + INTER_AREA": lambda rgb: as_int8(resized(round_trip(rgb)))}
    for name in reversed(instruction_sets()):
        methods[f"fused, fd, {name}"] = partial(fused, name=name)
    return methods


def jpeg_methods() -> dict[str, Callable[[bytes], object]]:
    """JPEG bytes (quality 90) to the int8 tensor of a 224x224 model, fd-jpeg."""

    def decoded(data: bytes, mode: int = cv2.IMREAD_COLOR) -> Frame:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
        assert bgr is not None
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)

    half = cv2.IMREAD_REDUCED_COLOR_2
    return {
        "decode + round trip + INTER_AREA": lambda data: as_int8(resized(round_trip(decoded(data)))),
        "undefended: decode + INTER_AREA": lambda data: as_int8(resized(decoded(data))),
        "undefended: decode 4/8 + INTER_AREA": lambda data: as_int8(resized(decoded(data, half))),
        "undefended: decode 4/8 + our resize": lambda data: crop_and_resize(
            decoded(data, half), MODEL, CROP, signed=True
        ),
        "requantised at 8/8": lambda data: requantized_tensor(data, FD_JPEG, MODEL, CROP, 1, True),
        "requantised at 4/8": lambda data: requantized_tensor(data, FD_JPEG, MODEL, CROP, 2, True),
    }


def measure(title: str, methods: dict[str, Callable[[Any], object]], inputs: list[list[Any]], rounds: int) -> None:
    """Time all methods in turn on each input, and print ratios to the first."""
    print(f"\n{title}")
    print(" " * 36 + "".join(f"{w}x{h}".rjust(20) for w, h in SIZES[-len(inputs) :]))
    rows: dict[str, list[float]] = {name: [] for name in methods}
    for given in inputs:
        times: dict[str, list[float]] = {name: [] for name in methods}
        slow: set[str] = set()
        for i in range(rounds):
            for name, method in methods.items():
                if name in slow and i >= 3:
                    continue
                method(given[(i - 1) % len(given)])  # what ran before has left the caches to itself
                start = time.process_time_ns()
                method(given[i % len(given)])
                times[name].append((time.process_time_ns() - start) / 1e6)
                if times[name][-1] > 60:
                    slow.add(name)
        for name, values in times.items():
            rows[name].append(statistics.median(values))
    first = next(iter(rows.values()))
    for name, row in rows.items():
        cells = (f"{peer / ms:8.2f} ({ms:7.2f} ms)" for peer, ms in zip(first, row, strict=True))
        print(f"{name:36s}" + "".join(cell.rjust(20) for cell in cells))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, help="a photograph or a folder of them, resized to each frame size")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pictures = [render(stand_in_views(1)[0], 1920, 1080)]
    if options.photo:
        files = sorted(options.photo.glob("*.[jJ]*")) if options.photo.is_dir() else [options.photo]
        pictures = [decode_rgb(file.read_bytes()) for file in files[:: -(-len(files) // options.rounds)]]
    frames = [
        [np.ascontiguousarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA), np.uint8) for p in pictures]
        for size in SIZES
    ]
    source = f"{len(pictures)} photographs" if options.photo else "a rendered frame"
    print(f"{platform.machine()}, numpy {np.__version__}, OpenCV {cv2.__version__}, {libjpeg_path()}, {source}")
    measure("frame to frame; 1 = OpenCV's round trip", frame_methods(), frames, options.rounds)
    measure("frame to int8 tensor; 1 = round trip + INTER_AREA", tensor_methods(), frames, options.rounds)
    jpegs = [
        [cv2.imencode(".jpg", f[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes() for f in given]
        for given in frames[1:]
    ]
    measure("JPEG to int8 tensor; 1 = decode + round trip + INTER_AREA", jpeg_methods(), jpegs, options.rounds)


if __name__ == "__main__":
    main()
