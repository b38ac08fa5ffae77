"""ONNX operators with weights or windows, as torch's."""

from typing import Any

import torch
from torch.nn import functional

from edgeguard_converters.load.onnx_graph.node import Function, Maker, Node


def _windows(node: Node, kernel: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Strides, dilations, and pads as begin and end of each axis in turn."""
    rank = len(kernel)
    strides = list(node.get("strides") or [1] * rank)
    dilations = list(node.get("dilations") or [1] * rank)
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = []
        for side, size, step, gap in zip(node.shapes[0][2:], kernel, strides, dilations, strict=True):
            total = max((-(-side // step) - 1) * step + (size - 1) * gap + 1 - side, 0)
            small, large = total // 2, total - total // 2
            pads.append((small, large) if auto == "SAME_UPPER" else (large, small))
    else:
        given = [0] * (2 * rank) if auto == "VALID" else list(node.get("pads") or [0] * (2 * rank))
        pads = [(given[i], given[i + rank]) for i in range(rank)]
    return strides, dilations, [side for pair in pads for side in pair]


def _flat(pads: list[int]) -> list[int]:
    """As `functional.pad` takes them: the last axis first."""
    return [side for i in range(len(pads) - 2, -1, -2) for side in pads[i : i + 2]]


def _even(pads: list[int]) -> list[int] | None:
    """One pad for both ends of each axis, where they are equal."""
    return pads[::2] if pads[::2] == pads[1::2] else None


def _convolution(node: Node) -> Function:
    kernel = list(node.shapes[1][2:])
    strides, dilations, pads = _windows(node, kernel)
    groups, even = node.get("group", 1), _even(pads)
    function: Any = {1: functional.conv1d, 2: functional.conv2d}.get(len(kernel))
    if function is None:
        raise node.refusal("has more than two axes of space")

    def run(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
        if even is None:
            x = functional.pad(x, _flat(pads))
        return function(x, weight, bias, strides, 0 if even is None else even, dilations, groups)

    return run


def _transposed(node: Node) -> Function:
    kernel = list(node.shapes[1][2:])
    strides, dilations, pads = _windows(node, kernel)
    if node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or "output_shape" in node.attributes:
        raise node.refusal("fixes its output's size, which is not supported")
    if len(kernel) != 2:
        raise node.refusal("has other than two axes of space")
    extra, even = node.get("output_padding", [0, 0]), _even(pads)

    def run(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        taken = even or [0, 0]
        x = functional.conv_transpose2d(x, weight, bias, strides, taken, extra, node.get("group", 1), dilations)
        if even is None:
            top, bottom, left, right = pads
            x = x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]
        return x

    return run


def _max_pool(node: Node) -> Function:
    kernel = list(node.get("kernel_shape"))
    strides, dilations, pads = _windows(node, kernel)
    if node.outputs > 1 or len(kernel) != 2:
        raise node.refusal("gives indices or has other than two axes of space, which is not supported")
    even, ceil = _even(pads), bool(node.get("ceil_mode", 0))
    if even is not None and all(2 * pad <= size for pad, size in zip(even, kernel, strict=True)):
        return lambda x: functional.max_pool2d(x, kernel, strides, even, dilations, ceil)

    def run(x: torch.Tensor) -> torch.Tensor:
        x = functional.pad(x, _flat(pads), value=float("-inf"))
        return functional.max_pool2d(x, kernel, strides, 0, dilations, ceil)

    return run


def _average_pool(node: Node) -> Function:
    kernel = list(node.get("kernel_shape"))
    strides, dilations, pads = _windows(node, kernel)
    if len(kernel) != 2 or dilations != [1, 1]:
        raise node.refusal("is dilated or has other than two axes of space, which is not supported")
    even, ceil, counted = _even(pads), bool(node.get("ceil_mode", 0)), bool(node.get("count_include_pad", 0))
    if even is not None and all(2 * pad <= size for pad, size in zip(even, kernel, strict=True)):
        return lambda x: functional.avg_pool2d(x, kernel, strides, even, ceil, counted)
    ones = functional.pad(torch.ones(1, 1, *node.shapes[0][2:]), _flat(pads), value=1.0 if counted else 0.0)
    share = functional.avg_pool2d(ones, kernel, strides, 0, ceil)

    def run(x: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(functional.pad(x, _flat(pads)), kernel, strides, 0, ceil) / share

    return run


def _batch_norm(node: Node) -> Function:
    epsilon = node.get("epsilon", 1e-5)

    def run(x: torch.Tensor, scale: Any, bias: Any, mean: Any, var: Any) -> torch.Tensor:
        return functional.batch_norm(x, mean, var, scale, bias, False, 0.0, epsilon)

    return run


def _instance_norm(node: Node) -> Function:
    epsilon = node.get("epsilon", 1e-5)
    return lambda x, scale, bias: functional.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


def _group_norm(node: Node) -> Function:
    epsilon, groups = node.get("epsilon", 1e-5), node.get("num_groups")

    def run(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        if scale.numel() == groups != x.shape[1]:  # before operator set 21: one for each group
            scale, bias = (v.repeat_interleave(x.shape[1] // groups) for v in (scale, bias))
        return functional.group_norm(x, groups, scale, bias, epsilon)

    return run


def _layer_norm(node: Node) -> Function:
    axis, epsilon = node.at(node.get("axis", -1)), node.get("epsilon", 1e-5)
    if node.outputs > 1:
        raise node.refusal("gives its mean too, which is not supported")
    shape = list(node.shapes[0][axis:])
    return lambda x, scale, bias=None: functional.layer_norm(
        x, shape, scale.reshape(shape), None if bias is None else bias.reshape(shape), epsilon
    )


def _rms_norm(node: Node) -> Function:
    axis, epsilon = node.at(node.get("axis", -1)), node.get("epsilon", 1e-5)
    dims = list(range(axis, len(node.shapes[0])))
    return lambda x, scale: x * torch.rsqrt((x * x).mean(dims, keepdim=True) + epsilon) * scale


def _lp_norm(node: Node) -> Function:
    axis, p = node.get("axis", -1), node.get("p", 2)
    return lambda x: x / torch.linalg.vector_norm(x, p, dim=axis, keepdim=True)


def _gemm(node: Node) -> Function:
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    first, second = node.get("transA", 0), node.get("transB", 0)

    def run(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        a = a.t() if first else a
        if alpha == beta == 1.0 and (c is None or c.ndim == 1):
            return functional.linear(a, b if second else b.t(), c)
        out = alpha * functional.linear(a, b if second else b.t())
        return out if c is None else out + beta * c

    return run


def _matmul(node: Node) -> Function:
    if node.known[1] is not None and len(node.shapes[1]) == 2 and len(node.shapes[0]) >= 2:
        return lambda a, b: functional.linear(a, b.t())
    return torch.matmul


def _einsum(node: Node) -> Function:
    return lambda *values: torch.einsum(node.get("equation"), *values)


def _resize(node: Node) -> Function:
    shape, mode = node.shapes[0], node.get("mode", "nearest")
    old = node.op == "Upsample" or node.opset < 11
    scales_at = 1 if old else 2
    if "scales" in node.attributes:
        sides = [int(s * f) for s, f in zip(shape, node.get("scales"), strict=True)]
    elif node.has(3) and not old:
        sides = node.integers(3)
    else:
        factors = node.values(scales_at).reshape(-1).tolist()
        sides = [int(side * factor + 1e-6) for side, factor in zip(shape, factors, strict=False)]
    if "axes" in node.attributes:
        whole = list(shape)
        for axis, side in zip(node.get("axes"), sides, strict=True):
            whole[axis] = side
        sides = whole
    if len(shape) != 4 or sides[:2] != list(shape[:2]) or node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.refusal("resizes other axes than height and width, which is not supported")
    if sides == list(shape):
        return lambda x, *_: x
    how = node.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    options = _interpolation(node, mode, how, bool(node.get("antialias", 0)), list(shape[2:]), sides[2:])
    return lambda x, *_: functional.interpolate(x, sides[2:], **options)


def _interpolation(
    node: Node, mode: str, how: str, antialias: bool, given: list[int], wanted: list[int]
) -> dict[str, Any]:
    """Arguments of torch's interpolation that give the same numbers."""
    if mode == "nearest":
        rounding = node.get("nearest_mode", "round_prefer_floor")
        whole = all(b % a == 0 for a, b in zip(given, wanted, strict=True))
        if how == "asymmetric" and (rounding == "floor" or node.op == "Upsample"):
            return {"mode": "nearest"}
        if how in ("half_pixel", "pytorch_half_pixel") and whole:
            return {"mode": "nearest"}
        if how == "asymmetric" and node.opset < 11:
            return {"mode": "nearest"}
    elif mode in ("linear", "cubic") and node.get("cubic_coeff_a", -0.75) == -0.75:
        torch_mode = {"linear": "bilinear", "cubic": "bicubic"}[mode]
        if how in ("half_pixel", "pytorch_half_pixel"):
            return {"mode": torch_mode, "align_corners": False, "antialias": antialias}
        if how == "align_corners" and not antialias:
            return {"mode": torch_mode, "align_corners": True}
    raise node.refusal(f"resizes by {mode} with {how} coordinates, which is not supported")


def _dropout(node: Node) -> Function:
    if node.outputs > 1:
        return lambda x, *_: (x, torch.ones(x.shape, dtype=torch.bool))
    return lambda x, *_: x


def _prelu(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    if slope.ndim == 3 and slope.shape[1:] == (1, 1) and x.ndim == 4:
        return functional.prelu(x, slope.reshape(-1))
    return torch.where(x < 0, x * slope, x)


def _lrn(node: Node) -> Function:
    size, alpha, beta, bias = node.get("size"), node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    return lambda x: functional.local_response_norm(x, size, alpha, beta, bias)


def _global_max(x: torch.Tensor) -> torch.Tensor:
    return torch.amax(x, list(range(2, x.ndim)), keepdim=True)


LAYERS: dict[str, Maker] = {
    "AveragePool": _average_pool, "BatchNormalization": _batch_norm, "Conv": _convolution,
    "ConvTranspose": _transposed, "Dropout": _dropout, "Einsum": _einsum, "Gemm": _gemm,
    "GlobalAveragePool": lambda n: lambda x: x.mean(list(range(2, x.ndim)), keepdim=True),
    "GlobalMaxPool": lambda n: _global_max, "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm, "LRN": _lrn, "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_norm, "MatMul": _matmul, "MaxPool": _max_pool, "PRelu": lambda n: _prelu,
    "RMSNormalization": _rms_norm, "Resize": _resize, "Upsample": _resize,
}  # fmt: skip
