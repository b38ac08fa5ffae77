"""Fourteen ways in which people save one network, and what `edgeguard convert` makes of each, flags aside.

The network is torchvision's MobileNetV2 with the weights of a trained one (--weights mobilenet_v2_imagenet.pt2), else
with random ones whose batch normalization has seen the pictures; the latter say nothing about the gates. Each is
loaded as `convert` loads it (in a confined process), and what the loaded model answers is compared with the network's
own answers; those named with --convert go through the whole conversion, gates included.

    python benchmarks/saving_ways.py photos/                      # loads all of them: a minute or two
    python benchmarks/saving_ways.py photos/ --convert module bare # and converts two
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.datasets.images import read_folder
from edgeguard.errors import EdgeGuardError
from edgeguard_converters.load.model_process import ModelProcess
from edgeguard_converters.load.torchvision_operators import make_torchvision_importable

_KEEP = make_torchvision_importable()

import torch  # noqa: E402
import torchvision  # noqa: E402

SIDE, CLASSES = 224, 10
Save = Callable[[Any, Path], None]


def _pickled(make: Callable[[Any], Any]) -> Save:
    return lambda net, path: torch.save(make(net), path)


def _safetensors(net: Any, path: Path) -> None:
    from safetensors.torch import save_file

    save_file(net.state_dict(), path)


def _traced(net: Any, path: Path) -> None:
    torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3, SIDE, SIDE)), path)


def _exported(net: Any, path: Path) -> None:
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, SIDE, SIDE),)), path)


def _compiled(net: Any) -> Any:
    return torch.compile(net)


def _onnx(new: bool) -> Save:
    def save(net: Any, path: Path) -> None:
        torch.onnx.export(net, (torch.zeros(1, 3, SIDE, SIDE),), str(path), dynamo=new, verbose=False)

    return save


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
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--convert", nargs="*", default=[], help="ways to convert whole, with --calibrate alone")
    parser.add_argument("--bare", nargs="*", default=[], help="ways to convert whole, with no flag at all")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--weights", type=Path, help="a .pt2 of a trained MobileNetV2, its normalization folded")
    parser.add_argument("--only", nargs="*", help="these ways alone")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    net = _network(wanted.photos, wanted.images) if wanted.weights is None else _trained(wanted.weights)
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = net(x).numpy()
    print(f"{'way':14s} {'loads bare':12s} {'difference':>10s}  {'says its preprocessing':24s} seconds  what was said")
    with tempfile.TemporaryDirectory() as folder:
        for name, suffix, save in WAYS:
            if wanted.only and name not in wanted.only:
                continue
            path = Path(folder) / f"{name.replace(' ', '-')}{suffix}"
            save(net, path)
            print(_row(name, path, x.permute(0, 2, 3, 1).contiguous().numpy(), expected), flush=True)
            if name in (*wanted.convert, *wanted.bare):
                flags = [] if name in wanted.bare else ["--calibrate", str(wanted.photos)]
                print(_converted(path, flags), flush=True)
    return 0


def _network(photos: Path, count: int) -> torch.nn.Module:
    """A MobileNetV2 whose batch normalization has seen pictures, so that its activations are of a network's size."""
    import cv2

    torch.manual_seed(0)
    net: torch.nn.Module = torchvision.models.mobilenet_v2(num_classes=CLASSES)
    pictures = [_pixels(image.content()) for image in read_folder(photos)[:count]]
    pixels = np.stack([cv2.resize(picture, (SIDE, SIDE)) for picture in pictures]).astype(np.float32)
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    x = torch.from_numpy(((pixels - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net.train()
        for start in range(0, len(x), 20):
            net(x[start : start + 20])
        head: Any = net.classifier
        torch.nn.init.normal_(head[1].weight, std=0.3)
    return net.eval()


def _trained(program: Path) -> torch.nn.Module:
    """The trained filters in order, each normalization with the bias that was folded into its filter."""
    tensors = [t for t in torch.export.load(program).state_dict.values() if t.ndim]
    net: Any = torchvision.models.mobilenet_v2(num_classes=len(tensors[-1]))
    filters = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    norms: list[Any] = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for filter_, norm, weight, bias in zip(filters, norms, tensors[:-2:2], tensors[1:-2:2], strict=True):
            filter_.weight.copy_(weight)
            norm.bias.copy_(bias)
            norm.running_var.fill_(1 - norm.eps)
        net.classifier[1].weight.copy_(tensors[-2].flatten(1))
        net.classifier[1].bias.copy_(tensors[-1])
    trained: torch.nn.Module = net.eval()
    return trained


def _pixels(content: Any) -> Any:
    import cv2

    if isinstance(content, np.ndarray):
        return content
    found: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return found[:, :, ::-1]


def _row(name: str, path: Path, x: Any, expected: Any) -> str:
    began = time.monotonic()
    size = None if name != "traced" else (SIDE, SIDE)
    try:
        with ModelProcess() as process:
            try:
                source = process.load(path)
                bare = "yes"
            except EdgeGuardError:
                source = process.load(path, size=size)
                bare = "with --size"
            found = source.outputs(x)[0]
            said = source.facts.stated_by or ("file" if source.facts.mean else "no: guessed")
            lines = "; ".join(source.facts.said)
    except EdgeGuardError as error:
        return f"{name:14s} {'no':12s} {'':>10s}  {'':24s} {time.monotonic() - began:7.1f}  {error}"
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    return f"{name:14s} {bare:12s} {difference:10.1e}  {said:24s} {time.monotonic() - began:7.1f}  {lines}"


def _converted(path: Path, flags: list[str]) -> str:
    began = time.monotonic()
    command = [sys.executable, "-c", "from edgeguard.cli.main import main; main()", "convert", str(path), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    shown = [line for line in done.stdout.splitlines() if line.startswith(("wrote", "preproc", "torch vs", "float vs"))]
    shown = shown or done.stderr.strip().splitlines()[-1:]
    head = f"    convert {path.name} {' '.join(flags)}: exit {done.returncode}, {time.monotonic() - began:.0f} s"
    return "\n".join([head, *(f"    {line}" for line in shown)])


if __name__ == "__main__":
    sys.exit(main())
