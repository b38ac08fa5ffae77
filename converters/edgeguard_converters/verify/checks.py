"""Checks of a finished graph, before anything is written where the user wants it."""

from edgeguard.errors import CheckFailed
from edgeguard_converters.graph.tflite_graph import TfliteGraph

_FEW = 64  # float constants that may stand at a border of type float32: bounds, scales


def check_file(graph: TfliteGraph, io: str = "uint8", *, float_allowed: bool = False) -> None:
    """Refuse a graph that is not what was wanted: integer-only, borders of the right type, all buffers inside.

    Args:
        graph: the finished graph.
        io: type of input and outputs.
        float_allowed: some of its layers are meant to compute in float; outputs of those may be float.

    Raises:
        CheckFailed: naming what is wrong.
    """
    if not float_allowed and io != "float32" and (floats := graph.float_tensors()):
        raise CheckFailed(f"the quantized graph still computes in float at {floats[0]} ({len(floats)} tensors)")
    if not float_allowed and (stayed := graph.parameters) > _FEW:
        raise CheckFailed(f"the quantized file holds {stayed:,} float constants: weights stayed float")
    if graph.has_offset_buffers():
        raise CheckFailed("the quantized file stores buffers outside the flatbuffer")
    taken, given = graph.border_types()
    if taken != {io} or not given <= ({io, "float32"} if float_allowed else {io}):
        raise CheckFailed(f"the quantized file takes and gives {', '.join(sorted(taken | given))}, not {io}")
