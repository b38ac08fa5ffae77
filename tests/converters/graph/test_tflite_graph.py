"""The .tflite as one object: what it says of itself, and edits that leave it as it was."""

import pickle
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.demo.assets import bundled_model

pytestmark = pytest.mark.convert
pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")

from ai_edge_litert import schema_py_generated as schema  # noqa: E402
from evaluate.one_op import one_op_model  # noqa: E402

from edgeguard_converters.graph.float_graph import FloatGraph  # noqa: E402
from edgeguard_converters.graph.normalization import PRESETS, Normalization  # noqa: E402
from edgeguard_converters.graph.tflite_graph import TfliteGraph  # noqa: E402


@pytest.fixture(scope="module")
def bundled() -> TfliteGraph:
    return TfliteGraph(bundled_model().read_bytes())


def _convolution(weights: np.ndarray) -> bytes:
    """A float 1x1 convolution (filters, 1, 1, 3) of an 8x8 image, its biases 0."""
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.padding = schema.Padding.VALID
    constants: list[NDArray[np.generic]] = [weights.astype(np.float32), np.zeros(len(weights), np.float32)]
    return one_op_model("CONV_2D", options, constants, (1, 8, 8, 3), (1, 8, 8, len(weights)))


def _float_graph(folder: Path, weights: np.ndarray, preset: str = "unit") -> FloatGraph:
    path = folder / "float.tflite"
    path.write_bytes(_convolution(weights))
    return FloatGraph(path, Normalization(*PRESETS[preset], "test"), 0.0, 1.0)


def test_what_it_says_of_itself(bundled: TfliteGraph) -> None:
    from ai_edge_litert.interpreter import Interpreter

    runtime = Interpreter(model_content=bundled.data)
    (source,), (target,) = runtime.get_input_details(), runtime.get_output_details()
    assert bundled.input_name() == source["name"]
    assert bundled.border_types() == ({"uint8"}, {"uint8"})
    assert bundled.borders() == (["uint8 1x128x128x3"], [f"uint8 1x{target['shape'][1]}"])
    ((key, arguments),) = runtime.get_signature_list().items()
    assert bundled.signature() == (key, arguments["inputs"][0])
    names = [d["op_name"] for d in runtime._get_ops_details() if d["op_name"] != "DELEGATE"]
    assert [kind for kind, _ in bundled.operator_outputs()] == names and sum(bundled.operators().values()) == len(names)
    assert bundled.float_operators() == [] and bundled.float_tensors() == [] and bundled.parameters == 0


def test_it_is_parsed_once(bundled: TfliteGraph) -> None:
    graph = TfliteGraph(bundled.data)
    assert graph.model is graph.model and graph.editable() is not graph.model


def test_edits_leave_the_graph_as_it_was(bundled: TfliteGraph) -> None:
    before = bundled.operators()
    again = bundled.with_contract("edgeguard.json", b"{}", ("a", "b"))
    raised = again.with_int8_versions()
    assert bundled.operators() == before == raised.operators()
    assert bundled.data == bundled_model().read_bytes()
    assert all(
        a.version <= b.version for a, b in zip(bundled.model.operatorCodes, raised.model.operatorCodes, strict=True)
    )


def test_contract_and_labels_are_read_again(bundled: TfliteGraph) -> None:
    from edgeguard.model.flatbuffer import ModelFile

    once = bundled.with_contract("edgeguard.json", b'{"a": 1}', ("first", "second"))
    twice = once.with_contract("edgeguard.json", b'{"a": 2}', ("third",))
    assert ModelFile(once.data).metadata("edgeguard.json") == b'{"a": 1}'
    assert ModelFile(twice.data).metadata("edgeguard.json") == b'{"a": 2}'
    assert sum(m.name == b"edgeguard.json" for m in twice.model.metadata) == 1
    with zipfile.ZipFile(BytesIO(twice.data)) as archive:
        assert archive.namelist() == ["labels.txt"] and archive.read("labels.txt") == b"third\n"


def test_a_graph_without_a_signature_gets_one() -> None:
    graph = TfliteGraph(_convolution(np.ones((2, 1, 1, 3))))
    signed = graph.with_signature()
    assert not graph.model.signatureDefs and signed.signature() == ("serving_default", "input_0")
    assert signed.with_signature() is signed


def test_answers_and_what_lies_between() -> None:
    weights = np.array([[1, 0, 0], [0.5, 0.5, 0]]).reshape(2, 1, 1, 3)
    graph = TfliteGraph(_convolution(weights))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    (found,) = graph.outputs(pixels, lambda image: image.astype(np.float32))
    assert found.shape == (3, 8, 8, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found[..., 0], pixels[..., 0])
    np.testing.assert_allclose(found[..., 1], pixels[..., :2].mean(axis=-1))
    between = graph.activations(pixels, lambda image: image.astype(np.float32), {"out", "nowhere"})
    for expected, ((name, detail, values),) in zip(found, between, strict=True):
        assert name == detail["name"] == "out"
        np.testing.assert_allclose(values[0], expected)


def test_weights_that_are_not_finite_are_named() -> None:
    weights = np.ones((2, 1, 1, 3))
    assert TfliteGraph(_convolution(weights)).first_not_finite() is None
    weights[1, 0, 0, 2] = np.nan
    assert TfliteGraph(_convolution(weights)).first_not_finite() == "c0"
    assert TfliteGraph(_convolution(weights)).parameters == 8


def test_dead_filters_are_mended_beside_the_graph(tmp_path: Path) -> None:
    weights = np.arange(1, 13, dtype=np.float64).reshape(4, 1, 1, 3)
    weights[[1, 3]] = 0
    graph = _float_graph(tmp_path, weights)
    mended, count = graph.mended()
    assert count == 2 and mended.path != graph.path
    assert graph.path.read_bytes() == _convolution(weights)
    pixels = np.full((1, 8, 8, 3), 255, np.uint8)
    before, after = graph.outputs(pixels)[0], mended.outputs(pixels)[0]
    assert (before[..., [1, 3]] == 0).all() and (after[..., [1, 3]] > 0).all()
    np.testing.assert_allclose(after, before, atol=1e-4 * weights.max() * 3)
    assert mended.mended() == (mended, 0)


def test_between_processes_only_the_path_travels(tmp_path: Path) -> None:
    graph = _float_graph(tmp_path, np.ones((2, 1, 1, 3)))
    empty = len(pickle.dumps(graph))
    assert graph.tflite.operators() == {"CONV_2D": 1}
    travelled = pickle.loads(pickle.dumps(graph))
    assert len(pickle.dumps(graph)) == empty and travelled == graph
    assert travelled.tflite.data == graph.tflite.data


@pytest.mark.parametrize(("preset", "fed"), [("unit", [0.0, 1.0]), ("imagenet", [0.0, 255.0])])
def test_what_a_float_graph_is_fed(tmp_path: Path, preset: str, fed: list[float]) -> None:
    graph = _float_graph(tmp_path, np.ones((2, 1, 1, 3)), preset)
    levels = graph.feed(np.array([0, 255], np.uint8).repeat(3).reshape(1, 1, 2, 3))
    assert levels.dtype == np.float32 and levels[0, 0].tolist() == [[low] * 3 for low in fed]
    low, high = graph.known_range()
    mean, std = PRESETS[preset]
    assert low == pytest.approx(min((0 - m) / s for m, s in zip(mean, std, strict=True)), rel=1e-6)
    assert high == pytest.approx(max((255 - m) / s for m, s in zip(mean, std, strict=True)), rel=1e-6)
