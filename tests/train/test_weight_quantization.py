import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgeguard.errors import InputError

torch = pytest.importorskip("torch")

from edgeguard.guard import GuardProfile  # noqa: E402
from edgeguard.train.coefficient_net import CoefficientNet  # noqa: E402
from edgeguard.train.config import TrainConfig  # noqa: E402
from edgeguard.train.export import load_program  # noqa: E402
from edgeguard.train.networks import network  # noqa: E402
from edgeguard.train.restore import restored  # noqa: E402
from edgeguard.train.run import train  # noqa: E402
from edgeguard.train.weight_quantization import WeightQuantizer, restrict_first_layer, with_plain_weights  # noqa: E402


def test_binary_is_the_nearest_of_its_kind() -> None:
    """Sign times mean |w| has the least square error of all s * {-1, 1} (Rastegari et al. 2016, equation 6)."""
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 3, 3, 3)))
    found = WeightQuantizer(0.0)(weight)
    for filter_, values in zip(weight.flatten(1), found.flatten(1), strict=True):
        assert torch.equal(values.sign(), filter_.sign())
        scales = torch.linspace(0.01, 3, 3000, dtype=torch.float64)
        errors = ((filter_ - scales[:, None] * filter_.sign()) ** 2).sum(1)
        assert abs(float(scales[errors.argmin()]) - float(values.abs().max())) < 2e-3


def test_ternary_by_hand_and_near_the_optimum() -> None:
    weight = torch.tensor([[1.0, -0.9, 0.1, -0.05], [0.0, 0.0, 0.0, 0.0]])
    assert torch.equal(WeightQuantizer(0.7)(weight)[0], torch.tensor([0.95, -0.95, 0.0, 0.0]))
    assert torch.equal(WeightQuantizer(0.7)(weight)[1], torch.zeros(4))
    normal = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 2000)))
    found = WeightQuantizer(0.7)(normal)
    sizes, _ = normal.abs()[0].sort(descending=True)
    # the best threshold keeps the k largest that maximise (sum of the kept)^2 / k (Li and Liu 2016, equation 4)
    best = float((sizes.cumsum(0) ** 2 / torch.arange(1, 2001)).max())
    got = float(found.abs().sum() ** 2 / (found != 0).sum())
    assert 0.99 * best < got <= best * (1 + 1e-9)


def test_the_derivative_goes_straight_through() -> None:
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    wanted = torch.randn(4, 3, 3, 3)
    (WeightQuantizer(0.7)(weight) * wanted).sum().backward()
    assert torch.equal(weight.grad, wanted)


@pytest.mark.parametrize(("kind", "count"), [("ternary", 3), ("binary", 2)])
def test_only_the_first_layer(kind: str, count: int) -> None:
    net = network("resnet9", 4, 8, 32)
    restrict_first_layer(net, kind)
    convolutions = [m for m in with_plain_weights(net).modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(len(f.unique()) <= count for f in convolutions[0].weight)
    assert all(len(f.unique()) > 3 for f in convolutions[1].weight)


def test_filters_of_coefficients() -> None:
    net = network("dct11", 4, 16, 32, GuardProfile.preset("jpeg:75"))
    assert isinstance(net, CoefficientNet)
    restrict_first_layer(net, "ternary")
    x = torch.randint(-9, 9, (2, 64, 6, 4)).float()
    before = net.eval()(x)
    assert all(len(f.unique()) <= 3 for part in (net.luma, *net.chroma) for f in part.filters)
    assert torch.allclose(with_plain_weights(net.folded())(x), before, atol=1e-4)


def test_refusals(stripes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no convolution"):
        restrict_first_layer(torch.nn.Linear(3, 3), "binary")
    with pytest.raises(InputError, match="needs a network of ours"):
        train(TrainConfig(data=str(stripes), network="model.pt2", first_layer="binary"), tmp_path / "a")


@pytest.mark.full
@pytest.mark.convert
def test_int8_keeps_three_values(stripes: Path, tmp_path: Path) -> None:
    """Trained, resumed, read back, exported, converted: -127, 0 and 127 arrive in the file."""
    from ai_edge_litert.interpreter import Interpreter

    from edgeguard.cli.main import app

    config = TrainConfig(
        data=str(stripes), width=8, epochs=2, batch=24, learning_rate=0.05, precision="float32", first_layer="ternary"
    )
    out, tflite = tmp_path / "out", tmp_path / "model.tflite"
    train(config, out)
    train(config, out)
    module, facts = load_program(out / "model.pt2")
    assert facts["trained"]["first_layer"] == "ternary"
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(module(x), restored(out).network(x), atol=1e-5)
    words = ["convert", out / "model.pt2", "--output", tflite, "--calibrate", stripes / "test", "--eval",
             stripes / "test", "--min-agreement", 0, "--min-snr", 0]  # fmt: skip
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    interpreter = Interpreter(str(tflite))
    interpreter.allocate_tensors()
    first = next(d for d in interpreter.get_tensor_details() if tuple(d["shape"]) == (8, 3, 3, 3))
    values = interpreter.get_tensor(first["index"])
    assert set(np.unique(values).tolist()) == {-127, 0, 127}
    assert json.loads((out / "config.json").read_text())["first_layer"] == "ternary"
