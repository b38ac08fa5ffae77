"""A small classifier as an ONNX graph, written node by node."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def make_onnx(
    path: Path, side: int | None, classes: int = 4, operator: str = "Relu", *, channels: int = 3, last: bool = False
) -> onnx.ModelProto:
    """Conv, Relu, Conv with stride 2, Relu, mean, Gemm; input (batch, 3, side, side), dynamic where side is None.

    `channels` instead of 3; `last`: the input is (batch, side, side, channels).
    """
    rng = np.random.default_rng(0)
    shape: list[int | str] = ["n", channels, side or "h", side or "w"]
    shape = [shape[0], *shape[2:], channels] if last else shape
    weights = {
        "w1": rng.normal(0, 0.4, (8, channels, 3, 3)),
        "b1": rng.normal(0, 0.1, 8),
        "w2": rng.normal(0, 0.2, (16, 8, 3, 3)),
        "b2": rng.normal(0, 0.1, 16),
        "w3": rng.normal(0, 0.6, (classes, 16)),
        "b3": np.zeros(classes),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2", "b2"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    if last:
        nodes[0].input[0] = "t"
        nodes.insert(0, helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    opset = helper.make_opsetid("", 18 if operator == "Atanh" else 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.save(model, path)
    return model
