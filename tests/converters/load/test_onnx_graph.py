"""Our importer's operators against onnx's own reference evaluator, from operator set 7 to 23."""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")

import torch

onnx = (
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    if not os.environ.get("CI")
    else importlib.import_module("onnx")
)
from converters.load.onnx_cases import CASES, I64, RNG, SIDE, THREE, Constants, W, node_of  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgeguard.errors import InputError  # noqa: E402
from edgeguard_converters.load.onnx_model import _OPERATORS  # noqa: E402
from edgeguard_converters.load.registry import load_source  # noqa: E402
from edgeguard_converters.load.torch_source import TorchSource  # noqa: E402

pytestmark = pytest.mark.convert


def _save(
    path: Path, nodes: list[Any], constants: Constants, opset: int, *, output: str = "y0", shape: Any = None
) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return model


def _both(path: Path, model: Any, n: int = 1) -> tuple[Any, Any]:
    from onnx.reference import ReferenceEvaluator

    x = np.random.default_rng(1).normal(size=(n, 3, SIDE, SIDE)).astype(np.float32)
    wanted = np.concatenate([ReferenceEvaluator(model).run(None, {"x": image[None]})[0] for image in x])
    source = load_source(path)
    assert isinstance(source, TorchSource)
    found = source.module(torch.from_numpy(x))
    return (found[0] if isinstance(found, tuple) else found).detach().numpy(), wanted


@pytest.mark.parametrize(("node", "constants", "opset"), [pytest.param(*c[1:], id=c[0]) for c in CASES])
def test_an_operator_answers_like_the_reference(tmp_path: Path, node: Any, constants: Constants, opset: int) -> None:
    nodes = [node]
    if "t" in node.input:
        nodes = [helper.make_node("Concat", ["x", "x", "x", "x"], ["t"], axis=1), node]
    if "p" in node.input:
        nodes = [helper.make_node("ReduceMean", ["x"], ["p"], axes=[3]), node]
    shape = [1, 3, SIDE, SIDE] if node.op_type == "GroupNormalization" else None
    found, wanted = _both(tmp_path / "m.onnx", _save(tmp_path / "m.onnx", nodes, constants, opset, shape=shape))
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)


