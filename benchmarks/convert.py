"""Wall time and peak memory of a conversion.

    python benchmarks/convert.py MODEL --calibrate FOLDER --eval FOLDER [convert's other options]

Runs `edgeguard convert` in a process of its own and reports its wall time, the peak of its resident memory, and what it
printed.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Convert, and report."""
    launch = [sys.executable, "-c", "from edgeguard.cli.main import main; main()", "convert", *sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as folder:
        start = time.perf_counter()
        done = subprocess.run([*launch, "--output", str(Path(folder) / "model.tflite")], text=True, capture_output=True)
        wall = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(done.stderr.strip().splitlines()[-1])
    print(done.stdout, end="")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{'wall':15s} {wall:.1f} s\n{'peak memory':15s} {peak:.0f} MB")


if __name__ == "__main__":
    main()
