"""A float .tflite as the trained model: ours to guard, calibrate and quantise."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard_converters.graph.cleanup import clean, with_normalization
from edgeguard_converters.graph.float_graph import FloatGraph, float_graph
from edgeguard_converters.graph.foreign import check_foreign_graph
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.load.source import FileFacts, Source


@dataclass(frozen=True)
class TfliteSource(Source):
    """A float graph, its input (1, h, w, 3)."""

    graph: TfliteGraph

    def outputs(self, normalized: NDArray[np.float32]) -> Outputs:
        """See `Source.outputs`."""
        try:
            return self.graph.run(image[None] for image in normalized).dequantized()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"the graph does not run: {str(error).splitlines()[0]}") from error

    def not_finite(self) -> str | None:
        """See `Source.not_finite`."""
        return self.graph.first_not_finite()

    def parameter_count(self) -> int:
        """See `Source.parameter_count`."""
        return self.graph.parameters

    def export(self, normalization: Normalization, size: tuple[int, int], folder: Path, log: Path) -> FloatGraph:
        """See `Source.export`; the graph stays what it is, but for clean-ups and the normalization."""
        path = folder / "float.tflite"
        graph = self.graph if normalization.is_uniform else with_normalization(self.graph, normalization)
        path.write_bytes(clean(graph).data)
        return float_graph(path, normalization)


def tflite_source(data: bytes, kind: str, facts: FileFacts) -> TfliteSource:
    """Wrap the bytes of a float .tflite.

    Raises:
        InputError: it is quantised, compiled, holds an operator that is not on the list, has several inputs, a size
            that is not fixed, or no image input.
    """
    check_foreign_graph(data)
    try:
        graph = TfliteGraph(data)
        main = graph.model.subgraphs[0]
        inputs = [main.tensors[index] for index in main.inputs]
    except Exception as error:
        raise InputError(f"the file is no .tflite that can be read: {type(error).__name__}") from error
    if len(inputs) != 1:
        raise InputError(f"the graph has {len(inputs)} inputs; an image model takes one")
    if inputs[0].type != schema.TensorType.FLOAT32:
        raise InputError("the graph is quantized already: give the float .tflite that it was made from")
    if inputs[0].shapeSignature is not None and any(int(side) < 0 for side in inputs[0].shapeSignature[1:]):
        raise InputError("the graph's input size is not fixed: export it with a fixed size")
    shape = tuple(int(side) for side in inputs[0].shape)
    if len(shape) != 4 or shape[0] != 1 or shape[3] not in (1, 3):
        raise InputError(f"the graph's input is not one image of shape (1, height, width, 3 or 1), but {shape}")
    if shape[3] == 1:
        facts = replace(facts, color="GRAY")
    return TfliteSource(kind, (shape[2], shape[1]), facts, graph.with_signature())
