"""What a compiler's model of a core says of the kernel's inner loops: a prediction for boards that nobody has here.

    python benchmarks/predict_boards.py [--llvm-mca llvm-mca-19]

Needs g++, aarch64-linux-gnu-g++ and llvm-mca (Debian: llvm-19), no board. The loops are compiled with the flags of
the wheel. llvm-mca then plays their instructions on its model of a core, with every load in the first cache and every
branch foreseen. The same is done for this machine's own instruction sets, **where the loops and a whole frame are
timed as well**: what the prediction misses there is printed beside every prediction for a board. A board's core may
be missed by more.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent / "predict"
FLAGS = ("-O3", "-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")
SCHEDULED = ("-fschedule-insns", "-fsched-pressure")
#: This machine's instruction sets with the flags of CMakeLists.txt, widest last.
X86 = {
    "sse4.1": ("-msse4.1", *SCHEDULED),
    "avx2": ("-mavx2", *SCHEDULED),
    "avx512": ("-mavx2", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"),
}
#: A board's core: llvm-mca's model and the clock in GHz. LLVM describes the A72 by the A57. For the A76 the model of
#: the server core that was made from it is the better one.
BOARDS = {
    "Raspberry Pi Zero 2 W": ("cortex-a53", 1.0),
    "Raspberry Pi 3 B+": ("cortex-a53", 1.4),
    "Raspberry Pi 4": ("cortex-a72", 1.8),
    "Raspberry Pi 5": ("neoverse-n1", 2.4),
    "Coral Dev Board": ("cortex-a53", 1.5),
}
LOOPS = ("blocks", "split", "merge")
WIDTH, HEIGHT, CHANNELS = 1280, 720, 3


@dataclass(frozen=True)
class Predicted:
    """One turn of a loop on a core.

    Attributes:
        cycles: of a turn, when turns follow each other.
        instructions: of a turn.
        port: of the core that is busiest, and the share of the cycles that it is.
    """

    cycles: float
    instructions: int
    port: str
    share: float


def assembly(compiler: str, flags: tuple[str, ...], outside: int) -> str:
    """The loops as the compiler makes them, with marks."""
    words = [compiler, *FLAGS, *flags, "-DMARKED", f"-DOUTSIDE={outside}", "-S", str(HERE / "block.cpp"), "-o", "-"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def marked(text: str, name: str) -> str:
    """What stands between the marks of a loop.

    Example:
        >>> marked("a\\n# LLVM-MCA-BEGIN x\\nadd\\n# LLVM-MCA-END x\\nb", "x")
        'add'
    """
    found = re.search(rf"LLVM-MCA-BEGIN {name}\n(.*?)\n[^\n]*LLVM-MCA-END {name}\n", text, re.S)
    if found is None:
        raise SystemExit(f"the compiler moved the marks of {name}")
    return found[1]


def predict(program: str, triple: str, core: str, code: str) -> Predicted:
    """Play a loop 100 times on a core's model."""
    words = [program, f"-mtriple={triple}", f"-mcpu={core}", "-iterations=100", "-json", "-"]
    done = subprocess.run(words, input=code, capture_output=True, text=True, check=True)
    read = json.loads(done.stdout)
    region, names = read["CodeRegions"][0], read["TargetInfo"]["Resources"]
    summary = region["SummaryView"]
    count, cycles = len(region["Instructions"]), summary["TotalCycles"] / summary["Iterations"]
    busy: dict[str, float] = {}
    for use in region["ResourcePressureView"]["ResourcePressureInfo"]:
        if use["InstructionIndex"] == count:  # the row of the whole turn
            name = names[use["ResourceIndex"]].partition(".")[0]
            busy[name] = max(busy.get(name, 0.0), use["ResourceUsage"])
    port = max(busy, key=lambda name: busy[name])
    return Predicted(cycles, count, port, busy[port] / cycles)


def all_loops(program: str, triple: str, core: str, compiler: str, flags: tuple[str, ...]) -> dict[str, Predicted]:
    """Each loop on a core; `corner` is `blocks` for blocks that keep nothing outside their corner."""
    whole, corner = assembly(compiler, flags, 1), assembly(compiler, flags, 0)
    found = {name: predict(program, triple, core, marked(whole, name)) for name in LOOPS}
    return {**found, "corner": predict(program, triple, core, marked(corner, "blocks"))}


