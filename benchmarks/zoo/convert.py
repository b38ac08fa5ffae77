"""Convert the zoo that train.py made, and print one line for each model.

    python benchmarks/zoo/convert.py FOLDER [NAME ...]

Each model is converted as it is; where the gates refuse it, again with --auto-mixed. Speeds are medians on one thread
of this machine, float and quantised graph in turn.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DETECTORS = ("yolo_style", "ssdlite")
HEAD = (
    "model                float diff  agreement [95 %]       SNR dB  "
    "top-1 float/int8  float layers    s  f32 ms  int8 ms"
)


def convert(folder: Path, name: str, target: Path, *extra: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON report (empty without one) and the last line on stderr."""
    sets = (f"{name}-cal", f"{name}-eval") if name in DETECTORS else ("cifar-cal", "cifar-eval")
    report = target.with_suffix(".json")
    report.unlink(missing_ok=True)
    launch = [
        sys.executable,
        "-c",
        "from edgeguard.cli.main import main; main()",
        "convert",
        str(folder / f"{name}.pt2"),
    ]
    files = ["--calibrate", str(folder / sets[0]), "--eval", str(folder / sets[1]), "--output", str(target)]
    done = subprocess.run(
        [*launch, *files, "--report", str(report), *extra], capture_output=True, text=True, check=False
    )
    data = json.loads(report.read_text()) if report.is_file() else {}
    return done.returncode, data, (done.stderr.strip().splitlines() or [""])[-1]


def line(name: str, report: dict[str, Any], seconds: float) -> str:
    """One row of the table."""
    gates, speed = report["gates"], report["latencies_ms"][0]
    top1 = "-" if gates["float_top1"] is None else f"{gates['float_top1']:.3f}/{gates['int8_top1']:.3f}"
    interval = f"{gates['agreement']:.3f} [{gates['agreement_low']:.3f}, {gates['agreement_high']:.3f}]"
    operators = sum(report["operators"].values())
    kept = f"{len(report['contract']['gates'].get('float_layers', []))} of {operators}"
    return (
        f"{name:20s} {gates['float_difference']:.1e}    {interval}  {gates['snr_db']:5.1f}  {top1:>16s}  {kept:>12s} "
        f"{seconds:4.0f} {speed['float_ms']:7.2f} {speed['int8_ms']:8.2f}"
    )


def main() -> None:
    """Convert them all."""
    folder = Path(sys.argv[1])
    names = sys.argv[2:] or sorted(path.stem for path in folder.glob("*.pt2"))
    print(HEAD)
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as scratch:
        target = Path(scratch) / "m.tflite"
        for name in names:
            for extra in ((), ("--auto-mixed",)):
                start = time.perf_counter()
                code, report, said = convert(folder, name, target, *extra)
                seconds = time.perf_counter() - start
                if code == 0:
                    print(line(name + (" (mixed)" if extra else ""), report, seconds), flush=True)
                    break
                print(f"{name:20s} refused: {said}", flush=True)


if __name__ == "__main__":
    main()
