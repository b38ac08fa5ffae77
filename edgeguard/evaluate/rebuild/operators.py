"""TensorFlow Lite's operators in torch, on NHWC tensors of real values, differentiable.

What image classifiers use of the operators that are known to be harmless (`model.harmless`). Each function gets the
operator, its inputs as tensors (those that were left out are left out here) and the shape that the file states for the
output; activation and requantisation come after it.
Semantics: tensorflow/lite/kernels (reference implementation).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.evaluate.rebuild.arithmetic import ARITHMETIC, Function, Inputs
from edgeguard.evaluate.rebuild.graph import Operator
from edgeguard.evaluate.rebuild.resizing import resize_bilinear, resize_nearest_neighbor

_SAME = 0


def _nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Padding before and after one axis: the smaller half first."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _padded(x: Tensor, options: Any, kernel: tuple[int, int], value: float = 0.0) -> Tensor:
    """An NCHW tensor padded as `options.padding` says."""
    if options.padding != _SAME:
        return x
    dilations = getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1)
    top, bottom = _same_padding(x.shape[2], kernel[0], options.strideH, dilations[0])
    left, right = _same_padding(x.shape[3], kernel[1], options.strideW, dilations[1])
    return F.pad(x, (left, right, top, bottom), value=value) if top + bottom + left + right else x


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, options: Any, groups: int) -> Tensor:
    kernel = weight.shape[2], weight.shape[3]
    stride = options.strideH, options.strideW
    dilation = options.dilationHFactor, options.dilationWFactor
    if options.padding == _SAME:
        vertical = _same_padding(x.shape[2], kernel[0], stride[0], dilation[0])
        horizontal = _same_padding(x.shape[3], kernel[1], stride[1], dilation[1])
        if vertical[0] == vertical[1] and horizontal[0] == horizontal[1]:  # torch pads both sides alike by itself
            return F.conv2d(x, weight, bias, stride, (vertical[0], horizontal[0]), dilation, groups)
        x = F.pad(x, (*horizontal, *vertical))
    return F.conv2d(x, weight, bias, stride, 0, dilation, groups)


def conv_2d(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Filters are stored as (out, height, width, in); fewer `in` than the input has means groups."""
    x, weight = _nchw(inputs[0]), inputs[1].permute(0, 3, 1, 2)
    return _nhwc(_convolve(x, weight, _third(inputs), operator.options, x.shape[1] // weight.shape[1]))


def depthwise_conv_2d(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Filters are stored as (1, height, width, in * multiplier)."""
    x, weight = _nchw(inputs[0]), inputs[1].permute(3, 0, 1, 2)
    return _nhwc(_convolve(x, weight, _third(inputs), operator.options, x.shape[1]))


def transpose_conv(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Inputs: output shape, filters (out, height, width, in), data."""
    options, x, weight = operator.options, _nchw(inputs[2]), inputs[1].permute(3, 0, 1, 2)
    bias = inputs[3] if len(inputs) > 3 else None
    full = F.conv_transpose2d(x, weight, bias, (options.strideH, options.strideW))
    top = left = 0
    if options.padding == _SAME:
        top = _same_padding(shape[1], weight.shape[2], options.strideH)[0]
        left = _same_padding(shape[2], weight.shape[3], options.strideW)[0]
    return _nhwc(full[:, :, top : top + shape[1], left : left + shape[2]])


def fully_connected(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Weights are stored as (out, in)."""
    x = inputs[0] if operator.options.keepNumDims else inputs[0].reshape(-1, inputs[1].shape[1])
    return F.linear(x, inputs[1], _third(inputs))


def average_pool_2d(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The mean of the pixels that exist: padding does not count."""
    options, x = operator.options, _nchw(inputs[0])
    kernel, stride = (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
    padded = _padded(x, options, kernel)
    if padded is x:
        return _nhwc(F.avg_pool2d(x, kernel, stride))
    exists = _padded(torch.ones_like(x[:1, :1]), options, kernel)
    return _nhwc(F.avg_pool2d(padded, kernel, stride) / F.avg_pool2d(exists, kernel, stride))


def max_pool_2d(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The largest pixel of each window: NHWC in and out; padding never wins."""
    options = operator.options
    kernel = options.filterHeight, options.filterWidth
    padded = _padded(_nchw(inputs[0]), options, kernel, -torch.inf)
    return _nhwc(F.max_pool2d(padded, kernel, (options.strideH, options.strideW)))


def l2_pool_2d(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The root of the mean square of the pixels that exist."""
    return average_pool_2d(operator, [inputs[0].square()], shape).sqrt()


def reshape(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The file's shapes have a batch of 1; a tensor that still has its batch axis keeps it."""
    x = inputs[0]
    batched = len(shape) > 0 and shape[0] == 1 and x.ndim > 0 and x.numel() == len(x) * math.prod(shape[1:])
    return x.reshape(len(x), *shape[1:]) if batched else x.reshape(shape)


def pad(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """PAD pads with zero, PADV2 with its third input."""
    value = float(inputs[2].reshape(-1)[0]) if len(inputs) > 2 else 0.0
    widths = [int(w) for pair in reversed(inputs[1].tolist()) for w in pair]
    return F.pad(inputs[0], widths, value=value)


def mirror_pad(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """REFLECT (mode 0) repeats no border pixel; SYMMETRIC does."""
    x = inputs[0]
    for axis, (before, after) in enumerate(inputs[1].tolist()):
        size, skip = x.shape[axis], 1 if operator.options.mode == 0 else 0
        order = [
            *range(before - 1 + skip, skip - 1, -1),
            *range(size),
            *range(size - 1 - skip, size - 1 - skip - after, -1),
        ]
        if before or after:
            x = x.index_select(axis, torch.tensor(order))
    return x


def concatenation(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Along `axis`; constants, whose batch is 1, are repeated for each image."""
    count = max(len(x) for x in inputs)
    return torch.cat([x.expand(count, *x.shape[1:]) if len(x) == 1 else x for x in inputs], operator.options.axis)


def pack(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Tensors of one shape along a new axis, `axis`."""
    return torch.stack(list(inputs), operator.options.axis)


def split(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Inputs: axis, data. Equal parts."""
    return torch.tensor_split(inputs[1], len(operator.outputs), int(inputs[0].reshape(-1)[0]))


def split_v(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Inputs: data, sizes, axis."""
    return torch.split(inputs[0], [int(size) for size in inputs[1].tolist()], int(inputs[2].reshape(-1)[0]))


def unpack(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """The tensors along `axis`, each without it."""
    return torch.unbind(inputs[0], operator.options.axis)


def transpose(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Axes in the order of the second input."""
    return inputs[0].permute([int(axis) for axis in inputs[1].tolist()])


def reverse(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Backwards along the axes of the second input."""
    return inputs[0].flip([int(axis) for axis in inputs[1].reshape(-1).tolist()])


def tile(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """As often along each axis as the second input says."""
    return inputs[0].repeat([int(times) for times in inputs[1].tolist()])


def broadcast_to(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """To the shape that the file states, whose batch of 1 stands for that of the data."""
    x = inputs[0]
    batched = x.ndim == len(shape) > 0 and shape[0] == 1
    return x.expand(len(x) if batched else shape[0], *shape[1:]) if shape else x


def fill(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """One value in the shape that the file states."""
    return inputs[1].reshape(()).expand(shape)


def shape_of(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The shape that the file states for the input."""
    return torch.tensor(operator.input_shapes[0])


def range_(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Inputs: first value, the value before which it ends, step."""
    first, _, step = (each.reshape(()) for each in inputs)
    return first + step * torch.arange(shape[0], dtype=first.dtype)


def batch_to_space(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Inputs: data, block sides, crops (before and after, for each side). Images of a batch become rows and columns."""
    x, (high, wide), crops = inputs[0], inputs[1].tolist(), inputs[2].tolist()
    n, h, w, c = x.shape
    x = x.reshape(high, wide, n // (high * wide), h, w, c).permute(2, 3, 0, 4, 1, 5)
    x = x.reshape(n // (high * wide), h * high, w * wide, c)
    (top, bottom), (left, right) = crops
    return x[:, top : h * high - bottom, left : w * wide - right]


def space_to_batch(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Inputs: data, block sides, paddings (before and after, for each side). Every n-th row and column is an image."""
    (high, wide), ((top, bottom), (left, right)) = inputs[1].tolist(), inputs[2].tolist()
    x = F.pad(inputs[0], (0, 0, left, right, top, bottom))
    n, h, w, c = x.shape
    x = x.reshape(n, h // high, high, w // wide, wide, c).permute(2, 4, 0, 1, 3, 5)
    return x.reshape(n * high * wide, h // high, w // wide, c)


def slice_(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Begin and size for each axis; size -1 goes to the end. What takes a whole axis takes all of a batch."""
    x = inputs[0]
    for axis, (begin, size) in enumerate(zip(inputs[1].tolist(), inputs[2].tolist(), strict=True)):
        if size not in (-1, operator.input_shapes[0][axis]) or begin:
            x = x.narrow(axis, int(begin), int(size) if size >= 0 else x.shape[axis] - int(begin))
    return x


def strided_slice(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Positive and negative strides; begin, end and shrink masks; no ellipsis, no new axes."""
    options, x = operator.options, inputs[0]
    shrunk = []
    for axis, (begin, end, step) in enumerate(zip(*(i.tolist() for i in inputs[1:4]), strict=True)):
        if options.shrinkAxisMask >> axis & 1:
            x = x.narrow(axis, begin % x.shape[axis], 1)
            shrunk.append(axis)
            continue
        first = None if options.beginMask >> axis & 1 else begin
        last = None if options.endMask >> axis & 1 else end
        chosen = range(operator.input_shapes[0][axis])[slice(first, last, step)]
        if chosen != range(operator.input_shapes[0][axis]):
            x = x.index_select(axis, torch.tensor(list(chosen)))
    for axis in reversed(shrunk):
        x = x.squeeze(axis)
    return x


def gather(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Slices of `axis` at the places of the second input, in its shape."""
    axis = operator.options.axis
    index = inputs[1].long()
    return inputs[0].index_select(axis, index.reshape(-1)).unflatten(axis, index.shape or (1,))


def depth_to_space(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Channels are (row, column, rest), unlike torch's pixel_shuffle."""
    n, h, w, c = inputs[0].shape
    b = operator.options.blockSize
    x = inputs[0].reshape(n, h, w, b, b, c // (b * b))
    return x.permute(0, 1, 3, 2, 4, 5).reshape(n, h * b, w * b, c // (b * b))


def space_to_depth(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """(n, h, w, c) to (n, h / b, w / b, b * b * c): channels are (row, column, rest)."""
    n, h, w, c = inputs[0].shape
    b = operator.options.blockSize
    x = inputs[0].reshape(n, h // b, b, w // b, b, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(n, h // b, w // b, b * b * c)


def batch_matmul(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The product of the last two axes, each side transposed first where `adjX` or `adjY` says so."""
    left = inputs[0].transpose(-1, -2) if operator.options.adjX else inputs[0]
    right = inputs[1].transpose(-1, -2) if operator.options.adjY else inputs[1]
    return left @ right


def squeeze(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The shape that the file states, axes of 1 left out."""
    return reshape(operator, inputs, shape)


def _third(inputs: Inputs) -> Tensor | None:
    return inputs[2] if len(inputs) > 2 else None


OPERATORS: dict[str, Function] = ARITHMETIC | {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "TRANSPOSE_CONV": transpose_conv,
    "FULLY_CONNECTED": fully_connected,
    "AVERAGE_POOL_2D": average_pool_2d,
    "MAX_POOL_2D": max_pool_2d,
    "L2_POOL_2D": l2_pool_2d,
    "RESHAPE": reshape,
    "SQUEEZE": squeeze,
    "EXPAND_DIMS": reshape,
    "PAD": pad,
    "PADV2": pad,
    "MIRROR_PAD": mirror_pad,
    "CONCATENATION": concatenation,
    "PACK": pack,
    "UNPACK": unpack,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "TRANSPOSE": transpose,
    "REVERSE_V2": reverse,
    "TILE": tile,
    "BROADCAST_TO": broadcast_to,
    "FILL": fill,
    "SHAPE": shape_of,
    "RANGE": range_,
    "SLICE": slice_,
    "STRIDED_SLICE": strided_slice,
    "GATHER": gather,
    "RESIZE_BILINEAR": resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_neighbor,
    "DEPTH_TO_SPACE": depth_to_space,
    "SPACE_TO_DEPTH": space_to_depth,
    "BATCH_TO_SPACE_ND": batch_to_space,
    "SPACE_TO_BATCH_ND": space_to_batch,
    "BATCH_MATMUL": batch_matmul,
}


#: ActivationFunctionType of the schema, fused behind an operator.
ACTIVATIONS: dict[int, Callable[[Tensor], Tensor]] = {
    0: lambda x: x,
    1: F.relu,
    2: F.hardtanh,
    3: F.relu6,
    4: torch.tanh,
}


def unsupported(operator: Operator) -> str | None:
    """What of an operator is not known here, in words; None where all of it is."""
    name, options = operator.name, operator.options
    if name not in OPERATORS:
        return name
    if getattr(options, "fusedActivationFunction", 0) not in ACTIVATIONS:
        return f"{name} with activation {options.fusedActivationFunction}"
    if name == "STRIDED_SLICE" and (options.ellipsisMask or options.newAxisMask):
        return f"{name} with an ellipsis or new axes"
    if name == "GATHER" and getattr(options, "batchDims", False):
        return f"{name} with batch dimensions"
    if name in ("BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND") and len(operator.input_shapes[0]) != 4:
        return f"{name} of {len(operator.input_shapes[0])} dimensions"
    return None
