"""ONNX operators of quantized graphs, as the float graph that they stand for.

Weights get their float values back. Of a rounded activation only the saturation is kept, which tools use in a ReLU's
place; the rounding, which our own quantization makes anew, is not.
"""

from typing import Any

import torch

from edgeguard_converters.load.onnx_graph.node import Function, Maker, Node

_BOUNDS = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.int32: (-(2**31), 2**31 - 1)}


def _along(values: torch.Tensor, axis: int, rank: int) -> torch.Tensor:
    """A scale for each channel, shaped so that it meets its channels."""
    if values.numel() == 1:
        return values.reshape(())
    return values.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def _parts(node: Node) -> tuple[torch.Tensor, torch.Tensor, torch.dtype]:
    rank, axis = len(node.shapes[0]), node.get("axis", 1)
    if node.get("block_size", 0):
        raise node.refusal("has scales for blocks, which is not supported")
    scale = _along(node.values(1).float(), axis, rank)
    zero = node.values(2) if node.has(2) else torch.zeros((), dtype=torch.uint8)
    return scale, _along(zero.float(), axis, rank), zero.dtype


def _quantize(node: Node) -> Function:
    """Of an activation: its saturation, in the units of the activation."""
    scale, zero, kind = _parts(node)
    if kind not in _BOUNDS:
        raise node.refusal("rounds to a type that is not supported")
    low, high = _BOUNDS[kind]
    least, most = (low - zero) * scale, (high - zero) * scale
    if least.numel() == 1:
        return lambda x, *_: torch.clamp(x, float(least), float(most))
    return lambda x, *_: torch.minimum(torch.maximum(x, least), most)


def _dequantize(node: Node) -> Function:
    if node.known[0] is None:  # an activation, whose numbers never were integers here
        return lambda x, *_: x
    scale, zero, _ = _parts(node)
    return lambda x, *_: (x.float() - zero) * scale


def _dynamic(node: Node) -> Function:
    """The numbers themselves, with a scale of one and a zero of zero."""
    return lambda x: (x, torch.ones(()), torch.zeros(()))


def _integer_weight(node: Node, weight: torch.Tensor, zero: Any) -> torch.Tensor:
    zero = torch.zeros(()) if zero is None else _along(zero.float(), 0 if node.op == "ConvInteger" else 1, weight.ndim)
    return weight.float() - zero


def _matmul_integer(node: Node) -> Function:
    def run(a: torch.Tensor, b: torch.Tensor, _: Any = None, zero: Any = None) -> torch.Tensor:
        return torch.matmul(a, _integer_weight(node, b, zero))

    return run


def _convolution_integer(node: Node) -> Function:
    from edgeguard_converters.load.onnx_graph.layers import LAYERS

    convolution = LAYERS["Conv"](node)

    def run(x: torch.Tensor, weight: torch.Tensor, _: Any = None, zero: Any = None) -> Any:
        return convolution(x, _integer_weight(node, weight, zero))

    return run


QUANTIZED: dict[str, Maker] = {
    "ConvInteger": _convolution_integer, "DequantizeLinear": _dequantize, "DynamicQuantizeLinear": _dynamic,
    "MatMulInteger": _matmul_integer, "QuantizeLinear": _quantize,
}  # fmt: skip
