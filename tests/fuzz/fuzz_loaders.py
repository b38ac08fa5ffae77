"""Model files of five formats (torch's zip with a pickle or a program, safetensors, ONNX, HDF5, Keras's zip), changed
with their structure in mind, through the code that reads strangers' files, each in a forked worker:

    python tests/fuzz/fuzz_loaders.py --seconds 30 [--seed 1] [--most 5000] [--of onnx program] [--keep FOLDER]

A file may be refused in one line (`InputError`), or load; then it answers for one picture. It may not raise anything
else, end the process by a signal, take 20 s of a processor, or more than 1 GB beside the libraries. Nothing may write a
file. What breaks this is kept and makes the exit code 1. In use a confined process stands around all this; it is left
out here, so that what it would catch is seen. Keras files are read up to the copy that TensorFlow gets.
"""

import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.model_files import FORMATS, SIDE, Format, formats

MOST_S, MOST_BYTES = 20.0, 1 << 30
_MOST_WALL_S = 300
#: What is said where the container's own check refuses the file.
_OF_THE_CONTAINER = (
    "damaged archive", "truncated", "not an ONNX model", "damaged safetensors", "cannot be read",
    "not a model that is known", "HDF5 is damaged",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How it ended: `loaded`, `refused`, or what must not be; and what was said."""

    how: str
    said: str
    seconds: float
    bytes: int

    @property
    def bad(self) -> bool:
        """True for what breaks a rule."""
        return self.how not in ("loaded", "refused") or self.seconds > MOST_S or self.bytes > MOST_BYTES

    @property
    def is_past_the_container(self) -> bool:
        """Whether it was more than a damaged container."""
        return not any(text in self.said for text in _OF_THE_CONTAINER)


def main() -> int:
    """Run until the time or the files are over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=10**9)
    parser.add_argument("--of", nargs="*", choices=tuple(FORMATS), default=list(FORMATS))
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz-loaders"))
    options = parser.parse_args()
    load_everything()
    counts: Counter[str] = Counter()
    past, slowest, bad = 0, 0.0, 0
    found = formats(tuple(options.of))
    with tempfile.TemporaryDirectory() as folder:
        for each in found:
            good = tried(each, each.good, Path(folder))
            if good.how != "loaded" and not (each.name == "state_dict" or each.name == "safetensors"):
                raise SystemExit(f"the good {each.name} does not load: {good.how} {good.said}")
        end = time.monotonic() + options.seconds
        rng, number = random.Random(options.seed), 0
        while number < options.most and time.monotonic() < end:
            each = found[number % len(found)]
            data = each.changed(rng)
            outcome = tried(each, data, Path(folder))
            counts[f"{each.name} {outcome.how}"] += 1
            past += outcome.is_past_the_container
            slowest = max(slowest, outcome.seconds)
            if outcome.bad:
                bad += 1
                options.keep.mkdir(parents=True, exist_ok=True)
                kept = options.keep / f"{options.seed}-{number}{each.suffix}"
                kept.write_bytes(data)
                print(
                    f"{kept}: {outcome.how}, {outcome.seconds:.1f} s, {outcome.bytes >> 20} MiB: {outcome.said[-300:]}"
                )
            number += 1
    print(f"{number} files, seed {options.seed}: {dict(sorted(counts.items()))}")
    print(f"{past / max(number, 1):.0%} got past the container, slowest {slowest:.1f} s, {bad} bad")
    return int(bad > 0)


def load_everything() -> None:
    """Libraries that workers would load again and again."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import h5py  # noqa: F401
    import onnx
    import torch

    from edgeguard_converters.load import keras_files, onnx, registry  # noqa: F401, F811
    from edgeguard_converters.load.onnx_graph import program  # noqa: F401
    from edgeguard_converters.load.torchvision_operators import make_torchvision_importable
    from edgeguard_converters.load.zoo.index import known_classes

    torch.set_num_threads(1)
    make_torchvision_importable()
    known_classes()


def tried(kind: Format, data: bytes, folder: Path) -> Outcome:
    """Read a file in a forked worker."""
    inside = folder / "inside"
    inside.mkdir(exist_ok=True)
    path, said = inside / f"m{kind.suffix}", folder / "said"
    path.write_bytes(data)
    said.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        os.chdir(inside)
        _end(path, said, keras=kind.suffix in (".h5", ".keras"))
    _, status, spent = os.wait4(child, 0)
    seconds = spent.ru_utime + spent.ru_stime
    written = [entry.name for entry in inside.iterdir() if entry != path]
    for name in (*written, path.name):
        (inside / name).unlink()
    how, _, rest = (said.read_text() if said.is_file() else "").partition("\n")
    size, _, text = rest.partition("\n")
    if written:
        return Outcome(f"wrote {written[0]}", text, seconds, 0)
    if status != 0 or not how:
        return Outcome(f"ended by {os.waitstatus_to_exitcode(status)}", text, seconds, 0)
    return Outcome(how, text, seconds, int(size or 0))


def _end(path: Path, said: Path, *, keras: bool) -> None:
    from edgeguard.errors import EdgeGuardError

    resource.setrlimit(resource.RLIMIT_CPU, (int(2 * MOST_S),) * 2)
    signal.alarm(_MOST_WALL_S)  # for one that waits; the machine may be busy
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    try:
        _read(path, said.parent, keras=keras)
        how, text = "loaded", ""
    except EdgeGuardError as error:
        how, text = "refused" if "\n" not in str(error) else "several lines", str(error)
    except BaseException as error:  # what it is has to be seen
        how, text = f"raised {type(error).__name__}", str(error)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    said.write_text(f"{how}\n{grown}\n{text}", errors="replace")
    os._exit(0)


def _read(path: Path, scratch: Path, *, keras: bool) -> None:
    if keras:
        from edgeguard_converters.load.keras_files import checked_copy

        copies = scratch / "copies"
        copies.mkdir(exist_ok=True)
        checked_copy(path, copies)
        return
    import numpy as np

    from edgeguard_converters.load.registry import load_source

    source = load_source(path, size=None if path.suffix in (".pt2", ".onnx") else (SIDE, SIDE))
    width, height = source.size or (SIDE, SIDE)
    channels = 1 if source.facts.color == "GRAY" else 3
    source.not_finite(), source.parameter_count()
    if width * height <= 1 << 16:
        source.outputs(np.zeros((1, height, width, channels), np.float32))


if __name__ == "__main__":
    sys.exit(main())
