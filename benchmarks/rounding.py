"""What `convert --round adaptive` brings: one network, several guards, both ways of rounding on the same pictures.

    python benchmarks/rounding.py mobilenet_v2_imagenet.pt2 --calibrate cal/ --eval ev/ --results rows.jsonl \
        --also --preprocess tf --crop center:0.875

Prints the gates of each conversion: SNR in dB of int8 to float, agreement with its 95 % interval, top-1 where the
pictures are labelled, and seconds. --results keeps the rows; what stands there is not done again. `--also` comes last:
what follows goes to `convert` as it is.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDINGS = ("nearest", "adaptive")
_RUN = (sys.executable, "-c", "from edgeguard.cli.main import main; main()", "convert")


def main() -> int:
    """Print the rows."""
    wanted = _arguments()
    kept = [] if wanted.results is None or not wanted.results.is_file() else wanted.results.read_text().splitlines()
    rows: list[dict[str, Any]] = [*map(json.loads, kept)]
    for guard in wanted.guards:
        for rounding in wanted.rounds:
            key = {"model": wanted.model.name, "guard": guard, "rounding": rounding}
            row = next((row for row in rows if key.items() <= row.items()), None)
            if row is None:
                row = {**key, **_converted(wanted, guard, rounding)}
                if wanted.results is not None:
                    with wanted.results.open("a") as file:
                        print(json.dumps(row), file=file)
            print(_line(row), flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--eval", type=Path, required=True)
    parser.add_argument("--guards", nargs="*", default=["none", "fd:frame", "fd:input", "fd-jpeg:frame"])
    parser.add_argument("--rounds", nargs="*", default=list(ROUNDINGS), choices=ROUNDINGS)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--also", nargs=argparse.REMAINDER, default=[], help="for convert, comes last")
    return parser.parse_args()


def _converted(wanted: argparse.Namespace, guard: str, rounding: str) -> dict[str, Any]:
    profile, _, place = guard.partition(":")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(*_RUN, wanted.model, "--output", Path(folder) / "m.tflite", "--calibrate", wanted.calibrate),
            *("--eval", wanted.eval, "--guard", profile, "--round", rounding, "--json"),
            *(("--place", place) if place else ()),
            *wanted.also,
        ]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    row: dict[str, Any] = {"seconds": round(time.monotonic() - began), "exit": done.returncode}
    if done.returncode:
        return {**row, "said": done.stderr.strip().splitlines()[-1]}
    return {**row, "gates": json.loads(done.stdout)["contract"]["gates"]}


def _line(row: dict[str, Any]) -> str:
    head = f"{row['guard']:14s} {row['rounding']:9s} {row['seconds']:4d} s"
    if row["exit"]:
        return f"{head}  exit {row['exit']}: {row['said']}"
    gates = row["gates"]
    top1 = "" if gates.get("int8_top1") is None else f", top-1 {gates['float_top1']:.4f} -> {gates['int8_top1']:.4f}"
    return (
        f"{head}  SNR {gates['snr_db']:.2f} dB, agreement {gates['agreement']:.3f} [{gates['agreement_low']:.3f}, "
        f"{gates['agreement_high']:.3f}], n = {gates['n']}, ranges {gates['ranges']}{top1}"
    )


if __name__ == "__main__":
    sys.exit(main())
