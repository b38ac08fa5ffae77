"""Wall time and peak memory of a conversion.

    python benchmarks/convert.py MODEL --calibrate FOLDER --eval FOLDER [convert's other options]

Runs `edgeguard convert` and reports what it printed, the wall time of its parts and of the whole, and two peaks of
memory: of all its processes together (proportional set size, so that what they share counts once; looked at 5 times a
second) and of the largest one (resident set size, from the kernel).
"""

import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path
from threading import Thread

#: Each step of the conversion says how long it took; `start` is what came before the first, imports above all.
_TIMED = """
import sys, time
began = time.perf_counter()
import edgeguard.cli.main as line
def do(steps, work):
    global began
    if began:
        print(f"part start {time.perf_counter() - began:.1f}", file=sys.stderr)
        began = None
    for step in steps:
        at = time.perf_counter()
        step(work)
        print(f"part {step.__name__.strip('_')} {time.perf_counter() - at:.1f}", file=sys.stderr)
def in_timed_child(what, fork=line.in_child):
    fork(what)  # only the child imports it: what the parent holds counts too
    import edgeguard_converters.pipeline as pipeline
    pipeline.do = do
line.in_child = in_timed_child
line.main()
"""


def main() -> None:
    """Convert, and report."""
    launch = [sys.executable, "-c", _TIMED, "convert", *sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as folder:
        start = time.perf_counter()
        command = [*launch, "--output", str(Path(folder) / "model.tflite")]
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            told = Future[tuple[str, str]]()
            Thread(target=lambda: told.set_result(running.communicate()), daemon=True).start()
            together = 0.0
            while not told.done():
                together = max(together, sum(map(shared_out_mb, descendants(running.pid))))
                time.sleep(0.2)
        wall = time.perf_counter() - start
    out, errors = told.result()
    if running.returncode != 0:
        sys.exit(errors.strip().splitlines()[-1])
    print(out, end="")
    parts = [line.split()[1:] for line in errors.splitlines() if line.startswith("part ")]
    print(f"{'parts':15s} {', '.join(f'{name} {seconds} s' for name, seconds in parts if float(seconds) >= 0.1)}")
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{'wall':15s} {wall:.1f} s\n{'peak memory':15s} {together:.0f} MB (largest process {largest:.0f} MB)")


def descendants(process: int) -> list[int]:
    """A process and all that it started, and they."""
    try:
        tasks = [task / "children" for task in Path(f"/proc/{process}/task").iterdir()]
        children = [child for task in tasks for child in task.read_text().split()]
    except OSError:
        return [process]
    return [process, *(d for child in children for d in descendants(int(child)))]


def shared_out_mb(process: int) -> float:
    """Proportional set size; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


if __name__ == "__main__":
    main()
