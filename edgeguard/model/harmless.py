"""Which graphs may run in this process: those whose every step costs and does the same whatever the frame holds.

For such a graph a run on zeros proves something about every frame. Its operators are on a list, their
parameters (axes, sizes, weights) come from the file's constants alone, and each tensor is written once before it is
read. So no pixel chooses a size, a place in memory, a number of rounds or the divisor of integers, and no kernel is on
the list that is known to skip zeros. What the file's constants do with
memory and time, and whether the runtime's own checks refuse them, that run shows (`model.watched`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.table import Table
from edgeguard.system.foreign import parsing

_FLOAT32 = 0
#: TensorType of the schema: bytes of an element, and the range of a zero point.
_TYPES: dict[int, tuple[int, int, int]] = {
    0: (4, 0, 0), 1: (2, 0, 0), 2: (4, 0, 0), 3: (1, 0, 255), 4: (8, 0, 0), 6: (1, 0, 0), 7: (2, -32768, 32767),
    9: (1, -128, 127),
}  # fmt: skip
_EVERY = None  # every input may be data

#: BuiltinOperator of the schema: its name, and which inputs may be data; the others are fixed.
_OPERATORS: dict[int, tuple[str, tuple[int, ...] | None]] = {
    0: ("ADD", _EVERY), 1: ("AVERAGE_POOL_2D", _EVERY), 2: ("CONCATENATION", _EVERY), 3: ("CONV_2D", (0,)),
    4: ("DEPTHWISE_CONV_2D", (0,)), 5: ("DEPTH_TO_SPACE", _EVERY), 6: ("DEQUANTIZE", _EVERY), 8: ("FLOOR", _EVERY),
    9: ("FULLY_CONNECTED", (0,)), 11: ("L2_NORMALIZATION", _EVERY), 12: ("L2_POOL_2D", _EVERY),
    13: ("LOCAL_RESPONSE_NORMALIZATION", _EVERY), 14: ("LOGISTIC", _EVERY), 17: ("MAX_POOL_2D", _EVERY),
    18: ("MUL", _EVERY), 19: ("RELU", _EVERY), 20: ("RELU_N1_TO_1", _EVERY), 21: ("RELU6", _EVERY),
    22: ("RESHAPE", (0,)), 23: ("RESIZE_BILINEAR", (0,)), 25: ("SOFTMAX", _EVERY), 26: ("SPACE_TO_DEPTH", _EVERY),
    28: ("TANH", _EVERY), 34: ("PAD", (0,)), 36: ("GATHER", (0,)), 37: ("BATCH_TO_SPACE_ND", (0,)),
    38: ("SPACE_TO_BATCH_ND", (0,)), 39: ("TRANSPOSE", (0,)), 40: ("MEAN", (0,)), 41: ("SUB", _EVERY),
    42: ("DIV", _EVERY), 43: ("SQUEEZE", _EVERY), 45: ("STRIDED_SLICE", (0,)), 47: ("EXP", _EVERY),
    49: ("SPLIT", (1,)), 50: ("LOG_SOFTMAX", _EVERY), 53: ("CAST", _EVERY), 54: ("PRELU", (0,)),
    55: ("MAXIMUM", _EVERY), 56: ("ARG_MAX", (0,)), 57: ("MINIMUM", _EVERY), 58: ("LESS", _EVERY), 59: ("NEG", _EVERY),
    60: ("PADV2", (0,)), 61: ("GREATER", _EVERY), 62: ("GREATER_EQUAL", _EVERY), 63: ("LESS_EQUAL", _EVERY),
    64: ("SELECT", _EVERY), 65: ("SLICE", (0,)), 66: ("SIN", _EVERY), 67: ("TRANSPOSE_CONV", (2,)), 69: ("TILE", (0,)),
    70: ("EXPAND_DIMS", (0,)), 71: ("EQUAL", _EVERY), 72: ("NOT_EQUAL", _EVERY), 73: ("LOG", _EVERY), 74: ("SUM", (0,)),
    75: ("SQRT", _EVERY), 76: ("RSQRT", _EVERY), 77: ("SHAPE", _EVERY), 78: ("POW", _EVERY), 79: ("ARG_MIN", (0,)),
    82: ("REDUCE_MAX", (0,)),
    83: ("PACK", _EVERY), 84: ("LOGICAL_OR", _EVERY), 86: ("LOGICAL_AND", _EVERY), 87: ("LOGICAL_NOT", _EVERY),
    88: ("UNPACK", _EVERY), 89: ("REDUCE_MIN", (0,)), 92: ("SQUARE", _EVERY), 94: ("FILL", (1,)), 96: ("RANGE", ()),
    97: ("RESIZE_NEAREST_NEIGHBOR", (0,)),
    98: ("LEAKY_RELU", _EVERY), 99: ("SQUARED_DIFFERENCE", _EVERY), 100: ("MIRROR_PAD", (0,)), 101: ("ABS", _EVERY),
    102: ("SPLIT_V", (0,)), 104: ("CEIL", _EVERY), 105: ("REVERSE_V2", (0,)), 106: ("ADD_N", _EVERY),
    108: ("COS", _EVERY), 111: ("ELU", _EVERY), 114: ("QUANTIZE", _EVERY), 116: ("ROUND", _EVERY),
    117: ("HARD_SWISH", _EVERY), 123: ("SELECT_V2", _EVERY), 126: ("BATCH_MATMUL", _EVERY), 128: ("CUMSUM", (0,)),
    130: ("BROADCAST_TO", (0,)), 150: ("GELU", _EVERY), 152: ("RELU_0_TO_1", _EVERY),
}  # fmt: skip
#: Options by operator: their type in the schema's union, and fields with the value that one left out stands for. They
#: are strides, dilations, sides of filters and blocks: 1 or more, and no more than kernels keep in 16 bits.
_SIZES: dict[str, tuple[int, dict[int, int]]] = {
    "CONV_2D": (1, {1: 0, 2: 0, 4: 1, 5: 1}), "DEPTHWISE_CONV_2D": (2, {1: 0, 2: 0, 5: 1, 6: 1}),
    "AVERAGE_POOL_2D": (5, {1: 0, 2: 0, 3: 0, 4: 0}), "MAX_POOL_2D": (5, {1: 0, 2: 0, 3: 0, 4: 0}),
    "L2_POOL_2D": (5, {1: 0, 2: 0, 3: 0, 4: 0}), "SPACE_TO_DEPTH": (19, {0: 0}), "DEPTH_TO_SPACE": (94, {0: 0}),
    "TRANSPOSE_CONV": (49, {1: 0, 2: 0}),
}  # fmt: skip
#: Options that count the outputs: their type, and the field.
_COUNTS = {"SPLIT": (35, 0), "SPLIT_V": (79, 0), "UNPACK": (64, 0)}
_MAY_LACK = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}  # the bias's position
#: Of integers these divide by data, or go a number of rounds that data choose.
_FLOAT_ONLY = ("DIV", "POW", "L2_POOL_2D", "LOCAL_RESPONSE_NORMALIZATION")
_NAMES_OF_OTHERS = {
    7: "EMBEDDING_LOOKUP", 48: "TOPK_V2", 85: "ONE_HOT", 90: "FLOOR_DIV", 95: "FLOOR_MOD", 107: "GATHER_ND",
    109: "WHERE", 118: "IF", 119: "WHILE", 120: "NON_MAX_SUPPRESSION_V4", 121: "NON_MAX_SUPPRESSION_V5",
    122: "SCATTER_ND", 129: "CALL_ONCE",
}  # fmt: skip


#: Of data in floating point and weights in integers the runtime quantizes the data first, and skips what is zero.
_WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "BATCH_MATMUL": 1}
_DATA = {"TRANSPOSE_CONV": 2}


class _Objection(Exception):
    """Why a graph is not known to be harmless."""


@dataclass(frozen=True)
class _Tensor:
    kind: int
    shape: tuple[int, ...]
    is_constant: bool


def objection(model: ModelFile) -> str | None:
    """Why a graph is not known to be harmless, in words that follow "it"; None for one that is.

    Raises:
        InputError: the file is truncated or damaged.

    Example:
        >>> from edgeguard.demo.assets import bundled_model
        >>> objection(ModelFile(bundled_model().read_bytes())) is None
        True
    """
    with parsing("the .tflite"):
        try:
            _check_graph(model)
        except _Objection as found:
            return str(found)
    return None


def _check_graph(model: ModelFile) -> None:
    graphs = list(model.root.tables(2))
    _require(len(graphs) == 1, f"has {len(graphs)} graphs")
    _require(not model.root.vector(8, 4)[1] and not model.root.vector(9, 4)[1], "keeps weights in other files")
    graph = graphs[0]
    tensors = [_tensor(model, table) for table in graph.tables(0)]
    inputs, outputs = graph.integers(1), graph.integers(2)
    _check_numbers((*inputs, *outputs), len(tensors))
    fixed = {number for number, tensor in enumerate(tensors) if tensor.is_constant}
    written = set(inputs)
    _require(not any(tensors[number].is_constant for number in inputs), "has a constant for an input")
    for operator in graph.tables(3):
        name = _check_operator(model, operator, tensors, written, fixed)
        written |= set(operator.integers(2))
        if name == "SHAPE" or fixed.issuperset(n for n in operator.integers(1) if n != -1):
            fixed |= set(operator.integers(2))  # the same for every frame: f16 weights that are dequantized
    _require(written >= {n for n in outputs if not tensors[n].is_constant}, "never writes an output")


def _tensor(model: ModelFile, table: Table) -> _Tensor:
    kind, shape = table.number(1, "<b"), tuple(table.integers(0))
    _require(kind in _TYPES, f"has a tensor of the schema's type {kind}")
    _require(all(side > 0 for side in shape) and len(shape) <= 6, f"has a tensor of shape {shape}")
    _require(not table.number(5, "<B"), "keeps a variable from frame to frame")
    _require(table.field(6) is None and not table.vector(9, 4)[1], "has a sparse or variant tensor")
    if (quantization := table.table(4)) is not None:
        _check_quantization(quantization, kind, shape)
    size = _constant_size(model, table.number(2, "<I"))
    fits = size in (0, math.prod(shape) * _TYPES[kind][0])
    _require(fits, f"has {size} bytes for a constant of shape {shape}")
    return _Tensor(kind, shape, size > 0)


def _constant_size(model: ModelFile, number: int) -> int:
    """Bytes of a buffer that lies inside or behind the FlatBuffer, not both."""
    buffer = model.root.element(4, number)
    _require(buffer is not None, f"has no buffer {number}")
    assert buffer is not None
    inside, offset, behind = buffer.vector(0)[1], buffer.number(1, "<Q"), buffer.number(2, "<Q")
    _require(inside == 0 or offset <= 1, "has a constant in two places")
    if offset <= 1:
        return inside
    _require(0 < behind <= len(model.data) - offset, "has a constant beyond its end")
    return behind


def _check_quantization(table: Table, kind: int, shape: tuple[int, ...]) -> None:
    _require(not table.number(4, "<B"), "has a quantization of another kind than scale and zero point")
    scales, zero_points, axis = table.numbers(2, "f"), table.numbers(3, "q"), table.number(6, "<i")
    _, low, high = _TYPES[kind]
    if not scales or ((low, high) == (0, 0) and kind != 2):
        return
    along = shape[axis] if 0 <= axis < len(shape) else 0
    _require(len(scales) in (1, along), f"has {len(scales)} scales along an axis of {along}")
    _require(len(zero_points) in (0, 1, len(scales)), "has more zero points than scales")
    _require(all(math.isfinite(scale) and scale > 0 for scale in scales), "has a scale that is not positive")
    _require(all(low <= point <= high for point in zero_points), "has a zero point outside of its type")


def _check_operator(
    model: ModelFile, operator: Table, tensors: list[_Tensor], written: set[int], fixed: set[int]
) -> str:
    """One step, whose name is returned: `written` are tensors that have values, `fixed` those that no frame changes."""
    index = operator.number(0, "<I")
    _require(index < len(model.operator_codes), "has an operator without a name")
    code, custom = model.operator_codes[index]
    if code not in _OPERATORS:
        shown = ascii(custom[:40].decode("utf-8", "replace")) if custom else f"number {code}"
        _require(False, f"has the operator {_NAMES_OF_OTHERS.get(code, shown)}")
    name, data = _OPERATORS[code]
    inputs, outputs = operator.integers(1), operator.integers(2)
    _check_numbers((n for n in inputs if n != -1), len(tensors))
    _check_numbers(outputs, len(tensors))
    _require(len(outputs) > 0 and len(set(outputs)) == len(outputs), f"has a {name} without outputs of its own")
    _require(not operator.vector(8, 4)[1] and not operator.vector(7)[1], f"has a {name} with a memory")
    _check_options(name, operator, len(outputs))
    for position, number in enumerate(inputs):
        if number == -1:
            _require(_MAY_LACK.get(name) == position, f"has a {name} that lacks an input")
            continue
        _require(number in written or tensors[number].is_constant, f"has a {name} that reads what nothing wrote")
        may_be_data = data is _EVERY or position in data
        _require(may_be_data or number in fixed, f"has a {name} whose parameters are computed")
        _require(name not in _FLOAT_ONLY or tensors[number].kind == _FLOAT32, f"has a {name} of integers")
    if name in _WEIGHTS and len(inputs) > max(_WEIGHTS[name], _DATA.get(name, 0)):
        kinds = [tensors[inputs[position]].kind for position in (_DATA.get(name, 0), _WEIGHTS[name])]
        _require(kinds[0] != _FLOAT32 or kinds[1] == _FLOAT32, f"has a {name} of floats with weights of integers")
    for number in outputs:
        _require(not tensors[number].is_constant and number not in written, f"has a {name} that writes over a tensor")
        _require(name not in _FLOAT_ONLY or tensors[number].kind == _FLOAT32, f"has a {name} of integers")
    return name


def _check_options(name: str, operator: Table, outputs: int) -> None:
    if name not in _SIZES and name not in _COUNTS:
        return
    options = operator.table(4)
    wanted = _SIZES[name][0] if name in _SIZES else _COUNTS[name][0]
    _require(options is not None and operator.number(3, "<B") == wanted, f"has a {name} without options of its own")
    assert options is not None
    for field, default in _SIZES.get(name, (0, {}))[1].items():
        value = default if options.field(field) is None else options.number(field, "<i")
        _require(1 <= value < 1 << 15, f"has a {name} with a stride, dilation or side of {value}")
    if name in _COUNTS:
        count = options.number(_COUNTS[name][1], "<i")
        _require(count == outputs, f"has a {name} into {count} with {outputs} outputs")


def _check_numbers(numbers: Iterable[int], count: int) -> None:
    for number in numbers:
        _require(0 <= number < count, f"names a tensor {number} of {count}")


def _require(good: bool, words: str) -> None:
    if not good:
        raise _Objection(words)
