"""Reading what we need of a .tflite with the standard library: metadata, operator codes, the output's operator.

A FlatBuffers walk over bytes from outside: every access is checked against the data's length, and the whole file
against a budget (`model.budget`) before the first answer. Field numbers are those of TensorFlow Lite's schema
(version 3).
"""

from dataclasses import dataclass
from functools import cached_property

from edgeguard.errors import InputError
from edgeguard.model.budget import spend
from edgeguard.model.table import Table, TruncatedModelError

#: Bytes of a model file that are read at all: FlatBuffers end at 2 GiB, and models for small boards long before.
LARGEST_FILE = 512 << 20

_MODEL_OPERATOR_CODES, _MODEL_SUBGRAPHS, _MODEL_BUFFERS, _MODEL_METADATA = 1, 2, 4, 6
_SUBGRAPH_OUTPUTS, _SUBGRAPH_OPERATORS = 2, 3
_OPERATOR_CODE_INDEX, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 0, 1, 2
_CODE_BUILTIN_OLD, _CODE_CUSTOM, _CODE_BUILTIN = 0, 1, 3
_BUFFER_DATA, _BUFFER_OFFSET, _BUFFER_SIZE = 0, 1, 2
_METADATA_NAME, _METADATA_BUFFER = 0, 1

SOFTMAX, LOGISTIC, DEQUANTIZE, QUANTIZE = 25, 14, 6, 114
EDGETPU_OP = b"edgetpu-custom-op"


@dataclass(frozen=True)
class ModelFile:
    """A .tflite's bytes, opened for reading.

    Raises:
        InputError: the bytes are not a .tflite, or they are truncated.

    Example:
        >>> ModelFile(b"hello")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        edgeguard.errors.InputError: not a .tflite file (the TFL3 mark is missing)...
    """

    data: bytes

    def __post_init__(self) -> None:
        if self.data[4:8] != b"TFL3":
            raise InputError(
                "not a .tflite file (the TFL3 mark is missing); edgeguard convert makes one of a trained model"
            )

    @cached_property
    def root(self) -> Table:
        """The schema's `Model`. What the file says of itself is within the budget then.

        Raises:
            InputError: it is truncated, or costs more to read than any model for a small board does.
        """
        root = Table.root(self.data)
        spend(root)
        return root

    def metadata(self, name: str) -> bytes | None:
        """The buffer of the metadata entry `name`."""
        for entry in self.root.tables(_MODEL_METADATA):
            if entry.bytes(_METADATA_NAME) == name.encode():
                buffer = self.root.element(_MODEL_BUFFERS, entry.number(_METADATA_BUFFER, "<I"))
                if buffer is None:
                    raise TruncatedModelError(f"the .tflite's metadata {name} points at no buffer")
                return self.buffer(buffer)
        return None

    @cached_property
    def operator_codes(self) -> list[tuple[int, bytes]]:
        """(builtin code, custom code) of each operator kind in the file."""
        codes = []
        for code in self.root.tables(_MODEL_OPERATOR_CODES):
            builtin = max(code.number(_CODE_BUILTIN_OLD, "<b"), code.number(_CODE_BUILTIN, "<i"))
            codes.append((builtin, code.bytes(_CODE_CUSTOM)))
        return codes

    @property
    def is_edgetpu(self) -> bool:
        """True when the file was compiled for the Edge TPU."""
        return any(custom == EDGETPU_OP for _, custom in self.operator_codes)

    def ends_in_probabilities(self) -> bool:
        """True when the first output comes from a SOFTMAX or LOGISTIC, conversions of its type aside."""
        subgraph = next(self.root.tables(_MODEL_SUBGRAPHS), None)
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

    def buffer(self, buffer: Table) -> bytes:
        """The bytes of one of the schema's `Buffer`s, wherever in the file they lie."""
        offset, size = buffer.number(_BUFFER_OFFSET, "<Q"), buffer.number(_BUFFER_SIZE, "<Q")
        if offset > 1:  # stored behind the flatbuffer
            if offset + size > len(self.data):
                raise TruncatedModelError("the .tflite is truncated or damaged")
            return self.data[offset : offset + size]
        return buffer.bytes(_BUFFER_DATA)
