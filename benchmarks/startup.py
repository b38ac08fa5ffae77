"""How long `edgeguard --help` takes, as a ratio to `python -c "import typer"`. The bar is 2.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 15
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import typer": ["-c", "import typer"],
    "edgeguard --help": [
        "-c",
        "import sys; sys.argv = ['edgeguard', '--help']; from edgeguard.cli.main import main; main()",
    ],
}


def main() -> None:
    """Interleave the commands, print medians and the ratio."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, seconds in medians.items():
        print(f"{name:18s} {seconds * 1e3:7.1f} ms")
    print(f"ratio to import typer: {medians['edgeguard --help'] / medians['import typer']:.2f} (bar: 2)")


if __name__ == "__main__":
    main()
