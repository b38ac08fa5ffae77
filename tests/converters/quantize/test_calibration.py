"""Extremes of activations: counted by the runtime where it says what the quantizer says, else by the quantizer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import needs

pytestmark = pytest.mark.convert
needs("ai_edge_quantizer", extras="the extra convert")

from ai_edge_litert import schema_py_generated as schema  # noqa: E402
from ai_edge_quantizer import calibrator  # noqa: E402
from evaluate.one_op import one_op_model  # noqa: E402

from edgeguard_converters.graph.float_graph import FloatGraph, float_graph  # noqa: E402
from edgeguard_converters.graph.normalization import Normalization  # noqa: E402
from edgeguard_converters.graph.tflite_graph import TfliteGraph  # noqa: E402
from edgeguard_converters.quantize.quantize import calibrate  # noqa: E402
from edgeguard_converters.quantize.ranges import _counted  # noqa: E402

SIDE = 6
PIXELS = np.random.default_rng(5).integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8)
WEIGHTS = np.random.default_rng(4).normal(size=(4, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture
def graph(tmp_path: Path) -> FloatGraph:
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.padding = schema.Padding.VALID
    path = tmp_path / "float.tflite"
    model = one_op_model("CONV_2D", options, [WEIGHTS, np.zeros(4, np.float32)], (1, SIDE, SIDE, 3), (1, 1, 1, 4))
    path.write_bytes(TfliteGraph(model).with_signature().data)
    return float_graph(path, Normalization((127.5,) * 3, (127.5,) * 3, "tf"))


def _expected() -> tuple[float, float]:
    """By arithmetic."""
    outputs = ((PIXELS.astype(np.float64) - 127.5) / 127.5).reshape(len(PIXELS), -1) @ WEIGHTS.reshape(4, -1).T
    return float(outputs.min()), float(outputs.max())


def test_extremes_are_those_of_all_images(graph: FloatGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, runs = calibrator._pywrap_tfl_calibration, list[int]()

    class Counted:
        @staticmethod
        def InvokeWithCalibration(*given: Any) -> Any:
            runs.append(1)
            return runtime.InvokeWithCalibration(*given)

    monkeypatch.setattr(calibrator, "_pywrap_tfl_calibration", Counted)
    found = calibrate(graph, PIXELS, tmp_path / "log")
    assert len(runs) == len(PIXELS) + 1, "the runtime counts all, the first twice"
    out = found.ranges["out"]
    assert (float(out["min"].min()), float(out["max"].max())) == pytest.approx(_expected(), rel=1e-5)
    assert found.histograms["out"].counts.sum() == 4 * len(PIXELS)


@pytest.mark.parametrize("fault", ["wrong", "missing", "fails"])
def test_where_the_runtime_says_something_else_the_quantizer_counts(
    fault: str, graph: FloatGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        @staticmethod
        def InvokeWithCalibration(*_: object) -> dict[str, Any]:  # the runtime's name
            if fault == "fails":
                raise RuntimeError("no")
            stats = type("Stats", (), {"min": -1e3, "max": 1e3})()
            return {"out": stats, "image": stats} if fault == "wrong" else {}

    monkeypatch.setattr(calibrator, "_pywrap_tfl_calibration", Broken)
    out = calibrate(graph, PIXELS, tmp_path / "log").ranges["out"]
    assert (float(out["min"].min()), float(out["max"].max())) == pytest.approx(_expected(), rel=1e-5)


@pytest.mark.parametrize(
    ("low", "high"), [(0.998, 1.0), (10.0, 10.03), (1000.0, 1001.0), (-3.0, 6.0), (-1001.0, -1000.0)]
)
def test_every_value_is_counted_the_largest_too(low: float, high: float) -> None:
    values = np.linspace(low, high, 1001, dtype=np.float32)
    values[::2] = np.float32(high)
    counted = _counted(values, float(np.float32(low)), float(np.float32(high)))
    assert counted.sum() == len(values) and counted[-1] >= 500
