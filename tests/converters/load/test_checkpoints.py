"""Checkpoints as training loops write them: which weights are taken, and that each choice is said."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")

import torch

from edgeguard_converters.load.torchvision_operators import make_torchvision_importable

try:
    KEPT = make_torchvision_importable()
except ImportError:
    if os.environ.get("CI"):
        raise
    pytest.skip("torchvision is not installed", allow_module_level=True)

import torchvision

from edgeguard.errors import InputError
from edgeguard_converters.load.registry import load_source
from edgeguard_converters.load.torch_source import TorchSource

pytestmark = pytest.mark.convert
Save = Callable[[torch.nn.Module, Path], None]


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    torch.manual_seed(3)
    return torchvision.models.mobilenet_v2(num_classes=10).eval()


def _loaded(net: Any, path: Path, what: Any, **options: Any) -> TorchSource:
    torch.save(what, path)
    return _same(net, load_source(path, **options))


def _same(net: torch.nn.Module, source: Any, tolerance: float = 0.0) -> TorchSource:
    assert isinstance(source, TorchSource) and not source.module.training
    wanted = net.state_dict()
    found = source.module.state_dict()
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=tolerance, atol=tolerance, check_dtype=False)
    assert all(t.dtype in (torch.float32, torch.int64) for t in found.values())
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(source.module(x), net(x), rtol=max(tolerance, 1e-5), atol=1e-5)
    return source


def _legacy(what: Any, path: Path) -> None:
    torch.save(what, path, _use_new_zipfile_serialization=False)


def _compiled(net: torch.nn.Module) -> Any:
    return torch.compile(net)


def _prefixed(net: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in net.state_dict().items()}


WAYS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bare": (lambda n: n.state_dict(), "mobilenet_v2's, 10 classes"),
    "under state_dict": (lambda n: {"state_dict": n.state_dict(), "epoch": 3}, "'state_dict'"),
    "under model_state_dict": (lambda n: {"model_state_dict": n.state_dict(), "loss": 0.1}, "'model_state_dict'"),
    "under model with an optimizer": (
        lambda n: {"model": n.state_dict(), "optimizer": torch.optim.AdamW(n.parameters()).state_dict()},
        "'model'",
    ),
    "beside a scheduler that is an object": (
        lambda n: {
            "model": n.state_dict(),
            "lr_scheduler": torch.optim.lr_scheduler.StepLR(torch.optim.SGD(n.parameters(), 0.1), 1),
        },
        "'model'",
    ),
    "DataParallel": (lambda n: torch.nn.DataParallel(n).state_dict(), "module. was removed"),
    "compiled": (lambda n: _compiled(n).state_dict(), "_orig_mod. was removed"),
    "nested prefixes": (lambda n: _prefixed(n, "module._orig_mod.model."), "was removed"),
    "FSDP's inner names": (
        lambda n: {k.replace("features.", "features._fsdp_wrapped_module."): v for k, v in n.state_dict().items()},
        "_fsdp_wrapped_module. was removed",
    ),
    "Lightning with a criterion": (
        lambda n: {
            "state_dict": {**_prefixed(n, "model."), "criterion.weight": torch.ones(10)},
            "pytorch-lightning_version": "2.4",
            "hyper_parameters": argparse.Namespace(lr=0.1),
        },
        "1 others are left behind (criterion.weight)",
    ),
    "beside a numpy scalar": (lambda n: {"model": n.state_dict(), "best": np.float64(0.9)}, "'model'"),
    "beside a Namespace": (lambda n: {"model": n.state_dict(), "args": argparse.Namespace(a=1)}, "'model'"),
    "beside a Path": (lambda n: {"model": n.state_dict(), "data": Path("photos")}, "'model'"),
    "beside an object of a class of nobody's": (lambda n: {"model": n.state_dict(), "x": Tracker()}, "'model'"),
    "numpy arrays": (lambda n: {k: v.numpy() for k, v in n.state_dict().items()}, "10 classes"),
    "thop's counters": (
        lambda n: {**n.state_dict(), "total_ops": torch.zeros(1), "features.0.total_params": torch.zeros(1)},
        "left behind, no weights: total_ops, features.0.total_params",
    ),
}


class Tracker:
    """Something of a training loop."""

    def __init__(self) -> None:
        self.history = [1, 2]


@pytest.mark.parametrize("way", WAYS)
def test_a_state_dict_is_found_and_known(net: torch.nn.Module, tmp_path: Path, way: str) -> None:
    make, said = WAYS[way]
    source = _loaded(net, tmp_path / "m.pt", make(net))
    assert any(said in line for line in source.facts.said), source.facts.said
    assert source.kind == "state_dict" and source.size == (224, 224)
    assert source.facts.stated_by == "torchvision mobilenet_v2"
    assert source.facts.mean == pytest.approx((123.675, 116.28, 103.53))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_protocols_of_pickle(net: torch.nn.Module, tmp_path: Path, protocol: int) -> None:
    torch.save(
        {"model": net.state_dict(), "args": argparse.Namespace(a=1)}, tmp_path / "m.pt", pickle_protocol=protocol
    )
    _same(net, load_source(tmp_path / "m.pt"))


def test_the_format_before_zip(net: torch.nn.Module, tmp_path: Path) -> None:
    _legacy({"model": net.state_dict(), "args": argparse.Namespace(a=1)}, tmp_path / "m.pt")
    _same(net, load_source(tmp_path / "m.pt"))


@pytest.mark.parametrize(
    "kind", [torch.bfloat16, *(pytest.param(kind, marks=pytest.mark.full) for kind in (torch.float16, torch.float64))]
)
def test_other_precisions_become_float32(net: torch.nn.Module, tmp_path: Path, kind: torch.dtype) -> None:
    weights = {k: v.to(kind) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    torch.save(weights, tmp_path / "m.pt")
    source = _same(net, load_source(tmp_path / "m.pt"), tolerance=1e-2)
    assert f"weights of {str(kind).removeprefix('torch.')} are taken as float32" in source.facts.said


def test_safetensors(net: torch.nn.Module, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(net.state_dict(), tmp_path / "m.safetensors", metadata={"format": "pt"})
    _same(net, load_source(tmp_path / "m.safetensors"))
    whole = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-7])
    (tmp_path / "long.safetensors").write_bytes(whole[:8].replace(whole[:3], b"\xff\xff\xff", 1) + whole[8:])
    overlapping = whole.replace(b'"data_offsets":[0,', b'"data_offsets":[4,', 1)
    (tmp_path / "over.safetensors").write_bytes(overlapping)
    for name in ("cut", "long", "over"):
        with pytest.raises(InputError, match="damaged"):
            load_source(tmp_path / f"{name}.safetensors")


def test_averaged_weights_go_first_and_the_flag_takes_the_others(net: torch.nn.Module, tmp_path: Path) -> None:
    other = torchvision.models.mobilenet_v2(num_classes=10).eval()
    averaged = {"n_averaged": torch.tensor(9), **_prefixed(net, "module.")}
    checkpoint = {"model": other.state_dict(), "model_ema": averaged, "epoch": 2}
    source = _loaded(net, tmp_path / "m.pt", checkpoint)
    assert "the weights below 'model_ema' of m.pt are taken" in source.facts.said
    assert "it also holds model: --weights NAME takes another" in source.facts.said
    _loaded(other, tmp_path / "m.pt", checkpoint, weights="model")
    with pytest.raises(InputError, match="no weights named 'best'; it holds: model, model_ema"):
        load_source(tmp_path / "m.pt", weights="best")


def test_a_choice_that_no_rule_makes_is_refused(net: torch.nn.Module, tmp_path: Path) -> None:
    torch.save({"left": net.state_dict(), "right": net.state_dict()}, tmp_path / "m.pt")
    with pytest.raises(InputError, match="several sets of weights: left, right; give --weights NAME"):
        load_source(tmp_path / "m.pt")
    _same(net, load_source(tmp_path / "m.pt", weights="right"))


def test_pruned_weights_are_put_together(net: torch.nn.Module, tmp_path: Path) -> None:
    from torch.nn.utils import prune

    pruned = torchvision.models.mobilenet_v2(num_classes=10).eval()
    pruned.load_state_dict(net.state_dict())
    prune.l1_unstructured(pruned.features[0][0], "weight", 0.5)
    torch.save(pruned.state_dict(), tmp_path / "m.pt")
    prune.remove(pruned.features[0][0], "weight")
    source = load_source(tmp_path / "m.pt")
    assert isinstance(source, TorchSource)
    assert torch.equal(source.module.state_dict()["features.0.0.weight"], pruned.features[0][0].weight)
    assert "1 weights were put together, which pruning had split" in source.facts.said


def test_counters_that_older_files_lack(net: torch.nn.Module, tmp_path: Path) -> None:
    weights = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    _loaded(net, tmp_path / "m.pt", weights)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda w: w.to(torch.complex64), "complex64"),
        (lambda w: w.to_sparse(), "sparse"),
        (lambda w: w.to("meta"), r"without numbers \(device meta\)"),
        (lambda w: w.to(torch.float8_e4m3fn), "float8_e4m3fn"),
    ],
)
def test_weights_without_plain_numbers_are_refused_by_name(net: Any, tmp_path: Path, change: Any, why: str) -> None:
    torch.save({**net.state_dict(), "classifier.1.weight": change(net.classifier[1].weight.data)}, tmp_path / "m.pt")
    with pytest.raises(InputError, match=f"the weight 'classifier.1.weight' is {why}: save the float model"):
        load_source(tmp_path / "m.pt")


@pytest.mark.filterwarnings("ignore")
def test_quantised_weights_are_refused_by_name(net: Any, tmp_path: Path) -> None:
    weight = torch.quantize_per_tensor(net.classifier[1].weight.data, 0.1, 0, torch.qint8)
    torch.save({**net.state_dict(), "classifier.1.weight": weight}, tmp_path / "m.pt")
    with pytest.raises(InputError, match="'classifier.1.weight' is quantized"):
        load_source(tmp_path / "m.pt")


def test_a_storage_that_is_shared_is_read_twice(tmp_path: Path) -> None:
    """Tied weights: two names, one storage."""
    from converters.models import Residual

    weights = Residual().state_dict()
    weights["a.3.weight"] = weights["a.0.weight"]
    torch.save(weights, tmp_path / "m.pt")
    source = load_source(tmp_path / "m.pt", arch="converters.models:make_residual", size=(32, 32))
    assert isinstance(source, TorchSource)
    found = source.module.state_dict()
    assert torch.equal(found["a.3.weight"], weights["a.0.weight"])


def test_your_own_network_takes_names_with_prefixes(tmp_path: Path) -> None:
    from converters.models import Residual

    torch.save({f"module.{k}": v for k, v in Residual().state_dict().items()}, tmp_path / "m.pt")
    source = load_source(tmp_path / "m.pt", arch="converters.models:make_residual", size=(32, 32))
    assert "module. was removed from the names of the weights" in source.facts.said
