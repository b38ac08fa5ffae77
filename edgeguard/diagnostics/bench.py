"""Timing every stage and path on the machine that will run them."""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.libjpeg import libjpeg_path
from edgeguard.dct.native_kernel import instruction_sets
from edgeguard.guard import GuardProfile, certificate, decode_rgb, encode_jpeg
from edgeguard.model.contract import require_pixels
from edgeguard.model.input_path import InputPath
from edgeguard.model.interpreter import Model
from edgeguard.preprocess.crop_resize import sanitize
from edgeguard.scene.views import render, stand_in_views

SIZES = ((640, 480), (1280, 720), (1920, 1080))
_LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """One stage at one frame size: wall time in milliseconds over `rounds` runs."""

    stage: str
    size: str
    p50_ms: float
    p95_ms: float
    rounds: int


@dataclass(frozen=True)
class BenchReport:
    """What `bench` measured.

    Attributes:
        machine: processor, cores, versions, and which native parts serve.
        timings: one for each stage and size.
        frames_per_s: what each path could do with the model, from the medians.
        peak_memory_mb: of the whole process.
        frame_memory: additional peak memory of sanitising a 1920x1080 frame, in frames (1.0 is the result itself);
            None where the system does not tell.
        temperature_c: of the hottest sensor, before and after; None where there is none.
    """

    machine: dict[str, Any]
    timings: tuple[Timing, ...]
    frames_per_s: dict[str, float]
    peak_memory_mb: float
    frame_memory: float | None
    temperature_c: tuple[float | None, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def bench(
    model: Model,
    frame: NDArray[np.uint8] | None = None,
    seconds: float = 10.0,
    step: Callable[[str], None] = lambda name: None,
) -> BenchReport:
    """Time every stage with a model and its contract.

    Args:
        model: whose guard profile, input and preprocessing are used; without a guard, `fd` is timed.
        frame: a uint8 HxWx3 frame like those of the camera, resized to each size; by default a rendered one.
        seconds: about how long to measure.
        step: called with the name of each stage as it begins.

    Raises:
        InputError: the model reads coefficients.
    """
    require_pixels(model.contract, "bench")
    before = temperature_c()
    stages = [(size, name, call) for size in SIZES for name, call in _stages(model, _sized(frame, size)).items()]
    budget = seconds / (len(stages) + 1)
    timings = []
    for (width, height), name, call in stages:
        step(f"{name}, {width}x{height}")
        timings.append(_time(name, f"{width}x{height}", call, budget))
    step("model")
    undefended = InputPath(model.contract, profile=None, patch_guard=None)
    tensor = undefended(undefended.arrive(_sized(frame, SIZES[0]))).tensor
    timings.append(_time("model", "-", lambda: model.infer(tensor), budget))
    return BenchReport(
        machine=_machine(),
        timings=tuple(timings),
        frames_per_s=_rates(timings),
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        frame_memory=frame_memory(model.contract.guard.profile or _fd()),
        temperature_c=(before, temperature_c()),
    )


def stage_count(model: Model) -> int:
    """How many times `bench` calls its `step`.

    Raises:
        InputError: the model reads coefficients.
    """
    require_pixels(model.contract, "bench")
    return len(SIZES) * len(_stages(model, _sized(None, (64, 64)))) + 1


def frame_memory(profile: GuardProfile) -> float | None:
    """Additional peak memory of sanitising a 1920x1080 frame, in frames: 1.0 is the result itself. None but on Linux.

    Measured in a fresh process, whose heap has nothing to give back.
    """
    command = [sys.executable, "-c", _MEASURE_MEMORY, json.dumps(profile.to_dict())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return float(done.stdout) if done.returncode == 0 else None


_MEASURE_MEMORY = """
import json, sys
from pathlib import Path
import numpy as np
from edgeguard.guard import GuardProfile
from edgeguard.preprocess.crop_resize import sanitize

def status_kb(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])

profile = GuardProfile.from_dict(json.loads(sys.argv[1]))
frame = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
sanitize(frame[:16, :16], profile)
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
start = status_kb("VmRSS")
result = sanitize(frame, profile)
print((status_kb("VmHWM") - start) * 1024 / result.nbytes)
"""


def temperature_c(zones: Path = Path("/sys/class/thermal")) -> float | None:
    """The hottest sensor of the machine, or None where it has none."""
    found = []
    for zone in sorted(zones.glob("thermal_zone*/temp")):
        try:
            found.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def _stages(model: Model, frame: NDArray[np.uint8]) -> dict[str, Callable[[], object]]:
    import cv2

    contract = model.contract
    profile = contract.guard.profile or _fd()
    undefended = InputPath(contract, profile=None, patch_guard=None)
    defended = InputPath(contract, profile=profile, patch_guard=None)
    arrived = defended.arrive(frame)
    jpeg = encode_jpeg(frame, GuardProfile.preset("jpeg:90"))
    bgr = np.ascontiguousarray(frame[:, :, ::-1])

    def round_trip() -> object:
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 75])
        return cv2.imdecode(data, cv2.IMREAD_COLOR)

    stages: dict[str, Callable[[], object]] = {
        "OpenCV JPEG round trip (peer)": round_trip,
        "decode JPEG": lambda: decode_rgb(jpeg),
        "crop and resize, undefended": lambda: undefended(arrived),
        f"sanitise frame, {profile.color}": lambda: sanitize(frame, profile),
        "sanitise to tensor": lambda: defended(arrived),
    }
    if profile.is_pixel_domain:
        stages["certificate"] = lambda: certificate(frame, profile)
    else:
        stages["pass 1: write JPEG"] = lambda: encode_jpeg(frame, profile)
        received = defended.arrive(jpeg)
        stages["JPEG to tensor, requantised"] = lambda: defended(received)
    return stages


def _time(name: str, size: str, call: Callable[[], object], budget_s: float) -> Timing:
    call()
    times: list[float] = []
    end = time.perf_counter() + budget_s
    while len(times) < _LEAST_ROUNDS or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    p50, p95 = (float(value) for value in np.percentile(times, [50, 95]))
    return Timing(name, size, p50, p95, len(times))


def _rates(timings: list[Timing]) -> dict[str, float]:
    """Frames a second of the defended path and of the undefended one, on one core, without capture."""
    by_stage = {(t.stage, t.size): t.p50_ms for t in timings}
    infer = by_stage["model", "-"]
    rates = {}
    for width, height in SIZES:
        size = f"{width}x{height}"
        for path in ("crop and resize, undefended", "sanitise to tensor", "JPEG to tensor, requantised"):
            if (path, size) in by_stage:
                rates[f"{path} {size}"] = round(1e3 / (by_stage[path, size] + infer), 1)
    return rates


def _machine() -> dict[str, Any]:
    import cv2

    import edgeguard

    names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    board = "".join(_lines("/proc/device-tree/model")).strip("\0\n ")
    return {
        "board": board or None,
        "processor": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "edgeguard": edgeguard.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "kernel": instruction_sets()[-1] if instruction_sets() else "numpy",
        "libjpeg": libjpeg_path(),
    }


def _sized(frame: NDArray[np.uint8] | None, size: tuple[int, int]) -> NDArray[np.uint8]:
    if frame is None:
        return render(stand_in_views(1)[0], *size)
    import cv2

    shrinks = size[0] <= frame.shape[1] and size[1] <= frame.shape[0]
    resized = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.ascontiguousarray(resized, np.uint8)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []


def _fd() -> GuardProfile:
    return GuardProfile.preset("fd")
