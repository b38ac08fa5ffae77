"""ONNX operators that move numbers without changing them, as torch's."""

from typing import Any

import torch
from torch.nn import functional

from edgeguard_converters.load.onnx_graph.node import Function, Maker, Node

_MOST_PIECES = 10_000  # that a tensor is cut into


def _reshape(node: Node) -> Function:
    wanted, given = node.integers(1), node.shapes[0]
    if not node.get("allowzero", 0):
        wanted = [given[i] if side == 0 else side for i, side in enumerate(wanted)]
    return lambda x, *_: x.reshape(wanted)


def _flatten(node: Node) -> Function:
    rank, axis = len(node.shapes[0]), node.get("axis", 1)
    axis = rank if axis == rank else node.at(axis)  # behind the last one is a place, too
    return lambda x: x.flatten(axis) if axis == 1 else x.reshape(_count(x.shape[:axis]), -1)


def _count(sides: Any) -> int:
    result = 1
    for side in sides:
        result *= side
    return result


def _squeeze(node: Node) -> Function:
    axes = node.axes(1)
    if axes is None:
        return lambda x, *_: x.squeeze()
    dims = tuple(node.at(axis) for axis in axes)
    return lambda x, *_: x.squeeze(dims)


def _unsqueeze(node: Node) -> Function:
    axes = node.axes(1) or []
    places = sorted(node.at(axis, len(node.shapes[0]) + len(axes)) for axis in axes)

    def run(x: torch.Tensor, *_: Any) -> torch.Tensor:
        for axis in places:
            x = x.unsqueeze(axis)
        return x

    return run


def _slice(node: Node) -> Function:
    shape = node.shapes[0]
    if "starts" in node.attributes:
        starts, ends = node.get("starts"), node.get("ends")
        axes, steps = node.get("axes", list(range(len(starts)))), [1] * len(starts)
    else:
        starts, ends = node.integers(1), node.integers(2)
        axes = node.integers(3) if node.has(3) else list(range(len(starts)))
        steps = node.integers(4) if node.has(4) else [1] * len(starts)
    cuts = [slice(None)] * len(shape)
    turned: dict[int, range] = {}
    for begin, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= len(shape)
        if step == 0:
            raise node.refusal("has a step of zero")
        if step < 0:
            last = None if end < -shape[axis] else end
            turned[axis] = range(shape[axis])[begin:last:step]
            if turned[axis] != range(shape[axis])[::-1] and len(turned[axis]) > _MOST_PIECES:
                raise node.refusal(f"takes {len(turned[axis])} places backwards one by one")
        else:
            cuts[axis] = slice(begin, end, step)

    def run(x: torch.Tensor, *_: Any) -> torch.Tensor:
        x = x[tuple(cuts)]
        for axis, order in turned.items():
            whole = order == range(x.shape[axis])[::-1]
            x = torch.flip(x, [axis]) if whole else torch.cat([x.narrow(axis, i, 1) for i in order], axis)
        return x

    return run


