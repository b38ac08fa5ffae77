"""What has to hold in every environment with the wheel inside, on every machine."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from release.environments import Environment
from release.steps import ROOT, WORK, ReleaseError, output

from edgeguard.demo.assets import bundled_model

_SCRIPTS = ROOT / "tests" / "release"
_KERNELS = {"x86_64": ("sse4.1", "avx2", "avx512"), "aarch64": ("neon",)}
#: What differs between two runs that say the same.
_TIMES = ("captured_at", "age_ms", "ms")
_FRAMES = 20


@dataclass(frozen=True)
class Reference:
    """What the checkout computes on this machine: the digests, and the results of `edgeguard run` on the frames.

    The model is a file of its own, the bundled one's bytes: a model from outside is tried in a child process first, and
    so it is shown that child processes start in an environment.
    """

    frames: Path
    model: Path
    digests: Path
    results: dict[str | None, list[dict[str, object]]]

    @property
    def labels(self) -> list[object]:
        """Of the frames, in order, with the model's own guard."""
        return [result["label"] for result in self.results[None]]


def make_reference() -> Reference:
    """Compute it with the Python that runs this."""
    WORK.mkdir(parents=True, exist_ok=True)
    frames, digests, model = WORK / "frames", WORK / "digests.json", WORK / "model.tflite"
    shutil.copyfile(bundled_model(), model)
    output([sys.executable, _SCRIPTS / "frames.py", frames])
    digests.write_text(output([sys.executable, _SCRIPTS / "digests.py"]))
    results = {}
    for guard in (None, "fd-jpeg"):
        main = ["-c", "from edgeguard.cli.main import main; main()"]
        results[guard] = _results(output([sys.executable, *main, *_run(frames, model, guard)]))
    return Reference(frames, model, digests, results)


def check(environment: Environment, reference: Reference) -> Iterator[str]:
    """Do all checks, two at a time; yield a line for each that holds.

    Raises:
        ReleaseError: one does not hold.
    """
    environment.folder.mkdir(exist_ok=True)
    steps = (
        partial(check_doctor, environment),
        partial(check_demo, environment),
        partial(check_digests, environment, reference),
        partial(check_results, environment, reference, None),
        partial(check_coefficients, environment, reference),
        partial(check_coefficients_without_libjpeg, environment, reference),
    )
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield from pool.map(lambda step: step(), steps)


def check_doctor(environment: Environment) -> str:
    """It finds no problem, and the native kernel serves."""
    found = doctor(environment)
    kernel = found["sanitizer"]
    if kernel not in [f"native kernel, {name}" for name in _KERNELS[environment.machine]]:
        raise ReleaseError(f"{environment.name}: doctor says: {kernel}")
    return f"doctor: {found['python']}; {found['runtime']}; {kernel}"


def check_demo(environment: Environment) -> str:
    """Without torch the bundled model runs: right on every clean frame, and the guard stops the attack in transit."""
    target = environment.folder / "demo"
    done = environment.edgeguard("demo", "--output", target, "--json")
    if "the bundled .tflite runs" not in done.stderr:
        raise ReleaseError(f"{environment.name}: demo converted a model, in an environment without a converter")
    rows = json.loads(done.stdout)
    clean, (attacked, defended, *_) = rows[:2], rows[2:]
    right = all(row["correct"] == row["n"] > 0 for row in [*clean, defended])
    if not right or attacked["correct"] == attacked["n"]:
        raise ReleaseError(f"{environment.name}: demo: {rows}")
    for name in ("demo.mp4", "contact-sheet.png", "results.json"):
        if not (target / name).is_file() or not (target / name).stat().st_size:
            raise ReleaseError(f"{environment.name}: demo wrote no {name}")
    return f"demo: {clean[0]['correct']} of {clean[0]['n']} right, and the attack in transit is stopped"


