"""A graph cut off before the operators that suppress boxes, which have no derivative and are no part of a twin."""

from typing import Any

from edgeguard.errors import InputError
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.harmless import objection
from edgeguard.model.isolation import open_graph
from edgeguard.system.foreign import parsing

POSTPROCESS = "TFLite_Detection_PostProcess"


def cut_before(data: bytes, outputs: tuple[int, ...]) -> bytes:
    """The .tflite that ends in some of its own tensors; nothing else of it changes.

    Args:
        data: the file.
        outputs: numbers of tensors of its first subgraph.

    Raises:
        InputError: the bytes are no .tflite, what is left is not known to be harmless (an operator is named), or the
            runtime refuses it.
    """
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    ModelFile(data).root  # noqa: B018  # within the budget, before a reader follows every reference
    with parsing("the .tflite"):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
        graph = model.subgraphs[0]
        graph.operators = _needed(graph.operators, set(outputs))
        graph.outputs = list(outputs)
        model.signatureDefs, model.metadata, model.metadataBuffer = None, None, None
        _with_own_buffers(model, data)
        builder = Builder(len(data))
        builder.Finish(model.Pack(builder), b"TFL3")
    shorter = bytes(builder.Output())
    file = ModelFile(shorter)
    if (why := objection(file)) is not None:
        raise InputError(f"what stands before its suppression {why}")
    open_graph(file, threads=1)  # its trial on zeros
    return shorter


def _needed(operators: list[Any], wanted: set[int]) -> list[Any]:
    """The operators that some tensors depend on, in order."""
    chosen = []
    for operator in reversed(operators):
        if wanted & {int(n) for n in operator.outputs}:
            wanted.update(int(n) for n in operator.inputs)
            chosen.append(operator)
    return chosen[::-1]


def _with_own_buffers(model: Any, data: bytes) -> None:
    """Buffers that lie behind the table of a large file, as bytes in it."""
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = bytearray(data[buffer.offset : buffer.offset + buffer.size])
            buffer.offset = buffer.size = 0
