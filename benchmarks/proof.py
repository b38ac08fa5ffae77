"""What the proof costs: room, rounding that helps and margins, against the plain passes of `fd` in the same run.

    python benchmarks/proof.py PHOTOS [--rounds N] [--guard PROFILE ...]

One core, CPU time, all methods in turn, medians of the ratios of each round. Each round takes the next photograph,
resized to each size, so that no branch predictor learns a picture by heart.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.native_kernel import empty_margins, instruction_sets, sanitize_native, tensor_native
from edgeguard.dct.profile import GuardProfile, resolve_profile
from edgeguard.guard import decode_rgb
from edgeguard.preprocess.geometry import place

SIZES = ((640, 480), (1280, 720), (1920, 1080))
FD = GuardProfile.preset("fd")
MODEL, CROP = SimpleNamespace(width=224, height=224), SimpleNamespace(crop="center", crop_fraction=0.875)


def second(received: NDArray[np.uint8], profile: GuardProfile, name: str, measured: bool) -> None:
    """Pass 2 from the received frame to the tensor, with the margins of the blocks under the crop or without."""
    box = place(received.shape[1], received.shape[0], MODEL, CROP).source
    out = np.empty((224, 224, 3), np.uint8)
    margins = empty_margins(profile, box.width + 16, box.height + 16) if measured else None
    tensor_native(received, profile, box, out, instruction_set=name, which="second", margins=margins)


def methods(raw: NDArray[np.uint8], profiles: list[GuardProfile], name: str) -> dict[str, Callable[[], object]]:
    """All that is timed, by the name of its row; the first of each pass is what the others are compared to."""
    plain = sanitize_native(raw, FD, name)
    found: dict[str, Callable[[], object]] = {
        "pass 1, fd": lambda: sanitize_native(raw, FD, name),
        "pass 2, fd": lambda: second(plain, FD, name, False),
        "pass 2, fd, margins": lambda: second(plain, FD, name, True),
    }
    for profile in profiles:
        received = sanitize_native(raw, profile, name, which="first")
        found |= {
            f"pass 1, {profile.name}": partial(sanitize_native, raw, profile, name, which="first"),
            f"pass 2, {profile.name}": partial(second, received, profile, name, False),
            f"pass 2, {profile.name}, margins": partial(second, received, profile, name, True),
        }
    return found


def cpu_ms(method: Callable[[], object]) -> float:
    """The shortest of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        method()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--guard", nargs="*", default=[])
    arguments = parser.parse_args()
    profiles = [found for text in arguments.guard if (found := resolve_profile(text)) is not None]
    photos = sorted(p for p in arguments.photos.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    photos = photos[:: max(len(photos) // arguments.rounds, 1)][: arguments.rounds]
    for name in reversed(instruction_sets()):
        print(f"{name}: ratio to fd's plain pass (ms a frame)")
        for size in SIZES:
            ratios: dict[str, list[float]] = {}
            taken: dict[str, list[float]] = {}
            for photo in photos:
                raw = np.asarray(
                    cv2.resize(decode_rgb(photo.read_bytes()), size, interpolation=cv2.INTER_AREA), np.uint8
                )
                times = {row: cpu_ms(method) for row, method in methods(raw, profiles, name).items()}
                for row, ms in times.items():
                    ratios.setdefault(row, []).append(ms / times[f"{row[:6]}, fd"])
                    taken.setdefault(row, []).append(ms)
            for row, each in ratios.items():
                ms = statistics.median(taken[row])
                print(f"  {size[0]:4}x{size[1]:<4} {row:34} {statistics.median(each):5.2f} ({ms:6.2f})", flush=True)


if __name__ == "__main__":
    main()
