"""What importing each base dependency costs, in milliseconds on top of an empty Python: the table in docs/install.md.

python benchmarks/imports.py
"""

import subprocess
import sys
import time

ROUNDS = 15
MODULES = {
    "numpy": ("numpy",),
    "opencv-python-headless": ("cv2",),
    "opencv-python-headless, numpy being there": ("numpy", "cv2"),
    "ai-edge-litert": ("ai_edge_litert.interpreter",),
    "ai-edge-litert, numpy being there": ("numpy", "ai_edge_litert.interpreter"),
    "pillow": ("PIL.Image",),
    "typer": ("typer",),
    "msgspec": ("msgspec",),
}


def seconds(code: str) -> float:
    """One fresh Python."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Interleave the imports and print the fastest of each: what else the machine does only makes them slower."""
    fastest: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, modules in {"": (), **MODULES}.items():
            taken = seconds("; ".join(["pass", *(f"import {module}" for module in modules)]))
            fastest[name] = min(taken, fastest.get(name, taken))
    for name, modules in MODULES.items():
        before = fastest["numpy"] if len(modules) > 1 else fastest[""]
        print(f"{name:44s} {(fastest[name] - before) * 1000:6.0f} ms")


if __name__ == "__main__":
    main()
