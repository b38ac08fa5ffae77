"""Fourteen ways in which people save one network, and what `edgeguard convert` makes of each, flags aside.

Each file is loaded as `convert` loads it (in a confined process), and what the loaded model answers is compared with
the network's own answers. With --convert the ways that it names (or `all`) go through the whole conversion instead,
gates included, with --calibrate and nothing else (TorchScript with --size, which it does not hold); with --bare with
no flag at all. The file that was written then labels the pictures of --judge beside the first file that was written.
--results keeps the rows: what stands there is not done again.

    python benchmarks/saving_ways.py photos/                       # loads all of them: a minute or two
    python benchmarks/saving_ways.py photos/ --convert all --weights mobilenet_v2_imagenet.pt2 --results ways.jsonl

The network is torchvision's MobileNetV2 with random weights, which say nothing about the gates, or that of --weights
(see `saving_networks.py`).
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from saving_networks import Network, network

from edgeguard.datasets.images import LabeledImage, read_labeled_folder
from edgeguard.errors import EdgeGuardError
from edgeguard.model import load_model
from edgeguard_converters.load.model_process import ModelProcess
from edgeguard_converters.load.torchvision_operators import make_torchvision_importable

_KEEP = make_torchvision_importable()

import torch  # noqa: E402

Save = Callable[[Network, Path], None]
Row = dict[str, Any]
_SHOWN = ("preproc", "torch vs", "float vs", "top-1", "input")


def _pickled(make: Callable[[Any], Any]) -> Save:
    return lambda net, path: torch.save(make(net.module), path)


def _safetensors(net: Network, path: Path) -> None:
    from safetensors.torch import save_file

    save_file(net.module.state_dict(), path)


def _traced(net: Network, path: Path) -> None:
    torch.jit.save(torch.jit.trace(net.module, _example(net)), path)


def _exported(net: Network, path: Path) -> None:
    torch.export.save(torch.export.export(net.module, (_example(net),)), path)


def _compiled(module: Any) -> Any:
    return torch.compile(module)


def _onnx(new: bool) -> Save:
    def save(net: Network, path: Path) -> None:
        torch.onnx.export(net.module, (_example(net),), str(path), dynamo=new, verbose=False)

    return save


def _example(net: Network) -> torch.Tensor:
    return torch.zeros(1, 3, net.side, net.side)


#: Name, suffix, and what writes it.
WAYS: list[tuple[str, str, Save]] = [
    ("module", ".pt", _pickled(lambda net: net)),
    ("bare", ".pth", _pickled(lambda net: net.state_dict())),
    ("container", ".pth", _pickled(lambda net: {"model_state_dict": net.state_dict(), "epoch": 3})),
    ("dataparallel", ".pth", _pickled(lambda net: torch.nn.DataParallel(net).state_dict())),
    ("compiled", ".pth", _pickled(lambda net: _compiled(net).state_dict())),
    (
        "lightning",
        ".ckpt",
        _pickled(
            lambda net: {
                "state_dict": {f"model.{name}": value for name, value in net.state_dict().items()},
                "hyper_parameters": {"lr": 0.1},
                "pytorch-lightning_version": "2.5.0",
            }
        ),
    ),
    ("numpy scalar", ".pt", _pickled(lambda net: {"model": net.state_dict(), "best": np.float64(0.9)})),
    ("namespace", ".pt", _pickled(lambda net: {"model": net.state_dict(), "args": argparse.Namespace(lr=0.1)})),
    ("path", ".pt", _pickled(lambda net: {"state_dict": net.state_dict(), "data": Path("photos")})),
    ("safetensors", ".safetensors", _safetensors),
    ("traced", ".pt", _traced),
    ("pt2", ".pt2", _exported),
    ("onnx old", ".onnx", _onnx(False)),
    ("onnx new", ".onnx", _onnx(True)),
]


def main() -> int:
    """Print the rows."""
    wanted = _arguments()
    torch.set_num_threads(1)
    net = network(wanted.weights, wanted.photos)
    kept = [] if wanted.results is None or not wanted.results.is_file() else wanted.results.read_text().splitlines()
    rows: list[Row] = [row for row in map(json.loads, kept) if row["network"] == net.name]
    with tempfile.TemporaryDirectory() as folder:
        for name, suffix, save in WAYS:
            if wanted.only and name not in wanted.only:
                continue
            path = Path(folder) / f"{name.replace(' ', '-')}{suffix}"
            for kind in _kinds(name, wanted):
                row = next((row for row in rows if (row["way"], row["kind"]) == (name, kind)), None)
                if row is None:
                    if not path.is_file():
                        save(net, path)
                    row = {"network": net.name, "way": name, "kind": kind, **_done(kind, net, path, wanted, rows)}
                    rows.append(row)
                    if wanted.results is not None:
                        with wanted.results.open("a") as file:
                            print(json.dumps(row), file=file)
                print(_line(row), flush=True)
            path.unlink(missing_ok=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--convert", nargs="*", default=[], help="ways to convert with --calibrate alone, or all")
    parser.add_argument("--bare", nargs="*", default=[], help="ways to convert with no flag at all, or all")
    parser.add_argument("--judge", type=Path, help="a folder of labeled pictures for the files that are written")
    parser.add_argument("--weights", type=Path, help="a .pt2 of a trained MobileNetV2, or a .pth of zoo/train_signs.py")
    parser.add_argument("--only", nargs="*", help="these ways alone")
    parser.add_argument("--results", type=Path, help="a file of rows, one a line; those in it are not made again")
    return parser.parse_args()


def _kinds(name: str, wanted: argparse.Namespace) -> list[str]:
    chosen = [("calibrate", wanted.convert), ("bare", wanted.bare)]
    kinds = [kind for kind, names in chosen if name in names or names == ["all"]]
    return kinds if wanted.convert or wanted.bare else ["load"]


def _done(kind: str, net: Network, path: Path, wanted: argparse.Namespace, rows: list[Row]) -> Row:
    if kind == "load":
        return _loaded(net, path)
    flags = [] if kind == "bare" else ["--calibrate", str(wanted.photos)]
    flags += ["--size", str(net.side)] if path.stem == "traced" else []
    return _converted(path, flags, wanted.judge, rows)


def _loaded(net: Network, path: Path) -> Row:
    """What loading says, and the difference of the answers to the network's own."""
    began = time.monotonic()
    x = torch.randn(2, 3, net.side, net.side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = net.module(x).numpy()
    try:
        with ModelProcess() as process:
            try:
                source, flags = process.load(path), ""
            except EdgeGuardError:
                source, flags = process.load(path, size=(net.side, net.side)), "--size"
            found = source.outputs(x.permute(0, 2, 3, 1).contiguous().numpy())[0]
    except EdgeGuardError as error:
        return {"exit": 2, "seconds": round(time.monotonic() - began), "lines": [str(error)]}
    stated = source.facts.stated_by or ("the file" if source.facts.mean else "nobody")
    return {
        "exit": 0,
        "flags": flags,
        "difference": float(np.abs(found - expected).max() / np.abs(expected).max()),
        "stated_by": stated,
        "seconds": round(time.monotonic() - began),
        "lines": list(source.facts.said),
    }


def _converted(path: Path, flags: list[str], judge: Path | None, rows: list[Row]) -> Row:
    """What the command printed, and how the file that it wrote labels pictures."""
    began = time.monotonic()
    command = [sys.executable, "-c", "from edgeguard.cli.main import main; main()", "convert", str(path), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    row: Row = {"exit": done.returncode, "flags": " ".join(flags), "seconds": round(time.monotonic() - began)}
    if done.returncode:
        return {**row, "lines": done.stderr.strip().splitlines()[-1:]}
    row["lines"] = [line for line in done.stdout.splitlines() if line.startswith(_SHOWN)]
    row["said"] = done.stderr.strip().splitlines()
    written = path.with_suffix(".tflite")
    row["sha256"] = hashlib.sha256(written.read_bytes()).hexdigest()
    if judge is not None:
        model = load_model(written, isolate="never")  # it is of our own making
        pictures = read_labeled_folder(judge, model.contract.labels, outputs=None, background=model.contract.background)
        row["labels"] = [model(_pixels(picture)).index for picture in pictures]
        known = [int(picture.label or 0) + int(model.contract.background) for picture in pictures]
        row["top1"] = float(np.mean([a == b for a, b in zip(row["labels"], known, strict=True)]))
        first = next((other["labels"] for other in rows if "labels" in other), row["labels"])
        row["as_first"] = float(np.mean([a == b for a, b in zip(row["labels"], first, strict=True)]))
    written.unlink()
    return row


def _pixels(picture: LabeledImage) -> Any:
    import cv2

    content = picture.content()
    if isinstance(content, np.ndarray):
        return content
    found: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(found[:, :, ::-1])


def _line(row: Row) -> str:
    head = f"{row['way']:13s} {row['kind']:9s} exit {row['exit']}  {row['seconds']:4d} s"
    if "difference" in row:
        return f"{head}  {row['flags']} difference {row['difference']:.1e}, preprocessing by {row['stated_by']}"
    if row["exit"]:
        return f"{head}  {row['lines'][0]}"
    said = "; ".join(" ".join(line.split()) for line in row["lines"])
    judged = f"; top-1 {row['top1']:.3f}, labels as the first {row['as_first']:.3f}" if "top1" in row else ""
    return f"{head}  {row['sha256'][:12]}{judged}; {said}"


if __name__ == "__main__":
    sys.exit(main())