def _split(node: Node) -> Function:
    axis = node.at(node.get("axis", 0))
    side = node.shapes[0][axis]
    if "split" in node.attributes:
        sizes = list(node.get("split"))
    elif node.has(1):
        sizes = node.integers(1)
    else:
        count = node.get("num_outputs", node.outputs)
        if not 0 < count <= _MOST_PIECES:
            raise node.refusal(f"splits into {count} pieces")
        piece = -(-side // count)
        sizes = [min(piece, side - i * piece) for i in range(count)]
    return lambda x, *_: tuple(torch.split(x, sizes, axis))


def _gather(node: Node) -> Function:
    axis = node.at(node.get("axis", 0))
    side = node.shapes[0][axis]
    indices = node.known[1]
    if indices is None:
        return lambda x, i: torch.index_select(x, axis, i.reshape(-1)).reshape(
            *x.shape[:axis], *i.shape, *x.shape[axis + 1 :]
        )
    given = [int(i) for i in indices.reshape(-1).tolist()]
    if any(not -side <= i < side for i in given):
        raise node.refusal(f"takes what is not there: its indices leave the {side} of the axis")
    chosen = [i % side for i in given]
    shape = list(indices.shape)
    if not shape:
        return lambda x, _: x.select(axis, chosen[0])
    if chosen == list(range(chosen[0], chosen[0] + len(chosen))):
        return lambda x, _: x.narrow(axis, chosen[0], len(chosen)).reshape(
            *x.shape[:axis], *shape, *x.shape[axis + 1 :]
        )
    return lambda x, i: torch.index_select(x, axis, (i % side).reshape(-1)).reshape(
        *x.shape[:axis], *shape, *x.shape[axis + 1 :]
    )


def _pad(node: Node) -> Function:
    if "pads" in node.attributes or "paddings" in node.attributes:
        pads, value = list(node.get("pads", node.get("paddings"))), node.get("value", 0.0)
        axes = list(range(len(node.shapes[0])))
    else:
        pads, value = node.integers(1), node.number(2, 0.0)
        axes = node.integers(3) if node.has(3) else list(range(len(node.shapes[0])))
    mode, rank = node.get("mode", "constant"), len(node.shapes[0])
    sides = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        sides[node.at(axis)] = (pads[i], pads[i + len(axes)])
    if mode != "constant":
        if mode not in ("reflect", "edge") or any(side != (0, 0) for side in sides[:2]):
            raise node.refusal(f"pads with {mode}, which is not supported there")
        flat = [side for pair in reversed(sides[2:]) for side in pair]
        return lambda x, *_: functional.pad(x, flat, {"reflect": "reflect", "edge": "replicate"}[mode])
    while sides and sides[0] == (0, 0):
        sides.pop(0)
    flat = [side for pair in reversed(sides) for side in pair]
    return lambda x, *_: functional.pad(x, flat, value=value) if flat else x


def _depth_to_space(node: Node) -> Function:
    block, mode = node.get("blocksize"), node.get("mode", "DCR")
    if mode == "CRD":
        return lambda x: functional.pixel_shuffle(x, block)

    def run(x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        x = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(n, c // block**2, h * block, w * block)

    return run


def _space_to_depth(node: Node) -> Function:
    block = node.get("blocksize")

    def run(x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
        return x.reshape(n, c * block**2, h // block, w // block)

    return run


def _expand(node: Node) -> Function:
    wanted = node.integers(1)
    shape = list(torch.broadcast_shapes(tuple(wanted), node.shapes[0]))
    return lambda x, *_: x.expand(shape)


def _constant_of_shape(node: Node) -> Function:
    value = node.get("value", torch.zeros(1))
    return lambda shape: torch.full([int(n) for n in shape.tolist()], value.reshape(-1)[0].item(), dtype=value.dtype)


def _range(begin: torch.Tensor, end: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    return torch.arange(begin.item(), end.item(), step.item(), dtype=begin.dtype)


def _one_hot(node: Node) -> Function:
    depth, axis = int(node.values(1).reshape(-1)[0]), node.get("axis", -1)
    off, on = (float(value) for value in node.values(2).reshape(-1).tolist())

    def run(indices: torch.Tensor, *_: Any) -> torch.Tensor:
        numbers = indices.long()
        known = ((numbers >= -depth) & (numbers < depth)).unsqueeze(-1)  # of any other nothing is on
        hot = (functional.one_hot(numbers % depth, depth) * known).float() * (on - off) + off
        return hot if axis in (-1, indices.ndim) else hot.movedim(-1, axis)

    return run


def _trilu(node: Node) -> Function:
    shift = int(node.number(1, 0))
    function = torch.triu if node.get("upper", 1) else torch.tril
    return lambda x, *_: function(x, shift)


def _top_k(node: Node) -> Function:
    count = node.get("k") if "k" in node.attributes else int(node.number(1, 1))
    axis, largest = node.get("axis", -1), bool(node.get("largest", 1))
    return lambda x, *_: tuple(torch.topk(x, count, axis, largest))


def _cumsum(node: Node) -> Function:
    axis = int(node.number(1, 0))
    if node.get("exclusive", 0) or node.get("reverse", 0):
        raise node.refusal("sums exclusively or in reverse, which is not supported")
    return lambda x, *_: torch.cumsum(x, axis)


def _scatter_elements(node: Node) -> Function:
    if node.get("reduction", "none") != "none":
        raise node.refusal("reduces, which is not supported")
    axis = node.get("axis", 0)
    return lambda x, indices, values: torch.scatter(x, axis, indices, values)


def _scatter_nd(node: Node) -> Function:
    if node.get("reduction", "none") not in ("none", b"none"):
        raise node.refusal("reduces, which is not supported")
    return lambda x, indices, values: torch.index_put(x, tuple(indices.long().unbind(-1)), values)


ARRANGEMENT: dict[str, Maker] = {
    "Concat": lambda n: lambda *v: torch.cat([x for x in v if x.numel()] or list(v[:1]), n.get("axis", 1)),
    "ConstantOfShape": _constant_of_shape, "CumSum": _cumsum, "DepthToSpace": _depth_to_space, "Expand": _expand,
    "Flatten": _flatten, "Gather": _gather,
    "GatherElements": lambda n: lambda x, i: torch.gather(x, n.get("axis", 0), i), "OneHot": _one_hot, "Pad": _pad,
    "Range": lambda n: _range, "Reshape": _reshape, "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd, "Slice": _slice,
    "SpaceToDepth": _space_to_depth, "Split": _split, "Squeeze": _squeeze,
    "Tile": lambda n: lambda x, *_: x.repeat(n.integers(1)), "TopK": _top_k,
    "Transpose": lambda n: lambda x: x.permute(n.get("perm", list(range(x.ndim))[::-1])), "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}  # fmt: skip