def test_where_the_reference_differs_from_the_specification(tmp_path: Path) -> None:
    """Softmax before operator set 13 flattens what lies behind its axis; LRN counts the channel at its window's end."""
    x = np.random.default_rng(1).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)

    def answer(node: Any, opset: int) -> Any:
        _save(tmp_path / "m.onnx", [node], {}, opset)
        source = load_source(tmp_path / "m.onnx")
        assert isinstance(source, TorchSource)
        return source.module(torch.from_numpy(x)).numpy()

    whole = np.exp(x) / np.exp(x).sum()
    np.testing.assert_allclose(answer(node_of("Softmax", axis=1), 11), whole, rtol=1e-4)
    squares = np.pad(x**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    sums = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
    np.testing.assert_allclose(answer(node_of("LRN", size=3), 13), x / (1 + 1e-4 / 3 * sums) ** 0.75, rtol=1e-5)
    pooled = answer(node_of("MaxPool", kernel_shape=[3, 3], pads=[0, 0, 1, 1]), 12)
    assert pooled.shape == (1, 3, 11, 11) and pooled[0, 0, -1, -1] == x[0, 0, -2:, -2:].max()


def test_every_operator_that_we_import_may_be_in_a_file() -> None:
    from edgeguard_converters.load.onnx_graph.program import OPERATORS

    assert set(OPERATORS) <= _OPERATORS and len(OPERATORS) > 100


def test_what_is_computed_from_the_shape_is_fixed(tmp_path: Path) -> None:
    """Shape, Gather, Concat, Reshape: the flattening of older exporters. Several pictures at once are right too."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "z"], ["nn"]),
        helper.make_node("Concat", ["nn", "rest"], ["all"], axis=0),
        helper.make_node("Reshape", ["x", "all"], ["y0"]),
    ]
    constants = {"zero": np.array(0, I64), "z": np.array([0], I64), "rest": np.array([-1], I64)}
    found, wanted = _both(tmp_path / "m.onnx", _save(tmp_path / "m.onnx", nodes, constants, 17), n=3)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("how", ["batch norm 14", "batch norm 7", "dropout"])
def test_training_mode_is_taken_off_and_said(tmp_path: Path, how: str) -> None:
    given = ["x", "g", "b", "m", "v"]
    constants: Constants = {
        "g": THREE,
        "b": THREE,
        "m": THREE,
        "v": THREE,
        "r": np.float32(0.5),
        "t": np.array(True),
    }
    node, opset = {
        "batch norm 14": (helper.make_node("BatchNormalization", given, ["y0", "m1", "v1"], training_mode=1), 17),
        "batch norm 7": (helper.make_node("BatchNormalization", given, ["y0", "m1", "v1", "m2", "v2"]), 9),
        "dropout": (helper.make_node("Dropout", ["x", "r", "t"], ["y0"]), 17),
    }[how]
    _save(tmp_path / "m.onnx", [node], constants, opset)
    source = load_source(tmp_path / "m.onnx")
    assert "exported in training mode" in source.facts.said[0]
    x = RNG.normal(size=(1, SIDE, SIDE, 3)).astype(np.float32)
    wanted = x if how == "dropout" else (x - THREE) / np.sqrt(THREE + 1e-5) * THREE + THREE
    np.testing.assert_allclose(source.outputs(x)[0], wanted.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-5)


def test_quantised_weights_are_dequantised_and_said(tmp_path: Path) -> None:
    """QDQ: the saturation of an activation stays (it may stand in a ReLU's place), its rounding goes."""
    weight = RNG.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    scales = np.array([0.01, 0.02, 0.03, 0.04], np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["d", "wd"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s2", "z"], ["q2"]),
        helper.make_node("DequantizeLinear", ["q2", "s2", "z"], ["y0"]),
    ]
    constants = {
        "s": np.float32(0.02),
        "s2": np.float32(0.05),
        "z": np.uint8(0),
        "w": weight,
        "ws": scales,
        "wz": np.zeros(4, np.int8),
    }
    found, wanted = _both(tmp_path / "m.onnx", _save(tmp_path / "m.onnx", nodes, constants, 19))
    assert wanted.min() >= 0 and float(np.abs(found - wanted).max()) < 0.2 and found.min() >= 0
    assert "QUANTIZED ALREADY" in load_source(tmp_path / "m.onnx").facts.said[0]


def test_a_dynamically_quantised_graph_becomes_float(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
        helper.make_node("MatMulInteger", ["q", "w", "qz", "wz"], ["m"]),
        helper.make_node("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["qs", "ws"], ["k"]),
        helper.make_node("Mul", ["f", "k"], ["y0"]),
    ]
    weight = RNG.integers(0, 255, (SIDE, 5)).astype(np.uint8)
    constants = {"w": weight, "wz": np.uint8(128), "ws": np.float32(0.01)}
    found, wanted = _both(tmp_path / "m.onnx", _save(tmp_path / "m.onnx", nodes, constants, 13))
    assert float(np.abs(found - wanted).max()) < 0.05 * float(np.abs(wanted).max())


def test_half_precision_is_taken_as_float32(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["h", "w"], ["c"]),
        helper.make_node("Cast", ["c"], ["y0"], to=TensorProto.FLOAT),
    ]
    found, wanted = _both(tmp_path / "m.onnx", _save(tmp_path / "m.onnx", nodes, {"w": W.astype(np.float16)}, 18))
    np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=1e-2)
    assert load_source(tmp_path / "m.onnx").facts.said == ("weights of float16 are taken as float32",)


@pytest.mark.parametrize("index", [3, -4, 99])
def test_a_gather_of_what_is_not_there_is_refused(tmp_path: Path, index: int) -> None:
    """It went round, and answered with another channel in silence."""
    node = helper.make_node("Gather", ["x", "i"], ["y0"], axis=1)
    _save(tmp_path / "m.onnx", [node], {"i": np.array([0, index])}, 17)
    with pytest.raises(InputError, match="Gather .* takes what is not there: its indices leave the 3"):
        load_source(tmp_path / "m.onnx")


def test_an_axis_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """It went round, and the model answered along another axis in silence."""
    node = helper.make_node("LayerNormalization", ["x", "s"], ["y0"], axis=4)
    _save(tmp_path / "m.onnx", [node], {"s": np.ones(12, "f4")}, 17)
    with pytest.raises(InputError, match="LayerNormalization .* names the axis 4, and there are 4"):
        load_source(tmp_path / "m.onnx")


def test_what_is_not_supported_is_named_with_its_place(tmp_path: Path) -> None:
    node = helper.make_node("Atanh", ["x"], ["y0"], name="/backbone/odd/Atanh")
    _save(tmp_path / "m.onnx", [node], {}, 17)
    with pytest.raises(InputError, match=r"Atanh at /backbone/odd/Atanh \(1x3x12x12\) is not supported"):
        load_source(tmp_path / "m.onnx")
    nodes = [helper.make_node("ArgMax", ["x"], ["i"]), helper.make_node("Reshape", ["x", "i"], ["y0"])]
    _save(tmp_path / "m.onnx", nodes, {}, 17, shape=[None] * 4)
    with pytest.raises(InputError, match="depends on the picture"):
        load_source(tmp_path / "m.onnx")


@pytest.mark.full
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "squeezenet1_1"])
@pytest.mark.parametrize("new", [False, True])
def test_the_exporters_of_torch(tmp_path: Path, name: str, new: bool) -> None:
    from edgeguard_converters.load.torchvision_operators import make_torchvision_importable

    make_torchvision_importable()
    import torchvision

    if new and not os.environ.get("CI"):
        pytest.importorskip("onnxscript", reason="torch's new ONNX exporter needs onnxscript")
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, num_classes=7).eval()
    torch.onnx.export(model, (torch.zeros(1, 3, 64, 64),), str(tmp_path / "m.onnx"), dynamo=new, verbose=False)
    x = torch.randn(3, 3, 64, 64)
    found = load_source(tmp_path / "m.onnx").outputs(x.permute(0, 2, 3, 1).numpy())[0]
    wanted = model(x).detach().numpy()
    assert float(np.abs(found - wanted).max()) < 1e-4 * float(np.abs(wanted).max())