def check_results(environment: Environment, reference: Reference, guard: str | None, **changes: str) -> str:
    """`run` says of every frame what the checkout says, all of it but the times."""
    found = results(environment, reference, guard, **changes)
    expected = reference.results[guard]
    for one, other in zip(found, expected, strict=False):
        if one != other:
            raise ReleaseError(f"{environment.name}: run, guard {guard}: {one} here, {other} in the checkout")
    if len(found) != len(expected):
        raise ReleaseError(f"{environment.name}: run: {len(found)} results here, {len(expected)} in the checkout")
    return f"run{' with ' + guard if guard else ''}: the same JSON on {len(found)} frames"


def check_digests(environment: Environment, reference: Reference) -> str:
    """Kernel, compressed domain and inference give the checkout's bytes."""
    done = environment.run(_SCRIPTS / "digests.py", "--expect", reference.digests)
    if done.returncode != 0:
        raise ReleaseError(f"{environment.name}: other bytes: {' | '.join(done.stderr.strip().splitlines()[-3:])}")
    return done.stdout.strip()


def check_coefficients(environment: Environment, reference: Reference) -> str:
    """JPEGs are requantised, with whatever libjpeg there is."""
    return f"{check_results(environment, reference, 'fd-jpeg')}, {jpeg_library(environment)}"


def check_coefficients_without_libjpeg(environment: Environment, reference: Reference) -> str:
    """JPEGs are requantised where the system has no libjpeg: with Pillow's."""
    hidden = environment.folder / "no-libjpeg"
    hidden.mkdir(exist_ok=True)
    # A file of its name that is no library, found first, does what its absence does.
    (hidden / "libjpeg.so.62").touch()
    library = jpeg_library(environment, LD_LIBRARY_PATH=str(hidden))
    if not library.startswith("Pillow's copy of libjpeg-turbo"):
        raise ReleaseError(f"{environment.name}: without a libjpeg of the system doctor says: {library}")
    return f"{check_results(environment, reference, 'fd-jpeg', LD_LIBRARY_PATH=str(hidden))}, {library}"


def results(
    environment: Environment, reference: Reference, guard: str | None, **changes: str
) -> list[dict[str, object]]:
    """What `run` says of the frames, without the times."""
    return _results(environment.edgeguard(*_run(reference.frames, reference.model, guard), **changes).stdout)


def jpeg_library(environment: Environment, **changes: str) -> str:
    """The libjpeg that doctor names."""
    return doctor(environment, False, **changes)["jpeg coefficients"]


def doctor(environment: Environment, problems: bool = False, **changes: str) -> dict[str, str]:
    """What doctor says of each thing; with `problems` it has to find some, else none.

    Raises:
        ReleaseError: its exit code says otherwise.
    """
    done = environment.run(environment.script, "doctor", "--json", **changes)
    if done.returncode != int(problems):
        raise ReleaseError(
            f"{environment.name}: doctor: exit code {done.returncode}: {(done.stdout + done.stderr)[-400:]}"
        )
    return {found["what"]: found["text"] for found in json.loads(done.stdout)}


def say(environment: Environment, lines: Iterator[str]) -> None:
    """Print an environment's lines as they come."""
    print(environment.name, flush=True)
    for line in lines:
        print(f"    {line}", flush=True)


def must_fail(done: "subprocess.CompletedProcess[str]", expected: str, what: str) -> str:
    """The line in which a program refuses.

    Raises:
        ReleaseError: it did not refuse, or not with these words.
    """
    lines = [line for line in done.stderr.splitlines() if expected in line]
    if done.returncode == 0 or not lines:
        raise ReleaseError(f"{what}: exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return lines[0]


def _run(frames: Path, model: Path, guard: str | None) -> list[str | Path]:
    return ["run", model, "--source", frames, "--output", "-", *(["--guard", guard] if guard else [])]


def _results(text: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in text.splitlines()]
    if len(lines) != _FRAMES:
        raise ReleaseError(f"edgeguard run gave {len(lines)} results, {_FRAMES} are wanted")
    return [{key: value for key, value in line.items() if key not in _TIMES} for line in lines]
