"""Mutated .tflite files and contracts through the commands that read them, each in a forked worker:

    python tests/fuzz/fuzz_models.py --seconds 30 [--seed 1] [--most 5000] [--through commands] [--keep FOLDER]

A file may be refused in one line (exit code 2), fail a check (1), or work (0). It may not end the process by a signal,
exit with 70, take 20 s of processor time more than the bundled model does (or wait for 20 s), or a process larger
than 1 GB. What breaks this is kept and makes the exit code 1.
`--through commands` starts `edgeguard` anew for each file; by default workers are forked from a process that has loaded
everything.
"""

import argparse
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

from model import crafted

from edgeguard.demo.assets import bundled_model

MOST_S, MOST_BYTES = 20.0, 1 << 30
COMMANDS = ("run", "model show", "bench", "evaluate")
#: Where a file has no twin, attacks by queries take the place of the others: as many as they need would take minutes.
FEW_QUERIES = {"square": {"queries": 20}, "hop-skip-jump": {"steps": 1, "queries": 200}}
#: A process that computes for a smaller share of its time waits.
_BUSY = 0.03
_HEAD = 12_000  # of the bundled file's 137 kB; the rest is weights
_NASTY = (0, 1, 2, 4, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass(frozen=True)
class Case:
    """A file, the command that reads it, and how it came about."""

    data: bytes
    command: str
    how: str


def main() -> int:
    """Run until the time or the files are over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=10**9)
    parser.add_argument("--through", choices=("forks", "commands"), default="forks")
    parser.add_argument("--of", choices=("models", "contracts"), default="models")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz-models"))
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.through == "forks":
        _load_everything()
    run = _forked if options.through == "forks" else _started
    codes: Counter[str] = Counter()
    slowest, largest, bad = 0.0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        pictures = _pictures(Path(folder) / "pictures")
        path = Path(folder) / "m.tflite"
        path.write_bytes(bundled_model().read_bytes())
        usual_s = {}
        for command in COMMANDS:
            began = _clocks()
            outcome, said, _ = run(_words(command, path, pictures, Path(folder)), Path(folder))
            usual_s[command] = _seconds(began, _clocks())
            if outcome != "0":
                raise SystemExit(f"the bundled model does not pass {command}: {said}")
        end = time.monotonic() + options.seconds
        for number, case in enumerate(_cases(random.Random(options.seed), options.of)):
            if number >= options.most or time.monotonic() > end:
                break
            path.write_bytes(case.data)
            began = _clocks()
            outcome, said, size = run(_words(case.command, path, pictures, Path(folder)), Path(folder))
            took = _seconds(began, _clocks())
            codes[f"{case.command} {outcome}"] += 1
            took -= usual_s[case.command]
            slowest, largest = max(slowest, took), max(largest, size)
            if outcome not in ("0", "1", "2", "3") or took > MOST_S or size > MOST_BYTES or "Traceback" in said:
                bad += 1
                options.keep.mkdir(parents=True, exist_ok=True)
                kept = options.keep / f"{options.seed}-{number}-{case.command.replace(' ', '-')}.tflite"
                kept.write_bytes(case.data)
                print(
                    f"{kept}: {outcome}, {took:.1f} s, {size >> 20} MiB, {case.how}: {said.strip()[-300:]}", flush=True
                )
    print(f"{sum(codes.values())} files, seed {options.seed}: {dict(sorted(codes.items()))}")
    print(f"slowest {slowest:+.1f} s beside the bundled model, largest process {largest >> 20} MiB, {bad} bad")
    return int(bad > 0)


def _clocks() -> tuple[float, float]:
    """The wall's clock, and the processor time of all children that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic(), used.ru_utime + used.ru_stime


def _seconds(began: tuple[float, float], ended: tuple[float, float]) -> float:
    """Processor time, which other work on the machine does not lengthen; of what only waits, the wall's time."""
    wall_s, used_s = ended[0] - began[0], ended[1] - began[1]
    return used_s if used_s > _BUSY * wall_s else wall_s


def _cases(rng: random.Random, of: str) -> Iterator[Case]:
    bundled = bundled_model().read_bytes()
    bases = [bundled, bundled, crafted.harmless(), crafted.divides(), crafted.fills(), crafted.never_ends()]
    ways: tuple[Callable[[random.Random, bytes], bytes], ...] = (_bytes, _words_of_32, _objects)
    number = 0
    while True:
        command = COMMANDS[number % len(COMMANDS)]
        if of == "contracts":
            yield Case(_contract(rng, bundled), command, "contract")
        else:
            way = rng.choice(ways)
            yield Case(way(rng, rng.choice(bases)), command, way.__name__.strip("_"))
        number += 1


def _bytes(rng: random.Random, base: bytes) -> bytes:
    """Single bytes of the structure."""
    data = bytearray(base)
    for _ in range(rng.randint(1, 12)):
        data[rng.randrange(8, min(len(data), _HEAD)) if rng.random() < 0.5 else -rng.randint(1, 9000) % len(data)] = (
            rng.randrange(256)
        )
    return bytes(data)


def _words_of_32(rng: random.Random, base: bytes) -> bytes:
    """Aligned numbers: lengths, offsets and values."""
    data = bytearray(base)
    for _ in range(rng.randint(1, 4)):
        place = 4 * rng.randrange(2, min(len(data), _HEAD) // 4 - 1)
        if rng.random() < 0.5:
            place = max(8, len(data) - len(data) % 4 - 4 * rng.randint(1, 2500))
        value = rng.choice(_NASTY) if rng.random() < 0.5 else rng.randrange(2048)
        data[place : place + 4] = value.to_bytes(4, "little")
    return bytes(data)


def _objects(rng: random.Random, base: bytes) -> bytes:
    """A file that is whole, and says something else."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(base))
    graph = rng.choice(model.subgraphs)
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.1:
            graph.inputs, graph.outputs = graph.outputs, graph.inputs
        elif rng.random() < 0.5:
            _other_tensor(rng, rng.choice(graph.tensors), len(model.buffers))
        else:
            _other_operator(rng, model, rng.choice(graph.operators), len(graph.tensors))
    try:
        return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    except Exception:  # the writer refuses it
        return base


def _other_tensor(rng: random.Random, tensor: Any, buffers: int) -> None:
    way = rng.randrange(4)
    if way == 0:
        tensor.shape = [_side(rng) for _ in range(rng.choice((0, 1, 2, 3, 4, 4, 4, 6)))]
    elif way == 1:
        tensor.type = rng.randrange(20)
    elif way == 2:
        tensor.buffer = rng.randrange(buffers + 2)
    elif tensor.quantization is not None and tensor.quantization.scale is not None:
        scales = list(tensor.quantization.scale) or [1.0]
        scales[rng.randrange(len(scales))] = rng.choice((0.0, -1.0, 1e-40, 1e30, float("nan"), float("inf")))
        tensor.quantization.scale = scales if rng.random() < 0.7 else scales[:1]


def _other_operator(rng: random.Random, model: Any, operator: Any, tensors: int) -> None:
    way = rng.randrange(4)
    if way == 0 and operator.inputs is not None and len(operator.inputs):
        operator.inputs = list(operator.inputs)
        operator.inputs[rng.randrange(len(operator.inputs))] = rng.randrange(-2, tensors + 1)
    elif way == 1:
        operator.outputs = [rng.randrange(-1, tensors + 1)]
    elif way == 2:
        code = rng.choice(model.operatorCodes)
        code.builtinCode = rng.randrange(210)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    elif operator.builtinOptions is not None:
        name = rng.choice(list(vars(operator.builtinOptions)) or [""])
        if isinstance(getattr(operator.builtinOptions, name, None), (int, bool)):
            setattr(operator.builtinOptions, name, rng.choice((0, 1, 2, 3, 4, 5, 7, 100)))


def _side(rng: random.Random) -> int:
    return rng.choice((-1, 0, 1, 2, 3, 8, 13, 128, 1000, 100_000, 0x7FFFFFFF))


def _contract(rng: random.Random, base: bytes) -> bytes:
    """The bundled file with a contract of which a value, a key or a few bytes are others."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(base))
    number = next(entry.buffer for entry in model.metadata if entry.name in (b"edgeguard.json", "edgeguard.json"))
    text = bytes(model.buffers[number].data)
    if rng.random() < 0.3:
        changed = bytearray(text)
        for _ in range(rng.randint(1, 6)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        text = bytes(changed)
    else:
        text = _other_value(rng, text)
    import numpy as np

    model.buffers[number].data = np.frombuffer(text, np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _other_value(rng: random.Random, text: bytes) -> bytes:
    fields = json.loads(text)
    for _ in range(rng.randint(1, 2)):
        holder = fields
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = rng.choice(keys)
            inner = holder[key]
            if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
                holder = inner
                continue
            way = rng.randrange(10)
            if way == 0 and isinstance(holder, dict):
                holder[rng.choice(("x", "", "__class__", "self"))] = holder.pop(key)
            elif way == 1:
                del holder[key]
            else:
                holder[key] = _value(rng)
            break
    found = json.dumps(fields)
    if rng.random() < 0.1:
        found = found.replace('"MARK"', rng.choice(("1" + "0" * 400, "1e999", "NaN", "[" * 5000 + "]" * 5000)))
    return found.encode()


def _value(rng: random.Random) -> object:
    return rng.choice((
        None, True, False, 0, -1, 1, 2, 3.5, -0.0, 1e308, 10**400, 2**63, "", "x", "\ud800", "\x1b[2J", "frame", "none",
        "MARK", [], {}, [1, 2, 3], [0, 0, 0], ["a", None], {"a": 1}, [[]], "uint8", "detect", 8192, 1e-300,
    ))  # fmt: skip


def _pictures(folder: Path) -> Path:
    """Labeled pictures of the bundled model's classes."""
    import cv2

    from edgeguard.scene.views import render, stand_in_views

    for view in stand_in_views(4):
        assert view.card is not None
        (folder / view.card).mkdir(parents=True)
        cv2.imwrite(str(folder / view.card / "a.png"), render(view, 160, 120)[:, :, ::-1])
    return folder


_PROTOCOL = """\
schema = 1
name = "short"
title = "Short"
box = "white"
place = "contract"
images = 2
batch = 2
[[attack]]
name = "pgd"
eps_8bit = [4]
steps = 2
[[attack]]
name = "square"
eps_8bit = [8]
queries = 2
[[defence]]
name = "none"
"""


def _words(command: str, path: Path, pictures: Path, folder: Path) -> list[str]:
    if command == "run":
        return ["run", str(path), "--source", str(next(pictures.iterdir())), "--compare"]
    if command == "bench":
        return ["bench", str(path), "--seconds", "0.1", "--threads", "1"]
    if command == "evaluate":
        protocol = folder / "p.toml"
        protocol.write_text(_PROTOCOL)
        output = tempfile.mkdtemp(dir=folder)
        return ["evaluate", str(path), "--images", str(pictures), "--output", output, "--protocol", str(protocol),
                "--workers", "1"]  # fmt: skip
    return ["model", "show", str(path)]


def _load_everything() -> None:
    import torch

    import edgeguard_converters.edgetpu.predict  # noqa: F401
    from edgeguard.cli.commands import Commands
    from edgeguard.evaluate.engine.executors import ThisProcess

    torch.set_num_threads(1)
    list(Commands().values())
    # What is not read from the file only takes time: workers of evaluate load torch anew, bench decodes large frames.
    patch.dict("edgeguard.evaluate.run._QUERIES", FEW_QUERIES).start()
    patch("edgeguard.evaluate.run.LocalProcesses", lambda workers: ThisProcess()).start()
    patch("edgeguard.diagnostics.bench.SIZES", ((64, 48),)).start()
    patch("edgeguard.diagnostics.bench.frame_memory", lambda profile: None).start()


def _forked(words: list[str], folder: Path) -> tuple[str, str, int]:
    """(exit code or signal, what it printed, the largest size of it or a process of its own)."""
    from edgeguard.cli.main import main as command

    said = folder / "said"
    said.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        code: object = 71
        stream = io.StringIO()
        try:
            signal.alarm(int(6 * MOST_S))
            with redirect_stdout(stream), redirect_stderr(stream), patch.object(sys, "argv", ["edgeguard", *words]):
                command()
        except SystemExit as end:
            code = end.code
        finally:
            largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            said.write_text(f"{largest << 10}\n{stream.getvalue()}", errors="replace")
            os._exit(code if isinstance(code, int) else 72)
    _, status = os.waitpid(child, 0)
    text = said.read_text() if said.is_file() else "0\n"
    size, _, printed = text.partition("\n")
    return str(os.waitstatus_to_exitcode(status)), printed, int(size)


def _started(words: list[str], folder: Path) -> tuple[str, str, int]:
    few = (
        f"import edgeguard.evaluate.run as run\nrun._QUERIES.update({FEW_QUERIES})\n" if words[0] == "evaluate" else ""
    )
    code = few + (
        "import resource, sys\nfrom edgeguard.cli.main import main\ntry:\n    main()\nfinally:\n"
        "    print('SIZE', max(resource.getrusage(w).ru_maxrss for w in (0, -1)), file=sys.stderr)"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, timeout=6 * MOST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "hung", "", 0
    printed = done.stderr.decode("utf-8", "replace")
    size = int(printed.rpartition("SIZE ")[2].split()[0]) << 10 if "SIZE " in printed else 0
    return str(done.returncode), printed, size


if __name__ == "__main__":
    sys.exit(main())
