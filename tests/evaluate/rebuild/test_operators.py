"""Each operator against the runtime itself."""

from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from evaluate.one_op import one_op_model
from numpy.typing import NDArray

from edgeguard.evaluate.rebuild.graph import read_graph
from edgeguard.evaluate.rebuild.network import CannotRebuild, Network
from edgeguard.model.contract import Contract, InputSpec

RNG = np.random.default_rng(5)
SHAPE = (1, 7, 10, 3)


def _options(kind: str, **values: Any) -> Any:
    options = getattr(schema, f"{kind}T")()
    for name, value in values.items():
        setattr(options, name, value)
    return options


def _weights(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(0, 0.02, shape).astype(np.float32)


def _ints(*values: int) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def _conv(padding: int, stride: int, dilation: int = 1, activation: int = 0, kind: str = "Conv2DOptions") -> Any:
    more = {"depthMultiplier": 2} if kind.startswith("Depthwise") else {}
    return _options(
        kind, padding=padding, strideH=stride, strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation,
        fusedActivationFunction=activation, **more,
    )  # fmt: skip


def _pool(padding: int, size: int, stride: int) -> Any:
    return _options(
        "Pool2DOptions", padding=padding, strideH=stride, strideW=stride, filterHeight=size, filterWidth=size
    )


DEPTHWISE = "DepthwiseConv2DOptions"
CASES: dict[str, tuple[str, Any, list[NDArray[np.generic]], tuple[int, ...]]] = {
    "conv same 2": ("CONV_2D", _conv(0, 2, activation=3), [_weights(4, 3, 3, 3), _weights(4)], (1, 4, 5, 4)),
    "conv valid": ("CONV_2D", _conv(1, 1, activation=1), [_weights(4, 2, 2, 3), _weights(4)], (1, 6, 9, 4)),
    "conv dilated": ("CONV_2D", _conv(0, 1, dilation=2), [_weights(2, 3, 3, 3), _weights(2)], (1, 7, 10, 2)),
    "depthwise": ("DEPTHWISE_CONV_2D", _conv(0, 2, kind=DEPTHWISE), [_weights(1, 3, 3, 6), _weights(6)], (1, 4, 5, 6)),
    "average same": ("AVERAGE_POOL_2D", _pool(0, 3, 2), [], (1, 4, 5, 3)),
    "average valid": ("AVERAGE_POOL_2D", _pool(1, 2, 2), [], (1, 3, 5, 3)),
    "max same": ("MAX_POOL_2D", _pool(0, 3, 2), [], (1, 4, 5, 3)),
    "mean": ("MEAN", _options("ReducerOptions", keepDims=False), [_ints(1, 2)], (1, 3)),
    "pad": ("PAD", _options("PadOptions"), [_ints(0, 0, 1, 2, 0, 3, 0, 0).reshape(4, 2)], (1, 10, 13, 3)),
    "mirror": (
        "MIRROR_PAD",
        _options("MirrorPadOptions", mode=0), [_ints(0, 0, 1, 2, 2, 1, 0, 0).reshape(4, 2)], (1, 10, 13, 3),
    ),
    "reshape": ("RESHAPE", _options("ReshapeOptions", newShape=[1, 210]), [_ints(1, 210)], (1, 210)),
    "transpose": ("TRANSPOSE", _options("TransposeOptions"), [_ints(0, 2, 3, 1)], (1, 10, 3, 7)),
    "slice": ("SLICE", _options("SliceOptions"), [_ints(0, 1, 2, 0), _ints(1, 5, -1, 2)], (1, 5, 8, 2)),
    "strided": (
        "STRIDED_SLICE",
        _options("StridedSliceOptions", beginMask=8, endMask=9, ellipsisMask=0, newAxisMask=0, shrinkAxisMask=0),
        [_ints(0, 1, 9, 0), _ints(1, 6, 2, 0), _ints(1, 2, -3, 1)], (1, 3, 3, 3),
    ),
    "softmax": ("SOFTMAX", _options("SoftmaxOptions", beta=0.05), [], SHAPE),
    "hard swish": ("HARD_SWISH", None, [], SHAPE),
    "logistic": ("LOGISTIC", None, [], SHAPE),
    "leaky": ("LEAKY_RELU", _options("LeakyReluOptions", alpha=0.2), [], SHAPE),
    "prelu": ("PRELU", None, [_weights(1, 1, 3)], SHAPE),
    "add": ("ADD", _options("AddOptions", fusedActivationFunction=1), [_weights(1, 1, 1, 3) * 1000], SHAPE),
    "mul": ("MUL", _options("MulOptions", fusedActivationFunction=0), [_weights(1, 1, 1, 3)], SHAPE),
    "depth to space": ("SPACE_TO_DEPTH", _options("SpaceToDepthOptions", blockSize=1), [], SHAPE),
    "bilinear": (
        "RESIZE_BILINEAR", _options("ResizeBilinearOptions", halfPixelCenters=True), [_ints(14, 15)], (1, 14, 15, 3)
    ),
    "bilinear of TensorFlow 1": ("RESIZE_BILINEAR", _options("ResizeBilinearOptions"), [_ints(14, 15)], (1, 14, 15, 3)),
    "bilinear of TensorFlow 1, smaller": (
        "RESIZE_BILINEAR", _options("ResizeBilinearOptions"), [_ints(3, 4)], (1, 3, 4, 3)
    ),
    "bilinear corners": (
        "RESIZE_BILINEAR", _options("ResizeBilinearOptions", alignCorners=True), [_ints(14, 15)], (1, 14, 15, 3)
    ),
    "nearest of TensorFlow 1": (
        "RESIZE_NEAREST_NEIGHBOR", _options("ResizeNearestNeighborOptions"), [_ints(15, 3)], (1, 15, 3, 3)
    ),
    "nearest corners": (
        "RESIZE_NEAREST_NEIGHBOR",
        _options("ResizeNearestNeighborOptions", alignCorners=True), [_ints(13, 4)], (1, 13, 4, 3),
    ),
    "nearest smaller": (
        "RESIZE_NEAREST_NEIGHBOR",
        _options("ResizeNearestNeighborOptions", halfPixelCenters=True), [_ints(3, 7)], (1, 3, 7, 3),
    ),
    "log softmax": ("LOG_SOFTMAX", None, [], SHAPE),
    "tile": ("TILE", None, [_ints(1, 2, 1, 3)], (1, 14, 10, 9)),
    "lrn": (
        "LOCAL_RESPONSE_NORMALIZATION",
        _options("LocalResponseNormalizationOptions", radius=1, bias=2.0, alpha=0.01, beta=0.75), [], SHAPE,
    ),
    "lrn wide": (
        "LOCAL_RESPONSE_NORMALIZATION",
        _options("LocalResponseNormalizationOptions", radius=5, bias=1.0, alpha=0.1, beta=0.5), [], SHAPE,
    ),
    "l2 pool": ("L2_POOL_2D", _pool(0, 3, 2), [], (1, 4, 5, 3)),
    "floor": ("FLOOR", None, [], SHAPE),
    "ceil": ("CEIL", None, [], SHAPE),
    "round": ("ROUND", None, [], SHAPE),
    "sin": ("SIN", None, [], SHAPE),
    "cos": ("COS", None, [], SHAPE),
    "reduce min": ("REDUCE_MIN", _options("ReducerOptions", keepDims=True), [_ints(3)], (1, 7, 10, 1)),
    "cumsum": ("CUMSUM", _options("CumsumOptions", exclusive=True, reverse=True), [_ints(2)], SHAPE),
    "reverse": ("REVERSE_V2", None, [_ints(2)], SHAPE),
    "broadcast": ("BROADCAST_TO", None, [_ints(2, 1, 7, 10, 3)], (2, 1, 7, 10, 3)),
    "add n": ("ADD_N", None, [_weights(*SHAPE), _weights(*SHAPE)], SHAPE),
    "space to batch": (
        "SPACE_TO_BATCH_ND", None, [_ints(2, 2), _ints(1, 0, 0, 2).reshape(2, 2)], (4, 4, 6, 3)
    ),
    "batch to space": ("BATCH_TO_SPACE_ND", None, [_ints(1, 1), _ints(1, 2, 0, 3).reshape(2, 2)], (1, 4, 7, 3)),
    "nearest": (
        "RESIZE_NEAREST_NEIGHBOR",
        _options("ResizeNearestNeighborOptions", halfPixelCenters=True), [_ints(14, 20)], (1, 14, 20, 3),
    ),
}  # fmt: skip


def _network(data: bytes) -> Network:
    return Network(read_graph(data), Contract(InputSpec(SHAPE[2], SHAPE[1], "float32")))


@pytest.mark.parametrize("name", CASES)
def test_an_operator_does_what_the_runtime_does(name: str) -> None:
    op, options, constants, out = CASES[name]
    _compare(one_op_model(op, options, constants, SHAPE, out))


def _compare(data: bytes) -> None:
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    image = RNG.integers(0, 256, SHAPE).astype(np.float32) - 100.25
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    levels = torch.from_numpy(image).permute(0, 3, 1, 2)
    found = _network(data).outputs(levels).numpy()
    np.testing.assert_allclose(found, expected.reshape(1, -1).astype(np.float64), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "bool", "float32"])
