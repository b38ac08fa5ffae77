"""Thirty classifiers of torchvision and thirty of timm, in three forms: does what `convert` loads answer like torch?

    python benchmarks/zoo/known_networks.py rows.jsonl [--only 6 --seed 1] [--stage load|float] [--names NAME ...]

Each has random weights and ten classes and is saved as a state_dict, a .pt2 and ONNX (the newest exporter). Each file
is loaded as `convert` loads it; with `--stage float` it also goes through the lowering to a float .tflite. The largest
difference to torch's own answers on two random pictures is printed in parts of the largest answer. Rows that stand in
the file are not made again. Where several networks fit a state_dict that do not compute the same, `--arch` is given.
"""

import argparse
import json
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.errors import EdgeGuardError
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.load.registry import load_source
from edgeguard_converters.load.zoo.architecture import build

import torch  # isort: skip

#: At most 30 million weights each.
_TORCHVISION = """
convnext_tiny densenet121 densenet161 densenet169 densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2
efficientnet_b3 efficientnet_b4 efficientnet_v2_s googlenet inception_v3 mnasnet0_5 mnasnet1_0 mobilenet_v2
mobilenet_v3_large mobilenet_v3_small regnet_x_400mf regnet_x_800mf regnet_y_400mf regnet_y_1_6gf resnet18 resnet34
resnet50 resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 squeezenet1_1 swin_t
"""
_TIMM = """
convnext_atto cspresnet50 deit_tiny_patch16_224 dla34 edgenext_x_small efficientnet_lite0 efficientvit_b0 fbnetc_100
ghostnet_100 hardcorenas_a hrnet_w18_small inception_next_tiny lcnet_100 levit_128s mixnet_s mnasnet_100
mobilenetv2_100 mobilenetv3_large_100 mobilenetv3_small_100 mobilenetv4_conv_small mobileone_s0 nf_resnet26
regnetx_002 repvgg_a0 resnet18 resnet26d rexnet_100 seresnet18 tinynet_a vit_tiny_patch16_224
"""
NAMES = [*(f"torchvision:{name}" for name in _TORCHVISION.split()), *(f"timm:{name}" for name in _TIMM.split())]
SAME = 1e-4
_SAVED = Callable[[torch.nn.Module, torch.Tensor, Path], None]


def _state(net: torch.nn.Module, _: torch.Tensor, path: Path) -> None:
    torch.save(net.state_dict(), path)


def _program(net: torch.nn.Module, x: torch.Tensor, path: Path) -> None:
    torch.export.save(torch.export.export(net, (x[:1],)), path)


def _onnx(net: torch.nn.Module, x: torch.Tensor, path: Path) -> None:
    torch.onnx.export(net, (x[:1],), str(path), dynamo=True, verbose=False)


FORMS: dict[str, tuple[str, _SAVED]] = {
    "state_dict": (".pth", _state),
    "pt2": (".pt2", _program),
    "onnx": (".onnx", _onnx),
}


def main() -> int:
    """Print the rows, and how many are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", type=int, help="so many of them, drawn by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--names", nargs="*")
    parser.add_argument("--forms", nargs="*", default=list(FORMS), choices=list(FORMS))
    parser.add_argument("--stage", choices=("load", "float"), default="float")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    names = wanted.names or (NAMES if wanted.only is None else random.Random(wanted.seed).sample(NAMES, wanted.only))
    kept = wanted.results.read_text().splitlines() if wanted.results.is_file() else []
    rows = {(row["name"], row["form"], row["stage"]): row for row in map(json.loads, kept)}
    for name in names:
        missing = [form for form in wanted.forms if (name, form, wanted.stage) not in rows]
        for row in rows_of(name, missing, wanted.stage):
            rows[row["name"], row["form"], row["stage"]] = row
            with wanted.results.open("a") as file:
                print(json.dumps(row), file=file)
            print(f"{name:36s} {row['form']:10s} {row['seconds']:5.0f} s  {row['said']}", flush=True)
    for form in wanted.forms:
        found = [rows[name, form, wanted.stage] for name in names]
        same = sum(row["difference"] is not None and row["difference"] <= SAME for row in found)
        print(f"{form}: {same} of {len(found)} within {SAME:g}")
    return 0


def rows_of(name: str, forms: list[str], stage: str) -> list[dict[str, Any]]:
    """A row for each form of a network."""
    if not forms:
        return []
    net, x = network(name)
    with torch.no_grad():
        expected = net(x).numpy()
    found = []
    for form in forms:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            difference, said = _difference(form, net, x, expected, Path(folder), stage)
            if (
                difference is None and "do not compute the same" in said and name in said
            ):  # several fit: as the line says
                difference, said = _difference(form, net, x, expected, Path(folder), stage, arch=name)
                said += f" (--arch {name})"
        row = {"name": name, "form": form, "stage": stage, "difference": difference, "said": said}
        found.append({**row, "seconds": round(time.monotonic() - began, 1)})
    return found


def network(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """A network with weights of its own, and two pictures; normalizations have seen such pictures."""
    torch.manual_seed(0)
    net = build(name, 10)
    size = getattr(net, "pretrained_cfg", {}).get("input_size", (3, 224, 224))
    x = torch.randn(2, *(size if "inception_v3" not in name else (3, 299, 299)))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train()
            module.momentum = None
    with torch.no_grad():
        net(x)
    return net.eval(), x


def _difference(
    form: str,
    net: torch.nn.Module,
    x: torch.Tensor,
    expected: Any,
    folder: Path,
    stage: str,
    arch: str | None = None,
) -> tuple[float | None, str]:
    suffix, save = FORMS[form]
    path = folder / f"m{suffix}"
    try:
        save(net, x, path)
    except Exception as error:
        return None, f"torch does not save it: {' '.join(str(error).split())[:120]}"
    height, width = x.shape[2:]
    pixels = x.permute(0, 2, 3, 1).contiguous().numpy()
    try:
        source = load_source(path, size=(width, height) if form == "state_dict" else None, arch=arch)
        found = source.outputs(pixels)[0]
        if stage == "float":
            normalization = Normalization((0.0,) * 3, (1.0,) * 3, "as it is")
            graph = source.export(normalization, (width, height), folder, folder / "log")
            found = graph.tflite.outputs(pixels, lambda image: image)[0]
    except EdgeGuardError as error:
        return None, str(error)[:300]
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    lines = "; ".join(line for line in source.facts.said if "classes" in line or "WOULD" in line)
    return difference, f"{difference:.1e} {lines}"


if __name__ == "__main__":
    sys.exit(main())
