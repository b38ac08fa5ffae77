"""The steps of a conversion, on a float .tflite so small that nothing but the steps takes time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import needs

from edgeguard.datasets.images import LabeledImage
from edgeguard.errors import CheckFailed

pytestmark = pytest.mark.convert
needs("ai_edge_quantizer", extras="the extra convert")

from ai_edge_litert import schema_py_generated as schema  # noqa: E402
from evaluate.one_op import one_op_model  # noqa: E402

from edgeguard_converters import pipeline  # noqa: E402
from edgeguard_converters.graph.tflite_graph import TfliteGraph  # noqa: E402
from edgeguard_converters.load.source import FileFacts, Source  # noqa: E402
from edgeguard_converters.load.tflite_source import tflite_source  # noqa: E402
from edgeguard_converters.pipeline import Options, convert  # noqa: E402
from edgeguard_converters.verify import gates  # noqa: E402
from edgeguard_converters.verify.gates import Thresholds  # noqa: E402

SIDE = 8


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A classifier of four colors: one convolution as large as the picture."""
    weights = np.random.default_rng(1).normal(size=(4, SIDE, SIDE, 3)).astype(np.float32)
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.padding = schema.Padding.VALID
    path = tmp_path / "tiny.tflite"
    path.write_bytes(
        one_op_model("CONV_2D", options, [weights, np.ones(4, np.float32)], (1, SIDE, SIDE, 3), (1, 1, 1, 4))
    )
    return path


@pytest.fixture
def pictures() -> list[LabeledImage]:
    frames = np.random.default_rng(2).integers(0, 256, (24, SIDE, SIDE, 3), dtype=np.uint8)
    return [LabeledImage(f"{i}", frame) for i, frame in enumerate(frames)]


@pytest.fixture
def given(model: Path, pictures: list[LabeledImage], tmp_path: Path) -> dict[str, Any]:
    return {
        "model": model, "output": tmp_path / "out.tflite", "calibration": pictures,
        "options": Options(preprocess="tf", crop="none", place="none"),
    }  # fmt: skip


def _loader(path: Path, **_: object) -> Source:
    return tflite_source(path.read_bytes(), "TFLite", FileFacts(sha256="0" * 64))


def test_the_steps_are_told_in_order(given: dict[str, Any], tmp_path: Path, said: list[str]) -> None:
    steps: list[str] = []
    done = convert(**given, load=_loader, step=steps.append, report_path=tmp_path / "report.json")
    assert steps == [
        "loading the model",
        "sanitizing 24 images",
        "settling preprocessing and labels",
        "running the trained model",
        "converting to a float graph",
        "running the float graph",
        "calibrating and quantizing",
        "gates on 6 images",
        "writing the report",
        "checking the file in a fresh process",
    ]
    assert done.notes == tuple(said) and "only 6 gate images" in said[0]
    assert done.contract.source_sha256 == "0" * 64
    assert (tmp_path / "report.json").is_file()


def test_the_result_says_what_is_in_the_file(given: dict[str, Any]) -> None:
    done = convert(**given, load=_loader)
    graph = TfliteGraph(done.path.read_bytes())
    assert done.operators == graph.operators() and done.bytes == len(graph.data)
    assert done.edgetpu.first_break is None and done.edgetpu.mapped == len(graph.operator_outputs())
    assert done.normalization.origin == "preset"


def test_a_source_in_memory_has_no_hash(given: dict[str, Any]) -> None:
    given["model"] = _loader(given["model"])
    assert convert(**given).contract.source_sha256 is None


def test_where_a_gate_fails_there_is_a_report_and_no_file(given: dict[str, Any], tmp_path: Path) -> None:
    given["options"] = Options(preprocess="tf", crop="none", place="none", thresholds=Thresholds(0.9, 200.0))
    steps: list[str] = []
    with pytest.raises(CheckFailed, match="SNR gate: .* layers to blame: .*; nothing was written"):
        convert(**given, load=_loader, step=steps.append, report_path=tmp_path / "report.html")
    assert steps[-1] == "writing the report" and (tmp_path / "report.html").is_file()
    assert not given["output"].exists()


@pytest.mark.parametrize(
    ("changes", "stand_in", "fitted"),
    [
        ({}, False, True),
        ({"rounding": "nearest"}, False, False),
        ({}, True, False),  # stand-in pictures are nothing to fit to
    ],
)
def test_where_the_gates_refuse_nearest_levels_filters_are_fitted(
    changes: dict[str, Any], stand_in: bool, fitted: bool, given: dict[str, Any], said: list[str]
) -> None:
    tried = list[str]()
    given["options"] = replace(given["options"], thresholds=Thresholds(min_snr_db=200), **changes)
    if stand_in:
        pictures = given["calibration"]
        given["calibration"] = lambda: pictures
    with pytest.raises(CheckFailed, match="SNR gate"):
        convert(**given, load=_loader, step=tried.append)
    assert tried.count("gates on 6 images") == 1 + fitted
    assert any("they were fitted to the calibration pictures" in line for line in said) == fitted
    assert not given["output"].exists()


def test_no_other_rounding_is_tried_where_the_model_itself_is_refused(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = list[str]()
    monkeypatch.setattr(gates, "FLOAT_TOLERANCE", -1.0)
    with pytest.raises(CheckFailed, match="float gate"):
        convert(**given, load=_loader, step=tried.append)
    assert tried.count("gates on 6 images") == 1


def test_of_two_that_fail_the_one_that_fails_fewer_gates_is_told(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([("SNR gate: the first",), ("agreement gate: the second", "SNR gate: the second")])
    monkeypatch.setattr(
        pipeline, "check_gates", lambda *seen, **how: replace(gates.check_gates(*seen, **how), failures=next(failures))
    )
    with pytest.raises(CheckFailed, match="SNR gate: the first"):
        convert(**given, load=_loader)
    assert next(failures, None) is None, "both were tried"