def test_casts(kind: str) -> None:
    data = one_op_model("CAST", None, [], SHAPE, SHAPE, output_type=kind)
    if kind == "uint8":  # what a negative value becomes is nobody's word
        assert _network(data)(torch.full((1, 3, *SHAPE[1:3]), 3.7)).unique().tolist() == [3.0]
    else:
        _compare(data)


@pytest.mark.parametrize("op", ["LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL"])
def test_comparisons(op: str) -> None:
    other = RNG.integers(-100, 156, SHAPE).astype(np.float32) - 0.25
    _compare(one_op_model(op, None, [other], SHAPE, SHAPE, output_type="bool"))


@pytest.mark.parametrize(("op", "shape"), [("SELECT", SHAPE), ("SELECT", (1,)), ("SELECT_V2", (10, 1))])
def test_selections(op: str, shape: tuple[int, ...]) -> None:
    condition = RNG.integers(0, 2, shape).astype(bool)
    _compare(one_op_model(op, None, [condition, _weights(*SHAPE)], SHAPE, SHAPE, data_first=False))


@pytest.mark.parametrize("op", ["ARG_MAX", "ARG_MIN"])
def test_places_of_extremes(op: str) -> None:
    options = _options(f"Arg{op[4:].title()}Options", outputType=2)
    _compare(one_op_model(op, options, [_ints(3)], SHAPE, (1, 7, 10), output_type="int32"))


