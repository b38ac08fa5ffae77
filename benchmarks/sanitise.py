"""Sanitising a frame, against OpenCV's JPEG round trip (quality 75, 4:2:0, with its RGB swaps) in the same run.

    python benchmarks/sanitise.py

One core, CPU time, interleaved, medians. Above 1 is faster than the round trip. The numpy kernel is the definition and
serves where the native one was not built.
"""

import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.demo.scenes import render, stand_in_views
from edgeguard.guard import GuardProfile, Sanitizer, certificate
from edgeguard.guard.kernel import instruction_sets, sanitize_native

SIZES = ((224, 224), (640, 480), (1280, 720), (1920, 1080))
ROUNDS = 15


def round_trip(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What scripts do today."""
    bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 75])
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def main() -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    fd, fd_jpeg = GuardProfile.preset("fd"), GuardProfile.preset("fd-jpeg")
    methods: dict[str, Callable[[NDArray[np.uint8]], object]] = {
        "OpenCV round trip": round_trip,
        **{
            f"fd, native {name}": partial(sanitize_native, tables=fd.component_tables, instruction_set=name)
            for name in reversed(instruction_sets())
        },
        "fd, numpy kernel": lambda frame: Sanitizer(fd)._sanitize_numpy(frame),
        "fd-jpeg, Pillow + OpenCV": Sanitizer(fd_jpeg),
        "certificate (float64)": lambda frame: certificate(frame, fd),
    }
    print(f"{platform.machine()}, numpy {np.__version__}, OpenCV {cv2.__version__}")
    print(f"{'':26s}" + "".join(f"{w}x{h}".rjust(20) for w, h in SIZES))
    rows = {name: [] for name in methods}  # type: dict[str, list[float]]
    for width, height in SIZES:
        frame = render(stand_in_views(1)[0], width, height)
        times: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(ROUNDS):
            for name, method in methods.items():
                start = time.process_time()
                method(frame)
                times[name].append(time.process_time() - start)
        for name, values in times.items():
            rows[name].append(statistics.median(values))
    for name, seconds in rows.items():
        cells = (f"{rows['OpenCV round trip'][i] / s:8.3f} ({s * 1e3:7.2f} ms)" for i, s in enumerate(seconds))
        print(f"{name:26s}" + "".join(cell.rjust(20) for cell in cells))


if __name__ == "__main__":
    main()
