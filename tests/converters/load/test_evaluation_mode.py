"""Graphs that were exported in training mode answer as in evaluation mode, or are refused."""

from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import InputError

pytest.importorskip("torch", reason="torch is not installed")

import torch


class Net(torch.nn.Module):
    """A batch normalization with statistics of its own, and a dropout."""

    def __init__(self, *, statistics: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.look = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4, track_running_stats=statistics)
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(4, 3)
        if statistics:
            assert self.norm.running_mean is not None and self.norm.running_var is not None
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.norm(self.look(x)).relu().mean((2, 3))))


def _expected(net: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        return x, net.eval()(x)


@pytest.mark.parametrize("way", ["pt2", "traced"])
def test_training_mode_is_repaired_exactly(way: str, tmp_path: Path) -> None:
    from edgeguard_converters.load.exported import load_exported
    from edgeguard_converters.load.torchscript import load_torchscript

    net = Net()
    x, expected = _expected(net)
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    path = tmp_path / f"m.{way}"
    if way == "pt2":
        torch.export.save(torch.export.export(net, (x,)), path)
        source = load_exported(path)
    else:
        traced = torch.jit.trace(net, (x,), check_trace=False)
        net.load_state_dict(kept)  # tracing has moved the statistics
        torch.jit.save(traced, path)
        source = load_torchscript(path, (16, 16))
    assert source.facts.said == (
        "THE GRAPH WAS EXPORTED IN TRAINING MODE: 1 batch normalizations take their running statistics, 1 dropouts are "
        "left out",
    )
    (found,) = source.outputs(x.permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    again = source.outputs(np.concatenate([x.permute(0, 2, 3, 1).numpy()] * 3))[0]
    np.testing.assert_allclose(again[2:], expected.numpy(), rtol=1e-5, atol=1e-6)


def test_evaluation_mode_is_left_alone(tmp_path: Path) -> None:
    from edgeguard_converters.load.exported import load_exported

    net = Net().eval()
    torch.export.save(torch.export.export(net, (torch.rand(1, 3, 16, 16),)), tmp_path / "m.pt2")
    assert load_exported(tmp_path / "m.pt2").facts.said == ()


def test_without_running_statistics_it_is_refused(tmp_path: Path) -> None:
    from edgeguard_converters.load.exported import load_exported

    torch.export.save(
        torch.export.export(Net(statistics=False).eval(), (torch.rand(1, 3, 16, 16),)), tmp_path / "m.pt2"
    )
    with pytest.raises(InputError, match="keeps no running statistics"):
        load_exported(tmp_path / "m.pt2")


def test_random_numbers_are_refused_by_their_operator() -> None:
    from edgeguard_converters.load.evaluation_mode import into_evaluation_mode

    class DropPath(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.rand_like(x)

    graph = torch.export.export(DropPath(), (torch.rand(1, 3, 4, 4),)).module(check_guards=False)
    with pytest.raises(InputError, match=r"draws random numbers \(aten.rand_like\)"):
        into_evaluation_mode(graph)


@pytest.mark.parametrize(("batch", "refused"), [(8, True), (1, False)])
def test_a_fixed_batch(batch: int, refused: bool, tmp_path: Path) -> None:
    from edgeguard_converters.load.exported import load_exported

    torch.export.save(torch.export.export(Net().eval(), (torch.rand(batch, 3, 16, 16),)), tmp_path / "m.pt2")
    if refused:
        with pytest.raises(InputError, match="fixes a batch of 8 pictures"):
            load_exported(tmp_path / "m.pt2")
    else:
        assert load_exported(tmp_path / "m.pt2").size == (16, 16)


@pytest.mark.parametrize("kind", ["dropout", "batch"])
def test_a_module_that_trains_for_ever_is_refused(kind: str) -> None:
    """`eval()` does not reach what the code itself switches on."""
    from edgeguard_converters.contract.infer import _check_repeatable
    from edgeguard_converters.load.source import FileFacts
    from edgeguard_converters.load.torch_source import TorchSource

    class Trains(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if kind == "dropout":
                return torch.nn.functional.dropout(x.mean((2, 3)), 0.5, training=True)
            return torch.nn.functional.batch_norm(x.mean((2, 3)), None, None, training=True)

    images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    source = TorchSource("module", (8, 8), FileFacts(), Trains().eval())
    with pytest.raises(InputError, match="says something else of one picture|the model fails"):
        _check_repeatable(source, images)


def test_keras_layers_that_train_for_ever_are_refused() -> None:
    from edgeguard_converters.load import keras_config

    layer = {
        "class_name": "Dropout",
        "config": {"rate": 0.5},
        "inbound_nodes": [{"args": [], "kwargs": {"training": True}}],
    }
    with pytest.raises(InputError, match="calls a layer with training=True"):
        keras_config._value(layer, "", [1000])


@pytest.mark.parametrize(
    ("operator", "training", "why"),
    [
        ("FusedBatchNormV3", True, "normalizes by the batch"),
        ("RandomUniform", False, "draws random numbers"),
        ("FusedBatchNormV3", False, None),
    ],
)
def test_saved_models_that_serve_training_are_refused(operator: str, training: bool, why: str | None) -> None:
    """The graph as TensorFlow's protobuf has it; only a function that is served is looked at."""
    from types import SimpleNamespace as Part

    from edgeguard_converters.load import keras_service

    node = Part(op=operator, attr={"is_training": Part(b=training)})
    graph = Part(node=[], library=Part(function=[Part(node_def=[node])]))
    if why is None:
        keras_service._refuse_training(graph)
    else:
        with pytest.raises(InputError, match=why):
            keras_service._refuse_training(graph)
