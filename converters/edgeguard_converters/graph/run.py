"""Running a .tflite over a batch of images on the workstation."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.runtime import GraphRunner, dequantize

#: One image (1, h, w, 3) of uint8 to the tensor that a graph takes.
Feed = Callable[[NDArray[np.uint8]], NDArray[Any]]
#: One float array (n, ...) for each output of a model.
Outputs = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, eq=False)
class RawOutputs:
    """What a graph gave for n inputs, as it is stored.

    Attributes:
        values: one array (n, ...) for each output, in the output's own type.
        details: what the runtime says of each output.
    """

    values: tuple[NDArray[Any], ...]
    details: tuple[dict[str, Any], ...]

    def dequantized(self) -> Outputs:
        """The same in float32."""
        return tuple(dequantize(values, detail) for values, detail in zip(self.values, self.details, strict=True))


def run_graph(runner: GraphRunner, tensors: Iterable[NDArray[Any]]) -> RawOutputs:
    """Run a graph on input tensors, one after the other.

    Args:
        runner: holds the graph.
        tensors: inputs of the graph's own shape and type, at least one.

    Raises:
        ValueError, RuntimeError: the runtime refuses an input.
    """
    rows = [runner.run_raw(tensor) for tensor in tensors]
    return RawOutputs(tuple(np.stack(values) for values in zip(*rows, strict=True)), tuple(runner.outputs))


#: Name, the runtime's details and the values as stored, of a tensor between two operators.
Activation = tuple[str, dict[str, Any], NDArray[Any]]


def activations(
    runner: GraphRunner, tensors: Iterable[NDArray[Any]], names: Collection[str]
) -> Iterator[Iterator[Activation]]:
    """The named tensors between the operators, for each input; each is read as it is reached.

    Constants that the runtime folded away are left out.

    Args:
        runner: holds the graph, with `every_tensor`.
        tensors: inputs of the graph's own shape and type.
        names: of tensors; those that are not in the graph are left out.
    """
    details = runner.tensors(names)
    for tensor in tensors:
        runner.set(tensor)
        runner.invoke()
        yield _kept(runner, details)


def _kept(runner: GraphRunner, details: dict[str, dict[str, Any]]) -> Iterator[Activation]:
    for name, detail in details.items():
        values = runner.get_if_kept(detail)
        if values is not None:
            yield name, detail, values


def integer_feed(dtype: str) -> Feed:
    """Pixels to the input of an 8-bit graph: levels as they are for uint8, minus 128 for int8.

    Example:
        >>> integer_feed("int8")(np.zeros((1, 1, 1, 3), np.uint8)).ravel().tolist()
        [-128, -128, -128]
    """
    return (lambda image: image) if dtype == "uint8" else (lambda image: (image ^ np.uint8(0x80)).view(np.int8))