def measured(flags: tuple[str, ...]) -> dict[str, float]:
    """Cycles of a turn of each loop on this machine."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for outside in (1, 0):
            program = Path(folder) / f"cycles{outside}"
            sources = [HERE / "block.cpp", HERE / "cycles.cpp"]
            subprocess.run(
                ["g++", *FLAGS, *flags, f"-DOUTSIDE={outside}", *map(str, sources), "-o", program], check=True
            )
            printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
            pairs = [line.split() for line in printed.splitlines()]
            lines = {name: float(value) for name, value in pairs}
            found |= {name: lines[name] for name in (*LOOPS, "GHz")} if outside else {"corner": lines["blocks"]}
    return found


def frame_times_ms(sets: Sequence[str]) -> dict[str, float]:
    """A whole frame through the installed kernel by each instruction set: the fastest of 60 turns, one core."""
    from edgeguard.dct.native_kernel import sanitize_native
    from edgeguard.guard import GuardProfile
    from edgeguard.scene.views import render, stand_in_views

    rgb, profile = render(stand_in_views(1)[0], WIDTH, HEIGHT), GuardProfile.preset("fd")
    least = dict.fromkeys(sets, float("inf"))
    for _ in range(60):
        for name in sets:
            start = time.perf_counter()
            sanitize_native(rgb, profile, instruction_set=name)
            least[name] = min(least[name], 1e3 * (time.perf_counter() - start))
    return least


def _here() -> Iterator[tuple[str, tuple[str, ...]]]:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("flags")[2].partition("\n")[0].split()
    for name, words in X86.items():
        if {"sse4.1": "sse4_1", "avx2": "avx2", "avx512": "avx512bw"}[name] in flags:
            yield name, words


def frame_ms(loops: dict[str, Predicted], clock_ghz: float, blocks: str, lanes: int = 8, group: int = 16) -> float:
    """Milliseconds of one frame of 1280x720 through `fd`, all its blocks alike, one core."""
    turns = WIDTH * HEIGHT / 8 / lanes * CHANNELS
    cycles = turns * loops[blocks].cycles + WIDTH * HEIGHT / group * (loops["split"].cycles + loops["merge"].cycles)
    return cycles / clock_ghz / 1e6


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--llvm-mca", default="llvm-mca-19")
    parser.add_argument("--x86-core", default="native", help="llvm-mca's model of this machine")
    given = parser.parse_args()
    missing = [name for name in ("g++", "aarch64-linux-gnu-g++", given.llvm_mca) if shutil.which(name) is None]
    if missing:
        sys.exit(f"not here: {', '.join(missing)} (Debian: g++, g++-aarch64-linux-gnu, llvm-19)")

    print("this machine            loop      predicted   measured   measured / predicted   (cycles a turn)")
    ratios: list[float] = []
    whole = frame_times_ms([name for name, _ in _here()])
    for name, flags in _here():
        loops, times = all_loops(given.llvm_mca, "x86_64", given.x86_core, "g++", flags), measured(flags)
        for loop, one in loops.items():
            ratios.append(times[loop] / one.cycles)
            print(f"{name:<22}  {loop:<8} {one.cycles:10.1f} {times[loop]:10.1f} {ratios[-1]:14.2f}")
        lanes = {"sse4.1": 8, "avx2": 16, "avx512": 32}[name]
        group = 16 if name == "sse4.1" else 32
        least, most = (frame_ms(loops, times["GHz"], which, lanes, group) for which in ("corner", "blocks"))
        # Between the two stands a frame's own share of blocks in their corner: only what lies outside is missed.
        ratios.append(whole[name] / min(max(whole[name], least), most))
        print(
            f"{name:<22}  a frame   {least:.2f} to {most:.2f} ms, {whole[name]:.2f} ms{ratios[-1]:13.2f}"
            f"   (core at {times['GHz']:.2f} GHz)"
        )
    low, high = min(ratios), max(ratios)
    print(f"\nmeasured / predicted: {low:.2f} to {high:.2f}; every figure below is multiplied by both\n")

    print("PREDICTED, not measured: 1280x720, fd, frame to frame, one core, every byte in the first cache")
    print(f"{'board':<22} {'model':<12} {'cycles a block':>22} {'busiest port':>26} {'ms a frame':>26}")
    for board, (core, clock) in BOARDS.items():
        loops = all_loops(given.llvm_mca, "aarch64", core, "aarch64-linux-gnu-g++", ())
        corner, full = loops["corner"], loops["blocks"]
        least, most = frame_ms(loops, clock, "corner"), frame_ms(loops, clock, "blocks")
        print(
            f"{board:<22} {core:<12} {corner.cycles:7.0f} to {full.cycles:4.0f} ({full.instructions:3d})"
            f" {full.port:>20} {full.share:4.0%} {least:6.1f} to {most:4.1f} ({least * low:.1f} to {most * high:.1f})"
        )


if __name__ == "__main__":
    main()
