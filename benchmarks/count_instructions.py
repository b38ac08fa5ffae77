"""How many instructions an aarch64 board executes for a frame of 1280x720, stage by stage, counted under emulation.

    python benchmarks/count_instructions.py build/release/aarch64-bookworm [--qemu qemu-aarch64]

The folder is the root and environment that `make test-aarch64` made. Needs cc and QEMU's user mode with plugins
(Debian: qemu-user; the static one has none). The counts are exact for this wheel, this model and this frame. **They
say nothing of time**: a core does between a half and four of them in a cycle.
"""

import argparse
import os
import re
import subprocess
import tempfile
from pathlib import Path

import cv2

from edgeguard.scene.views import render, stand_in_views

HERE = Path(__file__).parent / "predict"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("environment", type=Path)
    parser.add_argument("--qemu", default="qemu-aarch64")
    parser.add_argument("--frame", type=Path, help="a JPEG; without it a rendered one of quality 90, 4:2:0")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plugin, frame = Path(folder) / "count.so", given.frame or Path(folder) / "frame.jpg"
        source = HERE / "count_instructions.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", plugin, source], check=True)
        if given.frame is None:
            rgb = render(stand_in_views(1)[0], 1280, 720)
            cv2.imwrite(str(frame), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        for name, count in counts(given.qemu, given.environment, plugin, frame).items():
            print(f"{name:<28} {count / 1e6:9.2f} million")


def counts(qemu: str, environment: Path, plugin: Path, frame: Path) -> dict[str, int]:
    """Instructions of each stage, without those that marking itself takes."""
    root = environment / "root"
    site = next((environment / "venv" / "lib").glob("python3.*")) / "site-packages"
    words = [qemu, "-L", root, "-plugin", plugin, root / "usr" / "bin" / site.parent.name, HERE / "stages.py", frame]
    variables = {**os.environ, "PYTHONPATH": str(site), "PYTHONHOME": str(root / "usr"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, words)), env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr[-2000:])
    numbers = [int(one) for one in re.findall(r"^executed (\d+)$", done.stderr, re.M)]
    found = dict(zip(done.stdout.split("\n"), numbers, strict=False))
    marking = found.pop("nothing")
    return {name: count - marking for name, count in found.items() if name not in ("start", "print", "")}


if __name__ == "__main__":
    main()
