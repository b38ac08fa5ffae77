"""What stood below no_grad or autocast in `forward`, and weights that are standardized, answer as torch does."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the convert extra")

import torch
from torch import nn

from edgeguard.errors import InputError
from edgeguard_converters.load.exported import load_exported
from edgeguard_converters.load.refused import PickleRefused


class Wrapped(nn.Module):
    """Everything at once; `half` computes a part in half precision on the CPU."""

    def __init__(self, half: bool = False) -> None:
        super().__init__()
        self.conv, self.end, self.low = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3), half

    def forward(self, x: Any) -> Any:
        """Pictures to scores."""
        with torch.no_grad():
            x = (x - 0.5) * 2
            with torch.autocast("cuda", enabled=False):
                x, low = x + 0.25, x.mean((1, 2, 3), keepdim=True)
        x = self.conv(x).relu() - low
        with torch.autocast("cpu", enabled=self.low):
            x = x @ x.transpose(2, 3)
        x = x.float()
        return self.end(x.mean((2, 3)))


class Standardized(nn.Module):
    """A convolution whose weight goes through a batch normalization, as timm's ScaledStdConv2d does it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.gain = nn.Parameter(torch.rand(4))

    def forward(self, x: Any) -> Any:
        """Pictures to scores."""
        flat = self.weight.reshape(1, 4, -1)
        weight = nn.functional.batch_norm(flat, None, None, weight=self.gain, training=True, momentum=0.0)
        return nn.functional.conv2d(x, weight.reshape_as(self.weight)).mean((2, 3))


def _saved(net: nn.Module, path: Path) -> tuple[np.ndarray, np.ndarray]:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 12, 12)
    torch.export.save(torch.export.export(net.eval(), (x[:1],)), path)
    with torch.no_grad():
        return x.permute(0, 2, 3, 1).contiguous().numpy(), net(x).numpy()


@pytest.mark.parametrize("net", [Wrapped, Standardized])
def test_it_answers_as_torch_does(net: Callable[[], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(1)
    pixels, expected = _saved(net(), tmp_path / "m.pt2")
    source = load_exported(tmp_path / "m.pt2")
    found = np.concatenate([source.outputs(pixels[i : i + 1])[0] for i in range(2)])
    assert np.allclose(found, expected, atol=1e-5)
    module: Any = source.module
    names = {str(node.target) for node in module.graph.nodes}
    assert not any("wrap_with" in name or "aten.batch_norm" in name for name in names) and source.facts.said == ()


def test_half_precision_is_refused(tmp_path: Path) -> None:
    _saved(Wrapped(half=True), tmp_path / "m.pt2")
    with pytest.raises(InputError, match="half precision"):
        load_exported(tmp_path / "m.pt2")


def _changed(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    """The same archive with its nodes changed."""
    out = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("models/model.json"):
                program = json.loads(data)
                change(program["graph_module"]["graph"]["nodes"])
                data = json.dumps(program).encode()
            new.writestr(name, data)
    return out


def _graph_of(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    return next(one["arg"] for node in nodes for one in node["inputs"] if "as_graph" in one["arg"])


def _hides_a_call(nodes: list[dict[str, Any]]) -> None:
    _graph_of(nodes)["as_graph"]["graph"]["nodes"][0]["target"] = "torch.ops.aten.from_file.default"


def _misplaces(nodes: list[dict[str, Any]]) -> None:
    next(node for node in nodes if "conv2d" in node["target"])["inputs"][2]["arg"] = _graph_of(nodes)


def _lacks_it(nodes: list[dict[str, Any]]) -> None:
    node = next(node for node in nodes if "wrap_with" in node["target"])
    node["inputs"] = [one for one in node["inputs"] if "as_graph" not in one["arg"]]


@pytest.mark.parametrize("change", [_hides_a_call, _misplaces, _lacks_it])
def test_a_graph_within_a_graph_is_read_by_the_same_rules(change: Callable[..., None], tmp_path: Path) -> None:
    _saved(Wrapped(), tmp_path / "m.pt2")
    with pytest.raises(PickleRefused, match="from_file|a graph in the place"):
        load_exported(_changed(tmp_path / "m.pt2", change))


def test_a_call_with_too_few_arguments_is_one_line(tmp_path: Path) -> None:
    def cuts(nodes: list[dict[str, Any]]) -> None:
        node = next(node for node in nodes if "wrap_with_set_grad" in node["target"])
        node["inputs"] = node["inputs"][1:2]

    _saved(Wrapped(), tmp_path / "m.pt2")
    with pytest.raises(InputError):
        load_exported(_changed(tmp_path / "m.pt2", cuts))
