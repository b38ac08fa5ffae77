"""Reading what we need of a .tflite with the standard library: metadata, operator codes, the output's operator.

A FlatBuffers walk over bytes from outside: every access is checked against the data's length. Field numbers are
those of TensorFlow Lite's schema (version 3).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from edgeguard.errors import InputError

_MODEL_OPERATOR_CODES, _MODEL_SUBGRAPHS, _MODEL_BUFFERS, _MODEL_METADATA = 1, 2, 4, 6
_SUBGRAPH_OUTPUTS, _SUBGRAPH_OPERATORS = 2, 3
_OPERATOR_CODE_INDEX, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 0, 1, 2
_CODE_BUILTIN_OLD, _CODE_CUSTOM, _CODE_BUILTIN = 0, 1, 3
_BUFFER_DATA, _BUFFER_OFFSET, _BUFFER_SIZE = 0, 1, 2
_METADATA_NAME, _METADATA_BUFFER = 0, 1

SOFTMAX, LOGISTIC, DEQUANTIZE, QUANTIZE = 25, 14, 6, 114
EDGETPU_OP = b"edgetpu-custom-op"


class TruncatedModelError(InputError):
    """The file ends before the structures that it announces."""


@dataclass(frozen=True)
class _Table:
    data: bytes
    start: int

    def field(self, number: int) -> int | None:
        """The position of a field's value, or None where the writer left it at its default."""
        vtable = self.start - _scalar(self.data, self.start, "<i")
        size = _scalar(self.data, vtable, "<H")
        slot = 4 + 2 * number
        if slot + 2 > size:
            return None
        offset = _scalar(self.data, vtable + slot, "<H")
        return self.start + offset if offset else None

    def number(self, number: int, layout: str) -> int:
        position = self.field(number)
        return 0 if position is None else _scalar(self.data, position, layout)

    def vector(self, number: int) -> tuple[int, int]:
        """The position of a vector's first element and its length."""
        position = self.field(number)
        if position is None:
            return 0, 0
        start = position + _scalar(self.data, position, "<I")
        length = _scalar(self.data, start, "<I")
        if start + 4 + length > len(self.data):
            raise TruncatedModelError("the .tflite is truncated or damaged")
        return start + 4, length

    def bytes(self, number: int) -> bytes:
        start, length = self.vector(number)
        return self.data[start : start + length]

    def integers(self, number: int) -> list[int]:
        start, length = self.vector(number)
        return [_scalar(self.data, start + 4 * i, "<i") for i in range(length)]

    def tables(self, number: int) -> Iterator["_Table"]:
        start, length = self.vector(number)
        for index in range(length):
            position = start + 4 * index
            yield _Table(self.data, position + _scalar(self.data, position, "<I"))


@dataclass(frozen=True)
class ModelFile:
    """A .tflite's bytes, opened for reading.

    Raises:
        InputError: the bytes are not a .tflite, or they are truncated.

    Example:
        >>> ModelFile(b"hello")
        Traceback (most recent call last):
        edgeguard.errors.InputError: not a .tflite file (the TFL3 mark is missing)
    """

    data: bytes

    def __post_init__(self) -> None:
        if self.data[4:8] != b"TFL3":
            raise InputError("not a .tflite file (the TFL3 mark is missing)")

    @cached_property
    def _root(self) -> _Table:
        return _Table(self.data, _scalar(self.data, 0, "<I"))

    def metadata(self, name: str) -> bytes | None:
        """The buffer of the metadata entry `name`."""
        for entry in self._root.tables(_MODEL_METADATA):
            if entry.bytes(_METADATA_NAME) == name.encode():
                buffers = list(self._root.tables(_MODEL_BUFFERS))
                index = entry.number(_METADATA_BUFFER, "<I")
                if index >= len(buffers):
                    raise TruncatedModelError(f"the .tflite's metadata {name} points at no buffer")
                return self._buffer(buffers[index])
        return None

    @cached_property
    def operator_codes(self) -> list[tuple[int, bytes]]:
        """(builtin code, custom code) of each operator kind in the file."""
        codes = []
        for code in self._root.tables(_MODEL_OPERATOR_CODES):
            builtin = max(code.number(_CODE_BUILTIN_OLD, "<b"), code.number(_CODE_BUILTIN, "<i"))
            codes.append((builtin, code.bytes(_CODE_CUSTOM)))
        return codes

    @property
    def is_edgetpu(self) -> bool:
        """True when the file was compiled for the Edge TPU."""
        return any(custom == EDGETPU_OP for _, custom in self.operator_codes)

    def ends_in_probabilities(self) -> bool:
        """True when the first output comes from a SOFTMAX or LOGISTIC, conversions of its type aside."""
        subgraph = next(self._root.tables(_MODEL_SUBGRAPHS), None)
        if subgraph is None:
            raise InputError("the .tflite holds no graph")
        operators = list(subgraph.tables(_SUBGRAPH_OPERATORS))
        wanted = subgraph.integers(_SUBGRAPH_OUTPUTS)[:1]
        for operator in reversed(operators):
            if not set(wanted) & set(operator.integers(_OPERATOR_OUTPUTS)):
                continue
            index = operator.number(_OPERATOR_CODE_INDEX, "<I")
            code = self.operator_codes[index][0] if index < len(self.operator_codes) else -1
            if code not in (QUANTIZE, DEQUANTIZE):
                return code in (SOFTMAX, LOGISTIC)
            wanted = operator.integers(_OPERATOR_INPUTS)[:1]
        return False

    def _buffer(self, buffer: _Table) -> bytes:
        offset, size = buffer.number(_BUFFER_OFFSET, "<Q"), buffer.number(_BUFFER_SIZE, "<Q")
        if offset > 1:  # stored behind the flatbuffer
            if offset + size > len(self.data):
                raise TruncatedModelError("the .tflite is truncated or damaged")
            return self.data[offset : offset + size]
        return buffer.bytes(_BUFFER_DATA)


def _scalar(data: bytes, position: int, layout: str) -> int:
    try:
        if position < 0:
            raise struct.error
        return int(struct.unpack_from(layout, data, position)[0])
    except struct.error as error:
        raise TruncatedModelError("the .tflite is truncated or damaged") from error
