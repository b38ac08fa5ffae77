"""Checks of a finished graph, before anything is written where the user wants it."""

from edgeguard.errors import CheckFailed
from edgeguard_converters.graph.tflite_graph import TfliteGraph

_SMALL = 100_000  # bytes: below, operators and names weigh more than weights


def check_file(
    graph: TfliteGraph, io: str = "uint8", *, float_allowed: bool = False, float_bytes: int | None = None
) -> None:
    """Refuse a graph that is not what was wanted: integer-only, borders of the right type, all buffers inside.

    Args:
        graph: the finished graph.
        io: type of input and outputs.
        float_allowed: some of its layers are meant to compute in float; outputs of those may be float.
        float_bytes: the size of the float graph, of which an integer-only one of more than 100 kB takes less than half.

    Raises:
        CheckFailed: naming what is wrong.
    """
    if not float_allowed and io != "float32" and (floats := graph.float_tensors()):
        raise CheckFailed(f"the quantized graph still computes in float at {floats[0]} ({len(floats)} tensors)")
    size = len(graph.data)
    if not float_allowed and float_bytes is not None and size > max(float_bytes / 2, _SMALL):
        raise CheckFailed(f"the quantized file has {size:,} bytes, the float one {float_bytes:,}: weights stayed float")
    if graph.has_offset_buffers():
        raise CheckFailed("the quantized file stores buffers outside the flatbuffer")
    taken, given = graph.border_types()
    if taken != {io} or not given <= ({io, "float32"} if float_allowed else {io}):
        raise CheckFailed(f"the quantized file takes and gives {', '.join(sorted(taken | given))}, not {io}")
