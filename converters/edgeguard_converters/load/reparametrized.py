"""Weights that a checkpoint keeps as something else (pruned, normalized), put together as torch does in evaluation.

| what made them | what the checkpoint holds in the place of `weight` |
|---|---|
| `torch.nn.utils.prune` | `weight_orig`, `weight_mask` |
| `torch.nn.utils.weight_norm` | `weight_g`, `weight_v` |
| `torch.nn.utils.spectral_norm` | `weight_orig`, `weight_u`, `weight_v` |
| `torch.nn.utils.parametrizations.weight_norm` | `parametrizations.weight.original0`, `original1` |
| `torch.nn.utils.parametrizations.spectral_norm` | `parametrizations.weight.original`, `.0._u`, `.0._v` |
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard_converters.load.pickle_records import Tensor

_Numbers = NDArray[np.float64]
_PARAMETRIZED = re.compile(r"(.*?)parametrizations\.([^.]+)\.(original0|original1|original|0\._u|0\._v)")
#: How a weight is kept in parts, in words.
_PRUNED, _NORMED, _SPECTRAL = "pruning", "weight_norm", "spectral_norm"


def put_together(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a state_dict with each weight as the network uses it.

    Args:
        tensors: by name.

    Returns:
        The tensors, and lines for the user: how many weights were put together, and how they were kept.

    Raises:
        InputError: a weight is parametrized in a way that is not known, or its parts do not fit each other.

    Example:
        >>> g, v = np.full((1, 1), 2.0, "f4"), np.array([[3.0, 4.0]], "f4")
        >>> kept, said = put_together({"fc.weight_g": Tensor("float32", g), "fc.weight_v": Tensor("float32", v)})
        >>> kept["fc.weight"].values.round(4).tolist(), said
        ([[1.2, 1.6]], ['1 weights were put together, which weight_norm had split'])
    """
    kept, made = dict(tensors), Counter[str]()
    for name, how, parts in _split_weights(tensors):
        values = [_numbers(tensors[part]) for part in parts]
        try:
            whole = _make(how)(*values)
        except ValueError as error:
            raise InputError(f"the parts of the weight {name[:80]!r}, which {how} had split, do not fit") from error
        for part in parts:
            del kept[part]
        kept[name] = Tensor("float32", whole.astype(np.float32))
        made[how] += 1
    if left := next((name for name in kept if "parametrizations." in name), None):
        raise InputError(
            f"the weight {left[:80]!r} is parametrized in a way that is not known here: call "
            "torch.nn.utils.parametrize.remove_parametrizations before saving"
        )
    return kept, [f"{count} weights were put together, which {how} had split" for how, count in made.items()]


def _make(how: str) -> Callable[..., _Numbers]:
    return {_PRUNED: _unmasked, _NORMED: _of_length}.get(how, _of_largest_1)


def _split_weights(tensors: Mapping[str, Tensor]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Name, how it is kept, and the names of the parts of each weight that is kept in parts."""
    found: list[tuple[str, str, tuple[str, ...]]] = []
    for name in tensors:
        if match := _PARAMETRIZED.fullmatch(name):
            before, own, part = match.groups()
            place = f"{before}parametrizations.{own}."
            if part == "original0" and f"{place}original1" in tensors:
                found.append((before + own, _NORMED, (name, f"{place}original1")))
            elif part == "original" and {f"{place}0._u", f"{place}0._v"} <= tensors.keys():
                found.append((before + own, _SPECTRAL, (name, f"{place}0._u", f"{place}0._v")))
        elif name.endswith("_orig"):
            own = name.removesuffix("_orig")
            if f"{own}_mask" in tensors:
                found.append((own, _PRUNED, (name, f"{own}_mask")))
            elif {f"{own}_u", f"{own}_v"} <= tensors.keys():
                found.append((own, _SPECTRAL, (name, f"{own}_u", f"{own}_v")))
        elif name.endswith("_g") and (direction := f"{name[:-2]}_v") in tensors and name[:-2] not in tensors:
            if not _is_length(tensors[name].values.shape, tensors[direction].values.shape):
                continue  # these only happen to be called so
            found.append((name[:-2], _NORMED, (name, direction)))
    return found


def _is_length(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether these can be the lengths of a tensor's slices: one number for each slice along one axis, or for all."""
    if shape == ():
        return True
    sides = [(side, full) for side, full in zip(shape, whole, strict=False) if side != 1]
    return len(shape) == len(whole) > 1 and len(sides) <= 1 and all(side == full for side, full in sides)


def _unmasked(original: _Numbers, mask: _Numbers) -> _Numbers:
    if original.shape != mask.shape:
        raise ValueError("a mask of another shape")
    return original * mask


def _of_length(length: _Numbers, direction: _Numbers) -> _Numbers:
    """length x direction / |direction|, the norm over all axes along which the length is one number."""
    if not _is_length(length.shape, direction.shape):
        raise ValueError("lengths of another shape")
    axes = tuple(i for i in range(direction.ndim) if length.ndim == 0 or length.shape[i] == 1)
    norm = np.sqrt(np.square(direction).sum(axis=axes, keepdims=True))
    return length * direction / np.where(norm == 0, 1, norm)


def _of_largest_1(original: _Numbers, u: _Numbers, v: _Numbers) -> _Numbers:
    """original / sigma, where sigma = u^T W v is its largest singular value as training left it.

    W has the output channels as rows, which are axis 1 of a transposed convolution. Where the shapes fit both, the
    vectors tell: W v is sigma u.
    """
    best: tuple[float, float] | None = None
    for axis in range(min(original.ndim, 2)):
        rows = np.moveaxis(original, axis, 0).reshape(original.shape[axis], -1)
        if rows.shape == (len(u), len(v)):
            sigma = float(u @ rows @ v)
            off = float(np.abs(rows @ v - sigma * u).max())
            if sigma != 0 and (best is None or off < best[0]):
                best = off, sigma
    if best is None:
        raise ValueError("vectors of another shape")
    return original / best[1]


def _numbers(tensor: Tensor) -> _Numbers:
    values = tensor.values
    if tensor.kind == "bfloat16":  # the upper half of a float32
        values = (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)