def test_shapes_are_those_of_the_file() -> None:
    options = _options("ShapeOptions", outType=2)
    _compare(one_op_model("SHAPE", options, [], SHAPE, (4,), output_type="int32"))


def test_logarithms_and_roots() -> None:
    for op in ("LOG", "SQRT", "RSQRT"):
        data = one_op_model(op, None, [], SHAPE, SHAPE)
        levels = torch.from_numpy(RNG.integers(1, 256, SHAPE).astype(np.float32)).permute(0, 3, 1, 2)
        wanted = {"LOG": torch.log, "SQRT": torch.sqrt, "RSQRT": torch.rsqrt}[op]
        torch.testing.assert_close(_network(data)(levels), wanted(levels.permute(0, 2, 3, 1)).reshape(1, -1))


@pytest.mark.parametrize("op", ["FLOOR", "ROUND", "CAST"])
def test_rounding_lets_a_gradient_through(op: str) -> None:
    kind = "int32" if op == "CAST" else "float32"
    levels = torch.full((1, 3, *SHAPE[1:3]), 3.3, requires_grad=True)
    _network(one_op_model(op, None, [], SHAPE, SHAPE, output_type=kind))(levels).sum().backward()
    assert levels.grad is not None and (levels.grad == 1).all()


def test_logits_are_taken_before_a_closing_log_softmax() -> None:
    data = one_op_model("LOG_SOFTMAX", None, [], (1, 1, 1, 3), (1, 1, 1, 3))
    network = Network(read_graph(data), Contract(InputSpec(1, 1, "float32")))
    levels = torch.tensor([5.0, 1.0, 2.0]).reshape(1, 3, 1, 1)
    assert network(levels).tolist() == [[5.0, 1.0, 2.0]]


def test_a_batch_goes_through_every_operator_image_by_image_or_whole() -> None:
    """Three images at once give what each gives alone."""
    levels = torch.from_numpy(RNG.integers(0, 256, (3, 3, *SHAPE[1:3])).astype(np.float32))
    for op, options, constants, out in CASES.values():
        network = _network(one_op_model(op, options, constants, SHAPE, out))
        each = torch.cat([network.outputs(image) for image in levels.split(1)])
        torch.testing.assert_close(network.outputs(levels), each, rtol=1e-4, atol=1e-4)


def test_an_unknown_operator_is_named() -> None:
    data = one_op_model("FLOOR_MOD", None, [], SHAPE, SHAPE)
    with pytest.raises(CannotRebuild, match="FLOOR_MOD"):
        _network(data)


@pytest.mark.parametrize(
    ("op", "options", "constants", "what"),
    [
        ("GATHER", _options("GatherOptions", batchDims=1), [_ints(0)], "batch dimensions"),
        ("SPACE_TO_BATCH_ND", None, [_ints(2), _ints(0, 0).reshape(1, 2)], "of 3 dimensions"),
        ("STRIDED_SLICE", _options("StridedSliceOptions", ellipsisMask=1), [_ints(0), _ints(1), _ints(1)], "ellipsis"),
        ("RELU", _options("Conv2DOptions", fusedActivationFunction=5), [], "activation 5"),
    ],
)
def test_options_that_are_not_known_are_named(op: str, options: Any, constants: list[Any], what: str) -> None:
    with pytest.raises(CannotRebuild, match=what):
        _network(
            one_op_model(op, options, constants, SHAPE[1:] if "dimensions" in what and "of" in what else SHAPE, SHAPE)
        )
