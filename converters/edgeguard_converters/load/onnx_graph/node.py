"""A node of an ONNX graph as the makers of operators see it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgeguard.errors import InputError

#: What a maker returns: tensors of the node's inputs (None where one is left out) to its outputs.
Function = Callable[..., Any]
Maker = Callable[["Node"], Function]


@dataclass(frozen=True, eq=False)
class Node:
    """One operator with what is known of it before the model runs.

    Attributes:
        op: `Conv`.
        name: the node's own, for messages; often a path of modules.
        opset: version of the operator set.
        inputs: names; empty for one that is left out.
        outputs: how many there are.
        attributes: as Python values; tensors as torch's.
        known: values of the inputs that do not depend on the picture; None for the others.
        shapes: of all inputs.
    """

    op: str
    name: str
    opset: int
    inputs: tuple[str, ...]
    outputs: int
    attributes: dict[str, Any]
    known: tuple[torch.Tensor | None, ...]
    shapes: tuple[tuple[int, ...], ...]

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether this input is there."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def values(self, index: int) -> torch.Tensor:
        """An input that must not depend on the picture.

        Raises:
            InputError: it does.
        """
        found = self.known[index] if index < len(self.known) else None
        if found is None:
            raise self.refusal("takes a size or an index that depends on the picture")
        return found

    def integers(self, index: int) -> list[int]:
        """Such an input as a list of integers."""
        return [int(value) for value in self.values(index).reshape(-1).tolist()]

    def number(self, index: int, default: float) -> float:
        """Such an input as one number; the default where it is left out."""
        return float(self.values(index).reshape(-1)[0]) if self.has(index) else default

    def axes(self, index: int) -> list[int] | None:
        """Axes: an attribute in older operator sets, an input in newer ones."""
        if "axes" in self.attributes:
            return [int(axis) for axis in self.attributes["axes"]]
        return self.integers(index) if self.has(index) else None

    def at(self, axis: int, rank: int | None = None) -> int:
        """An axis counted from the front; of the first input, or of a tensor of so many axes.

        Raises:
            InputError: there is no such axis.
        """
        count = len(self.shapes[0]) if rank is None else rank
        if not -count <= axis < count:
            raise self.refusal(f"names the axis {axis}, and there are {count}")
        return axis % count

    def refusal(self, what: str) -> InputError:
        """The error that names this node."""
        shapes = ", ".join("x".join(map(str, shape)) or "scalar" for shape in self.shapes)
        place = f" at {self.name[:120]}" if self.name else ""
        return InputError(f"the ONNX operator {self.op}{place} ({shapes}) {what}; --onnx2tf may convert it")


def attribute_value(attribute: Any) -> Any:
    """The Python value of an attribute of a checked node."""
    kind = attribute.type
    if kind == 4:
        return tensor_of(attribute.t)
    value = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints", 8: "strings"}[kind]
    found = getattr(attribute, value)
    if kind in (6, 7):
        return list(found)
    if kind == 3:
        return found.decode("utf-8", "replace")
    return [text.decode("utf-8", "replace") for text in found] if kind == 8 else found


def tensor_of(tensor: Any) -> torch.Tensor:
    """A checked weight; half precision and double become float32."""
    from onnx import numpy_helper

    values = np.array(numpy_helper.to_array(tensor))
    if values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:  # bfloat16 of ml_dtypes
        values = values.astype(np.float32)
    if values.dtype in (np.float16, np.float64):
        values = values.astype(np.float32)
    if values.dtype in (np.uint16, np.uint32, np.uint64):
        values = values.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(values).reshape(values.shape))
