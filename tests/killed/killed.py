"""Commands that are killed (SIGKILL) at random instants, and what has to hold after each:

    python tests/killed/killed.py --kills 200 [--seed 1] [--only run,fieldtest]

Nothing half-written is taken for whole, what a command left goes with its next start, and in the end each command is
run to its end and has everything.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))

from cli.launch import LAUNCH
from stripes import write_classes

from edgeguard.demo.assets import bundled_model, bundled_program, stand_in_images
from edgeguard.model import load_model

#: What `fieldtest record` says when a kill came after its last pass.
_COMPLETE = "all passes of the plan are stored already"
_SHARES = {"run": 8, "fieldtest": 4, "evaluate": 3, "train": 3, "convert": 2}


@dataclass(frozen=True)
class Job:
    """A command in a folder of its own.

    Attributes:
        command: its words.
        check: after a kill, and at the end (`finished`); raises AssertionError.
        longest_s: kills come within so many seconds of the start.
        end: words for the last run, which ends by itself.
    """

    command: list[str]
    check: Callable[[bool], None]
    longest_s: float
    end: tuple[str, ...] = ()


def _partials(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob(".*-*") if path.is_file()]


def run_job(folder: Path) -> Job:
    """`run` with JSON lines, a video and events."""

    def check(finished: bool) -> None:
        lines = folder / "r.jsonl"
        text = lines.read_bytes() if lines.exists() else b""
        for line in text.split(b"\n")[:-1]:  # only what ends is a line
            assert json.loads(line)["schema"] == 1
        for picture in (folder / "events").rglob("[0-9]*.jpg"):
            assert cv2.imread(str(picture)) is not None, picture
        video = folder / "v.mp4"
        if video.exists():
            reader = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
            assert reader.read()[0] and reader.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        assert len([name for name in _partials(folder) if name.endswith(".ismv")]) <= 1
        if finished:
            assert video.exists() and not _partials(folder), _partials(folder)

    source = "synthetic:cards?fps=30&width=320&height=240"
    outputs = ["--output", str(folder / "r.jsonl"), "--save", str(folder / "v.mp4"), "--record", str(folder / "events")]
    alarms = ["--compare", "--alarm-certified", "0.99", "--alarm-window", "2"]
    return Job(["run", "--source", source, *outputs, *alarms], check, 4.0, ("--frames", "40"))


def fieldtest_job(folder: Path) -> Job:
    """`fieldtest record` in the virtual field."""
    sheets = [str(folder / f"{arm}.pdf") for arm in ("clean", "plain")]
    for number, (arm, path) in enumerate(zip(("clean", "plain"), sheets, strict=True)):
        _must(["patch", "sheet", "--card", "stop", "--arm", arm, "--number", str(number), "--output", path])
    session = folder / "session"
    grid = ["--distances", "450,800", "--angles", "0", "--frames", "3", "--passes", "8"]
    _must(["fieldtest", "plan", str(session), *sheets, *grid])

    def check(finished: bool) -> None:
        from edgeguard.fieldtest.session.session import Session

        found = Session(session)
        for done in found.passes:
            for frame in done.frames:
                assert found.read_frame(frame)
        if finished:
            assert not found.missing() and not _partials(session), _partials(session)

    shown = [word for path in sheets for word in ("--sheets", path)]
    return Job(["fieldtest", "record", str(session), "--source", "synthetic:session", *shown], check, 6.0)


def evaluate_job(folder: Path) -> Job:
    """`evaluate` with one small attack."""
    protocol = folder / "p.toml"
    protocol.write_text(
        'schema = 1\nname = "small"\ntitle = "Small"\nbox = "white"\nplace = "frame"\nimages = 8\nbatch = 2\n'
        '[[attack]]\nkind = "pgd"\neps_8bit = 8\nsteps = 20\n[[defence]]\nname = "contract"\n'
    )
    images, output = folder / "images", folder / "audit"
    model = load_model(bundled_model())
    for number, picture in enumerate(stand_in_images()[:8]):  # each under the label that the model gives it
        place = images / "test" / str(model(picture).label)
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.png"), picture[:, :, ::-1])

    def check(finished: bool) -> None:
        from edgeguard.evaluate.engine.store import Store
        from edgeguard.evaluate.reports.results import read_results

        if (output / "results.jsonl").exists():
            assert read_results(output)
        for path in (output / "adversarial").rglob("*.adv"):
            assert Store(output / "adversarial").load(path.stem) is not None, path
        if finished:
            assert (output / "report.html").exists() and not _partials(output), _partials(output)

    words = ["--images", str(images / "test"), "--protocol", str(protocol), "--output", str(output), "--workers", "1"]
    return Job(["evaluate", str(bundled_model()), *words], check, 15.0)


def train_job(folder: Path) -> Job:
    """`train` on stripes."""
    config, output = folder / "c.toml", folder / "trained"
    config.write_text(
        "[model]\nwidth = 8\n[schedule]\nepochs = 6\nbatch = 24\nlearning_rate = 0.05\n"
        'precision = "float32"\n[codec]\ncodec = "fd"\n'
    )
    data = write_classes(folder / "data", 16)

    def check(finished: bool) -> None:
        import torch

        for name in ("checkpoint.pt", "model.pt2"):
            if (output / name).exists() and name.endswith(".pt"):
                assert torch.load(output / name, weights_only=True)
        if finished:
            assert (output / "model.pt2").exists() and not _partials(output), _partials(output)
            epochs = [json.loads(line)["epoch"] for line in (output / "log.jsonl").read_text().splitlines()]
            assert epochs == list(range(1, 7)), epochs

    return Job(["train", str(config), "--data", str(data), "--output", str(output)], check, 15.0)


def convert_job(folder: Path) -> Job:
    """`convert` of the bundled program."""
    output = folder / "out.tflite"

    def check(finished: bool) -> None:
        if output.exists():
            assert load_model(output).has_contract
        left = sorted(path.name for path in (folder / "temporary").glob("edgeguard-*"))
        assert len([name for name in left if not name.endswith(".log")]) <= 2, left
        assert len([name for name in left if name.endswith(".log")]) <= 7, left
        if finished:
            assert output.exists() and not _partials(folder), _partials(folder)

    return Job(["convert", str(bundled_program()), "--output", str(output)], check, 25.0)


JOBS: dict[str, Callable[[Path], Job]] = {
    "run": run_job, "fieldtest": fieldtest_job, "evaluate": evaluate_job, "train": train_job, "convert": convert_job,
}  # fmt: skip


def _environment(folder: Path) -> dict[str, str]:
    (folder / "temporary").mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(folder / "temporary"), "OMP_NUM_THREADS": "1"}


def _must(words: list[str]) -> str:
    done = subprocess.run([*LAUNCH, *words], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{words}: {done.stderr[-600:]}"
    return done.stdout


def killed(names: list[str], kills: int, seed: int, folder: Path) -> Iterator[str]:
    """Kill so many times in all; a line for each command.

    Raises:
        AssertionError: something half-written counted, or a command did not go on to its end.
    """
    generator = random.Random(seed)
    total = sum(_SHARES[name] for name in names)
    counts = {name: max(1, round(kills * _SHARES[name] / total)) for name in names}
    for name in names:
        place = folder / name
        place.mkdir(parents=True)
        job, environment, ended = JOBS[name](place), _environment(place), Counter[str]()
        for number in range(counts[name]):
            process = subprocess.Popen(
                [*LAUNCH, *job.command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
            )
            try:
                _, said = process.communicate(timeout=generator.uniform(0.3, job.longest_s))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                _, said = process.communicate()
            ended["killed" if process.returncode == -signal.SIGKILL else f"ended {process.returncode}"] += 1
            over = process.returncode == 0 or _COMPLETE in said
            assert over or process.returncode == -signal.SIGKILL, said[-600:]
            time.sleep(0.1)  # its children end with it
            job.check(over and name != "run")
            if over and name != "run":  # it has nothing left to be killed in
                (place / str(number)).mkdir()
                job, environment = JOBS[name](place / str(number)), _environment(place / str(number))
        last = subprocess.run([*LAUNCH, *job.command, *job.end], capture_output=True, text=True, env=environment)
        assert last.returncode == 0 or _COMPLETE in last.stderr, last.stderr[-600:]
        job.check(True)
        yield f"{name}: {dict(ended)}, then run to its end: everything is there"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(JOBS))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for line in killed(given.only.split(","), given.kills, given.seed, Path(folder)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
