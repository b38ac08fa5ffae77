"""The run as a whole against a bare undefended loop, and how old its results are.

    python benchmarks/run.py MODEL.tflite [--photos FOLDER] [--threads 4] [--rounds 9] [--seconds 8] [--no-ages]

1280x720 Motion JPEG (4:2:2, quality 90) over HTTP on loopback, from a server in a process of its own. Unpaced: every
frame is inferred (`--every-frame`), frames a second and CPU seconds a frame against `VideoCapture.read`, resize and
interpreter in turn. Rounds are interleaved: a ratio is the median of those of the rounds, and its interval (95 % or
more) that of the sign test. Paced at 30 frames/s: age of a result with a model that keeps up and with one that does
not (the model run so often in each inference that it takes 50 ms). Each method runs in a fresh process.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mjpeg_server import mjpeg_server

from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.scene.cards import CARDS
from edgeguard.scene.views import random_view, render

SIZE = (1280, 720)
CAMERA = replace(GuardProfile.preset("jpeg:90"), color="ycbcr422")
WARM_FRAMES = 20


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--photos", type=Path, help="frames are made of these (default: rendered scenes)")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--ages", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.method:
        print(json.dumps(measure(arguments)))
        return
    jpegs = frames(arguments.photos)
    print(f"{len(jpegs)} frames of {SIZE[0]}x{SIZE[1]}, {np.mean([len(j) for j in jpegs]) / 1e3:.0f} kB, "
          f"OpenCV {cv2.__version__}, {arguments.threads} threads")  # fmt: skip
    with mjpeg_server(jpegs, None) as url:
        throughput(arguments, url)
    if arguments.ages:
        with mjpeg_server(jpegs, 30) as url:
            ages(arguments, url)


def frames(photos: Path | None) -> list[bytes]:
    """Thirty frames as a camera codes them."""
    if photos is None:
        generator = np.random.default_rng(0)
        cards = [CARDS[i % len(CARDS)] for i in range(30)]
        pictures = [render(random_view(generator, card), *SIZE) for card in cards]
    else:
        paths = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[:30]
        pictures = [filled(decode_rgb(path.read_bytes())) for path in paths]
    return [encode_jpeg(picture, CAMERA) for picture in pictures]


def filled(rgb: np.ndarray) -> np.ndarray:
    """A photograph enlarged and cropped to the camera's frame."""
    scale = max(SIZE[0] / rgb.shape[1], SIZE[1] / rgb.shape[0])
    size = -(-round(rgb.shape[1] * scale) // 1), -(-round(rgb.shape[0] * scale) // 1)
    large = cv2.resize(rgb, (max(size[0], SIZE[0]), max(size[1], SIZE[1])), interpolation=cv2.INTER_CUBIC)
    y, x = (large.shape[0] - SIZE[1]) // 2, (large.shape[1] - SIZE[0]) // 2
    return np.ascontiguousarray(large[y : y + SIZE[1], x : x + SIZE[0]])


def throughput(arguments: argparse.Namespace, url: str) -> None:
    """Frames a second and CPU seconds a frame, rounds in turn, medians."""
    methods = ("bare", "run:none", "run:fd-jpeg", "run:fd")
    found: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
    for _ in range(arguments.rounds):
        for method in methods:
            found[method].append(child(arguments, method, url))
    print(f"\n{'unpaced, every frame':24}{'frames/s':>9}{'ratio to bare':>21}{'CPU ms':>9}{'ratio to bare':>21}")
    for method, rounds in found.items():
        line = f"{method:24}"
        for key, digits in (("fps", 1), ("cpu_ms", 2)):
            ratios = [one[key] / base[key] for one, base in zip(rounds, found["bare"], strict=True)]
            low, high = interval(ratios)
            ratio = f"{statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]"
            line += f"{statistics.median(one[key] for one in rounds):9.{digits}f}{ratio:>21}"
        print(line)


def interval(values: list[float]) -> tuple[float, float]:
    """Of the median, by the sign test: order statistics that hold it with 95 % or more; all of few values.

    Example:
        >>> interval([float(n) for n in range(1, 10)])
        (2.0, 8.0)
    """
    ordered, count = sorted(values), len(values)
    outside = 0
    while outside < count // 2 and 2 * sum(math.comb(count, i) for i in range(outside + 1)) / 2**count <= 0.05:
        outside += 1
    at = max(outside - 1, 0)
    return ordered[at], ordered[count - 1 - at]


def ages(arguments: argparse.Namespace, url: str) -> None:
    """How old results are when they come, at 30 frames/s."""
    print(
        f"\n{'30 frames/s, latest frame':28}{'results/s':>10}{'infer ms':>10}{'age p50':>10}{'age p95':>10}{'bound':>8}"
    )
    for method in ("age:fd-jpeg", "age:fd", "slow:fd-jpeg", "slow:fd"):
        r = child(arguments, method, url)
        interval = 1000 / 30
        bound = 1.5 * interval if method.startswith("age") else r["infer_ms"] + interval
        print(f"{method:28}{r['fps']:10.1f}{r['infer_ms']:10.2f}{r['age_p50']:10.1f}{r['age_p95']:10.1f}{bound:10.1f}")


def child(arguments: argparse.Namespace, method: str, url: str) -> dict[str, float]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, arguments.model, "--threads", str(arguments.threads), "--method", method]
    command += ["--url", url, "--seconds", str(arguments.seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # what went wrong is seen
    if done.returncode:
        raise SystemExit(f"{method} ended with {done.returncode}")
    return json.loads(done.stdout)


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """In the child."""
    kind, _, guard = arguments.method.partition(":")
    if kind == "bare":
        return bare(arguments)
    from edgeguard.camera import open_source
    from edgeguard.camera.reader import Drop
    from edgeguard.dct.profile import resolve_profile
    from edgeguard.model import ContractGuard, load_model
    from edgeguard.pipeline import Pipeline
    from edgeguard.system.heap import keep_freed_memory

    keep_freed_memory()  # as `edgeguard run` does
    model = load_model(arguments.model, threads=arguments.threads)
    profile = resolve_profile(guard)
    chosen = ContractGuard(profile, "frame") if profile else ContractGuard()
    model = model.with_contract(replace(model.contract, guard=chosen))
    if kind == "slow":
        slow_down(model, 0.050)
    every_frame: Drop | None = "wait" if kind == "run" else None
    clock, inferences, ages_ms = Clock(arguments.seconds), list[float](), list[float]()
    with Pipeline(open_source(arguments.url), model, keep_frames=False, every_frame=every_frame) as pipeline:
        for result in pipeline:
            if not clock.tick():
                break
            if clock.counting:
                inferences.append(result.infer_ms)
                assert result.age_ms is not None  # of a live source
                ages_ms.append(result.age_ms)
    p50, p95 = np.percentile(ages_ms, [50, 95])
    return {**clock.to_dict(), "infer_ms": float(np.median(inferences)), "age_p50": p50, "age_p95": p95}


def bare(arguments: argparse.Namespace) -> dict[str, float]:
    """What people write first: read, resize, infer."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(arguments.model, num_threads=arguments.threads)
    interpreter.allocate_tensors()
    input_, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    height, width = (int(side) for side in input_["shape"][1:3])
    capture, clock = cv2.VideoCapture(arguments.url), Clock(arguments.seconds)
    while clock.tick():
        _, frame = capture.read()
        pixels = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (width, height))
        interpreter.set_tensor(input_["index"], pixels[None])
        interpreter.invoke()
        int(interpreter.get_tensor(output["index"]).argmax())
    return clock.to_dict()


def slow_down(model: Any, seconds: float) -> None:
    """Make each inference take so long, by running the model again and again as a larger one would compute."""
    run = model.run

    def longer(tensor: np.ndarray) -> object:
        until = time.perf_counter() + seconds
        outputs = run(tensor)
        while time.perf_counter() < until:
            outputs = run(tensor)
        return outputs

    model.run = longer


class Clock:
    """Wall and CPU time a frame, after the first frames."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.frames, self.counting = seconds, -WARM_FRAMES, False

    def tick(self) -> bool:
        """Before each frame; False when it is over."""
        if self.frames == 0:
            self.counting, self.began, self.cpu = True, time.perf_counter(), cpu_seconds()
        if self.frames > 0:
            self.ended, self.cpu_end, self.counted = time.perf_counter(), cpu_seconds(), self.frames
            if self.ended - self.began > self.seconds:
                return False
        self.frames += 1
        return True

    def to_dict(self) -> dict[str, float]:
        """Frames a second, and CPU milliseconds a frame."""
        return {
            "fps": self.counted / (self.ended - self.began),
            "cpu_ms": 1e3 * (self.cpu_end - self.cpu) / self.counted,
        }


def cpu_seconds() -> float:
    """Of all threads of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
