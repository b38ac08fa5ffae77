"""What a .tflite says of its outputs: the operator that makes each, the names of its signature and of its metadata."""

from dataclasses import dataclass

from edgeguard.errors import InputError
from edgeguard.model.flatbuffer import DEQUANTIZE, QUANTIZE, ModelFile
from edgeguard.model.table import Table

_MODEL_SUBGRAPHS, _MODEL_SIGNATURES = 2, 7
_GRAPH_TENSORS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 0, 2, 3
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 0, 1, 2
_TENSOR_NAME = 3
_SIGNATURE_OUTPUTS, _MAP_NAME, _MAP_TENSOR = 1, 0, 1
_METADATA_GRAPHS, _METADATA_OUTPUTS, _METADATA_NAME = 3, 3, 0
_RESHAPE, _SQUEEZE, _EXPAND_DIMS, _CAST = 22, 43, 70, 53
#: Operators that change an output's type or shape and not what it says.
_THROUGH = frozenset({QUANTIZE, DEQUANTIZE, _RESHAPE, _SQUEEZE, _EXPAND_DIMS, _CAST})
_MOST_STEPS = 32


@dataclass(frozen=True)
class OutputName:
    """What the file says of one output.

    Attributes:
        names: of the signature, the metadata and the tensor, in lower case; what is missing is empty.
        code: builtin code of the operator that makes it, conversions of type and shape aside; -1 for none.
        custom: name of that operator where it is no builtin one.
        slot: which of the operator's outputs it is.
    """

    names: tuple[str, str, str]
    code: int
    custom: str
    slot: int


def output_names(model: ModelFile) -> tuple[OutputName, ...]:
    """One for each output of the first graph, in its order.

    Raises:
        InputError: the file holds no graph, or is truncated.
    """
    graph = next(model.root.tables(_MODEL_SUBGRAPHS), None)
    if graph is None:
        raise InputError("the .tflite holds no graph")
    outputs = graph.integers(_GRAPH_OUTPUTS)
    signature, metadata = _signature_names(model), _metadata_names(model)
    made_by = {}
    for operator in graph.tables(_GRAPH_OPERATORS):
        for slot, tensor in enumerate(operator.integers(_OPERATOR_OUTPUTS)):
            made_by[tensor] = operator, slot
    found = []
    for position, tensor in enumerate(outputs):
        said = metadata[position] if len(metadata) == len(outputs) else ""
        named = graph.element(_GRAPH_TENSORS, tensor)
        own = "" if named is None else _text(named.bytes(_TENSOR_NAME))
        found.append(OutputName((signature.get(tensor, ""), said, own), *_origin(model, made_by, tensor)))
    return tuple(found)


def _origin(model: ModelFile, made_by: dict[int, tuple[Table, int]], tensor: int) -> tuple[int, str, int]:
    for _ in range(_MOST_STEPS):
        if tensor not in made_by:
            break
        operator, slot = made_by[tensor]
        index = operator.number(_OPERATOR_CODE, "<I")
        code, custom = model.operator_codes[index] if index < len(model.operator_codes) else (-1, b"")
        inputs = operator.integers(_OPERATOR_INPUTS)
        if code not in _THROUGH or not inputs:
            return code, custom.decode("utf-8", "replace"), slot
        tensor = inputs[0]
    return -1, "", 0


def _signature_names(model: ModelFile) -> dict[int, str]:
    """Names of the first signature's outputs by tensor; of several signatures none is known to be the one that runs."""
    signatures = list(model.root.tables(_MODEL_SIGNATURES))
    if len(signatures) != 1:
        return {}
    return {
        entry.number(_MAP_TENSOR, "<I"): _text(entry.bytes(_MAP_NAME))
        for entry in signatures[0].tables(_SIGNATURE_OUTPUTS)
    }


def _metadata_names(model: ModelFile) -> list[str]:
    data = model.metadata("TFLITE_METADATA")
    if not data:
        return []
    try:
        graph = next(Table.root(data).tables(_METADATA_GRAPHS), None)
        entries = [] if graph is None else list(graph.tables(_METADATA_OUTPUTS))[:64]
        return [_text(entry.bytes(_METADATA_NAME)) for entry in entries]
    except InputError:
        return []  # metadata is a comment: a graph runs without it


def _text(data: bytes) -> str:
    return data[:200].decode("utf-8", "replace").lower()
