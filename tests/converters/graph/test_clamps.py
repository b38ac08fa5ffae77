"""Clamps of every kind have an int8 form, and their values stay."""

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.convert
SIDE = 16
_ALONE = {"RELU_0_TO_1", "RELU_N1_TO_1", "RELU6", "MINIMUM"}


@pytest.mark.parametrize(
    "bounds",
    [
        (0.0, 1.0),
        *(pytest.param(b, marks=pytest.mark.full) for b in ((-1.0, 1.0), (0.0, 6.0), (-0.5, 0.7), (None, 0.4))),
    ],
    ids=str,
)
def test_a_clamp_is_quantized_and_keeps_its_values(bounds: tuple[float | None, float], tmp_path: Path) -> None:
    import torch
    from torch import nn

    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.graph.tflite_graph import TfliteGraph
    from edgeguard_converters.load.source import FileFacts
    from edgeguard_converters.load.torch_source import TorchSource
    from edgeguard_converters.quantize.quantize import quantize

    class Clamped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 4, 3, 2), nn.Flatten())

        def forward(self, x):
            return (20 * self.net(x)).clamp(*bounds)

    torch.manual_seed(0)
    source = TorchSource("module", (SIDE, SIDE), FileFacts(), Clamped().eval())
    normalization = Normalization(*PRESETS["tf"], "t")
    graph = source.export(normalization, (SIDE, SIDE), tmp_path, tmp_path / "log")
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    found, expected = graph.outputs(pixels)[0], source.outputs(normalization.apply(pixels))[0]
    assert len(np.unique(expected)) > 20 and (expected == bounds[1]).any()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not _ALONE & set(TfliteGraph(graph.path.read_bytes()).operators())
    images = np.random.default_rng(1).integers(0, 256, (12, SIDE, SIDE, 3), dtype=np.uint8)
    quantized = quantize("minmax", graph, images, log=tmp_path / "log").graph
    assert not quantized.float_operators()
