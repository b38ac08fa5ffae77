"""One small graph for each operator that is imported, for the comparison with onnx's reference evaluator."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper

SIDE = 12
Constants = dict[str, Any]
RNG = np.random.default_rng(7)
W = RNG.normal(0, 0.4, (4, 3, 3, 3)).astype(np.float32)
ONE, THREE = np.ones(3, np.float32), RNG.normal(1, 0.2, 3).astype(np.float32)


def node_of(op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
    return helper.make_node(op, ["x", *inputs], [f"y{i}" for i in range(outputs)], **attributes)


I64 = np.int64
CASES: list[tuple[str, Any, Constants, int]] = [
    *[
        (op, node_of(op), {}, 20)
        for op in (
            "Abs",
            "Atan",
            "Ceil",
            "Cos",
            "Erf",
            "Exp",
            "Floor",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "LeakyRelu",
            "Mish",
            "Neg",
            "Relu",
            "Round",
            "Selu",
            "Sigmoid",
            "Sign",
            "Softplus",
            "Softsign",
            "Tanh",
            "Elu",
            "Celu",
            "ThresholdedRelu",
            "GlobalAveragePool",
            "GlobalMaxPool",
            "Identity",
        )
    ],
    *[
        (f"{op} by input", node_of(op, "a", keepdims=k), {"a": np.array([2, 3], I64)}, 18)
        for k, op in enumerate(("ReduceMean", "ReduceMax"))
    ],
    *[
        (f"{op} by input", node_of(op, "a"), {"a": np.array([-1], I64)}, 20)
        for op in ("ReduceMin", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare")
    ],
    ("ReduceMean by attribute", node_of("ReduceMean", axes=[2, 3], keepdims=0), {}, 13),
    ("ReduceSum by attribute", node_of("ReduceSum", axes=[1]), {}, 11),
    ("ReduceSum of all", node_of("ReduceSum", keepdims=1), {}, 13),
    ("ReduceMean of nothing", node_of("ReduceMean", "a", noop_with_empty_axes=1), {"a": np.zeros(0, I64)}, 18),
    ("Softmax", node_of("Softmax", axis=1), {}, 13),
    ("LogSoftmax", node_of("LogSoftmax"), {}, 13),
    ("Clip by attribute", node_of("Clip", min=-0.5, max=0.25), {}, 7),
    ("Clip by input", node_of("Clip", "", "b"), {"b": np.float32(0.3)}, 13),
    ("Clip at six", node_of("Clip", "a", "b"), {"a": np.float32(0), "b": np.float32(6)}, 13),
    ("Pow", node_of("Pow", "a"), {"a": np.float32(2)}, 15),
    ("Div", node_of("Div", "a"), {"a": np.float32(3)}, 14),
    ("Mod", node_of("Mod", "a", fmod=1), {"a": np.float32(0.3)}, 13),
    (
        "Max of three",
        helper.make_node("Max", ["x", "a", "b"], ["y0"]),
        {"a": np.float32(0), "b": np.float32(0.2)},
        13,
    ),
    ("PRelu", node_of("PRelu", "a"), {"a": np.array([[[0.1]], [[0.2]], [[0.3]]], np.float32)}, 16),
    ("Cast", node_of("Cast", to=TensorProto.FLOAT), {}, 13),
    ("Reshape", node_of("Reshape", "a"), {"a": np.array([0, -1, 4], I64)}, 14),
    ("Flatten", node_of("Flatten", axis=2), {}, 13),
    ("Flatten from the back", node_of("Flatten", axis=-1), {}, 13),
    ("Flatten all", node_of("Flatten", axis=4), {}, 13),
    ("Squeeze old", helper.make_node("Squeeze", ["p"], ["y0"], axes=[-1]), {}, 11),
    ("Squeeze", helper.make_node("Squeeze", ["p", "a"], ["y0"]), {"a": np.array([3], I64)}, 13),
    ("Unsqueeze", node_of("Unsqueeze", "a"), {"a": np.array([1, -1], I64)}, 13),
    ("Slice old", node_of("Slice", starts=[1], ends=[9], axes=[2]), {}, 9),
    (
        "Slice",
        node_of("Slice", "a", "b", "c", "d"),
        {
            "a": np.array([2, -1], I64),
            "b": np.array([2**40, -(2**40)], I64),
            "c": np.array([2, 3], I64),
            "d": np.array([3, -1], I64),
        },
        13,
    ),
    ("Split", node_of("Split", "a", outputs=2, axis=1), {"a": np.array([1, 2], I64)}, 13),
    ("Split by count", node_of("Split", outputs=2, axis=1, num_outputs=2), {}, 18),
    ("Gather one", node_of("Gather", "a", axis=1), {"a": np.array(-1, I64)}, 13),
    ("Gather", node_of("Gather", "a", axis=1), {"a": np.array([[2, 0]], I64)}, 13),
    ("Concat", helper.make_node("Concat", ["x", "x"], ["y0"], axis=-1), {}, 13),
    ("Transpose", node_of("Transpose", perm=[0, 2, 3, 1]), {}, 13),
    ("Expand", node_of("Expand", "a"), {"a": np.array([2, 1, 1, 1, 1], I64)}, 13),
    ("Tile", node_of("Tile", "a"), {"a": np.array([1, 2, 1, 1], I64)}, 13),
    ("Pad old", node_of("Pad", pads=[0, 0, 1, 2, 0, 0, 3, 0], value=1.5), {}, 10),
    ("Pad", node_of("Pad", "a", "b"), {"a": np.array([0, 1, 1, 2, 0, 0, 3, 0], I64), "b": np.float32(2)}, 13),
    (
        "Pad by axes",
        node_of("Pad", "a", "", "c", mode="reflect"),
        {"a": np.array([1, 2, 2, 1], I64), "c": np.array([2, 3], I64)},
        18,
    ),
    ("DepthToSpace", helper.make_node("DepthToSpace", ["t"], ["y0"], blocksize=2), {}, 13),
    ("SpaceToDepth", node_of("SpaceToDepth", blocksize=2), {}, 13),
    ("Trilu", node_of("Trilu", upper=0), {}, 14),
    (
        "ScatterND",
        node_of("ScatterND", "i", "v"),
        {"i": np.array([[[0, 1], [0, -1]]], I64), "v": RNG.normal(size=(1, 2, SIDE, SIDE)).astype(np.float32)},
        18,
    ),
    ("CumSum", node_of("CumSum", "a"), {"a": np.array(2, I64)}, 14),
    ("TopK", node_of("TopK", "a", outputs=2), {"a": np.array([3], I64)}, 11),
    ("Conv", node_of("Conv", "w", pads=[1, 1, 1, 1], strides=[2, 2]), {"w": W}, 11),
    ("Conv of groups", node_of("Conv", "w", group=3), {"w": W[:3, :1]}, 11),
    ("Conv unevenly padded", node_of("Conv", "w", pads=[0, 1, 2, 1]), {"w": W}, 11),
    ("Conv SAME_UPPER", node_of("Conv", "w", auto_pad="SAME_UPPER", strides=[2, 2]), {"w": W}, 11),
    ("Conv SAME_LOWER", node_of("Conv", "w", auto_pad="SAME_LOWER", strides=[2, 2]), {"w": W}, 22),
    (
        "ConvTranspose",
        node_of("ConvTranspose", "w", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
        {"w": W.transpose(1, 0, 2, 3).copy()},
        11,
    ),
    ("MaxPool", node_of("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), {}, 12),
    ("MaxPool ceil", node_of("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), {}, 12),
    ("AveragePool", node_of("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), {}, 19),
    (
        "AveragePool counted",
        node_of("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        {},
        11,
    ),
    ("AveragePool unevenly padded", node_of("AveragePool", kernel_shape=[2, 2], auto_pad="SAME_UPPER"), {}, 19),
    (
        "BatchNormalization",
        node_of("BatchNormalization", "g", "b", "m", "v", epsilon=1e-3),
        {"g": THREE, "b": THREE, "m": THREE, "v": THREE},
        15,
    ),
    ("InstanceNormalization", node_of("InstanceNormalization", "g", "b"), {"g": THREE, "b": ONE}, 22),
    ("GroupNormalization", node_of("GroupNormalization", "g", "b", num_groups=3), {"g": THREE, "b": ONE}, 21),
    (
        "LayerNormalization",
        node_of("LayerNormalization", "g", "b"),
        {"g": np.linspace(1, 2, SIDE, dtype=np.float32), "b": np.ones(SIDE, np.float32)},
        17,
    ),
    ("LpNormalization", node_of("LpNormalization", axis=1), {}, 22),
    ("RMSNormalization", node_of("RMSNormalization", "g"), {"g": np.linspace(1, 2, SIDE, dtype=np.float32)}, 23),
    ("MatMul", node_of("MatMul", "w"), {"w": RNG.normal(size=(SIDE, 5)).astype(np.float32)}, 13),
    (
        "Einsum",
        node_of("Einsum", "w", equation="bchw,wk->bchk"),
        {"w": RNG.normal(size=(SIDE, 5)).astype(np.float32)},
        12,
    ),
    (
        "Resize nearest",
        node_of("Resize", "", "s", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        {"s": np.array([1, 1, 2, 2], np.float32)},
        13,
    ),
    (
        "Resize linear",
        node_of("Resize", "", "", "s", mode="linear", coordinate_transformation_mode="half_pixel"),
        {"s": np.array([1, 3, 20, 9], I64)},
        19,
    ),
    (
        "Resize to corners",
        node_of("Resize", "", "", "s", mode="linear", coordinate_transformation_mode="align_corners"),
        {"s": np.array([1, 3, 23, 23], I64)},
        13,
    ),
    (
        "Where",
        helper.make_node("Where", ["c", "x", "a"], ["y0"]),
        {"c": np.arange(SIDE) % 2 == 0, "a": np.float32(5)},
        16,
    ),
]
