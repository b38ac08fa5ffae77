"""The map of votes of a classifier of regions leaves the graph as its second output."""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgeguard.errors import InputError
from edgeguard.model.contract import Contract, PatchCertificate
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.patch_certificate import PatchCertifier
from edgeguard_converters.graph.edit import builtin, constant, producer
from edgeguard_converters.graph.tflite_graph import TfliteGraph

_OPS = schema.BuiltinOperator
_PASSED = (_OPS.QUANTIZE, _OPS.DEQUANTIZE, _OPS.RESHAPE)


def with_vote_map(graph: TfliteGraph, contract: Contract, patch_px: int) -> tuple[TfliteGraph, Contract]:
    """The graph with the map that its first output is the mean of as a second one, and a contract that says so.

    Args:
        graph: a finished classifier.
        contract: its own.
        patch_px: the square that it was trained against, pixels of the input.

    Raises:
        InputError: nothing can be proven from this graph; the message says why.
    """
    model = graph.editable()
    main = model.subgraphs[0]
    number = _averaged(model)
    main.outputs = [*map(int, main.outputs), number]
    for signature in model.signatureDefs or []:
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = b"votes", number
        signature.outputs = [*signature.outputs, entry]
    done = TfliteGraph.of(model)
    PatchCertifier.of(ModelFile(done.data), len(main.outputs) - 1, contract.input.width, contract.input.height)
    certificate = PatchCertificate(len(main.outputs) - 1, patch_px)
    return done, contract.with_patch_certificate(certificate)


def _averaged(model: Any) -> int:
    """The tensor that the first output is the mean of, over rows and columns."""
    graph = model.subgraphs[0]
    if len(graph.outputs) != 1:
        raise InputError(f"the graph has {len(graph.outputs)} outputs; a classifier of regions has one")
    maker = producer(graph, graph.outputs[0])
    while maker is not None and builtin(model, maker) in _PASSED:
        maker = producer(graph, maker.inputs[0])
    if maker is None or builtin(model, maker) != _OPS.MEAN:
        raise InputError("the graph's output is not the mean of a map of votes")
    axes = constant(model, graph, maker.inputs[1])
    if axes is None or sorted(int(axis) % 4 for axis in axes.ravel()) != [1, 2]:
        raise InputError("the graph's output is not a mean over rows and columns")
    return int(maker.inputs[0])
