"""Clean-ups of float graphs: the answers stay, the operators that stop the Edge TPU go."""

from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import InputError

pytestmark = pytest.mark.convert
FULL = pytest.mark.full
SIDE = 32


def _exported(net, tmp_path: Path, preset: str = "tf"):
    """(data, float outputs of the graph, outputs of the module) on four pictures."""
    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.load.source import FileFacts
    from edgeguard_converters.load.torch_source import TorchSource

    source = TorchSource("module", (SIDE, SIDE), FileFacts(), net.eval())
    normalization = Normalization(*PRESETS[preset], "t")
    graph = source.export(normalization, (SIDE, SIDE), tmp_path, tmp_path / "log")
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    data = graph.path.read_bytes()
    return data, graph.outputs(pixels)[0], source.outputs(normalization.apply(pixels))[0]


@pytest.mark.parametrize(
    "head",
    ["pool and flatten", *(pytest.param(head, marks=FULL) for head in ("mean", "keepdim", "global max pool"))],
)
def test_no_transpose_before_the_average(head: str, tmp_path: Path) -> None:
    import torch
    from torch import nn

    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((2, 3), keepdim=head == "keepdim").flatten(1)

    torch.manual_seed(0)
    heads = {
        "pool and flatten": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "global max pool": nn.Sequential(nn.MaxPool2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    }
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU6(), heads.get(head, Mean()), nn.Linear(8, 5))
    data, found, expected = _exported(net, tmp_path)
    assert "TRANSPOSE" not in TfliteGraph(data).operators()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.full
@pytest.mark.parametrize(("activation", "replaced"), [("relu", True), pytest.param("none", False, marks=FULL)])
def test_max_pool_pads_with_zeros_where_nothing_is_below(activation: str, replaced: bool, tmp_path: Path) -> None:
    import torch
    from torch import nn

    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU() if activation == "relu" else nn.Identity(), nn.MaxPool2d(3, 2, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    data, found, expected = _exported(net, tmp_path)
    assert ("PADV2" not in TfliteGraph(data).operators()) == replaced
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.full
def test_a_float_tflite_is_a_source(trained: Path, squares: list, tmp_path: Path) -> None:
    """The float file of one conversion goes in again and comes out as int8, whatever its normalisation."""
    from edgeguard.guard import GuardProfile
    from edgeguard_converters import convert
    from edgeguard_converters.load.registry import load_source

    sets = {
        "calibration": squares[:60],
        "evaluation": squares[60:],
        "profile": GuardProfile.preset("fd"),
        "crop": "none",
    }
    convert(trained, output=tmp_path / "f.tflite", preprocess="tf", precision="float32", **sets)
    source = load_source(tmp_path / "f.tflite")
    assert (source.kind, source.size) == ("TFLite", (SIDE, SIDE)) and source.parameter_count() > 1000
    same = convert(tmp_path / "f.tflite", output=tmp_path / "q.tflite", preprocess="tf", **sets)
    direct = convert(trained, output=tmp_path / "d.tflite", preprocess="tf", **sets)
    assert same.operators == direct.operators and same.report.int8_top1 == direct.report.int8_top1
    other = convert(
        tmp_path / "f.tflite", output=tmp_path / "o.tflite", mean=(127.5, 127.0, 128.0), std=(127.5, 127.0, 128.0),
        **sets,
    )  # fmt: skip
    assert other.operators["DEPTHWISE_CONV_2D"] == 1 and other.report.agreement > 0.95
    with pytest.raises(InputError, match="quantized already"):
        load_source(tmp_path / "q.tflite")


@pytest.mark.full
@pytest.mark.parametrize("read_twice", [pytest.param(False, marks=FULL), True])
def test_a_relu_goes_into_the_transposed_convolution_before_it(read_twice: bool, tmp_path: Path) -> None:
    """Unless somebody else reads what is below zero."""
    import torch
    from torch import nn

    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 8, 4, 2, 1)
            self.head = nn.Conv2d(8, 5, SIDE * 2)

        def forward(self, x):
            y = self.up(x)
            z = torch.relu(y)
            return self.head(z + y if read_twice else z).flatten(1)

    torch.manual_seed(0)
    data, found, expected = _exported(Net(), tmp_path)
    assert ("RELU" in TfliteGraph(data).operators()) == read_twice
    np.testing.assert_allclose(found, expected, atol=1e-4)
