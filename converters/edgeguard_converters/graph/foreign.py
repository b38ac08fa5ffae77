"""A float .tflite that came from outside, or from a process that read what came from outside: checked before it runs.

The runtime believes what stands in a graph. So a graph that this process runs is made of operators that are on the
list, of tensors whose sizes are fixed and whose constants are as long as they say, and every index leads somewhere.
"""

import math
import struct
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgeguard.errors import InputError

_OPS = schema.BuiltinOperator
_ALLOWED_NAMES = """
     ABS ADD ADD_N ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_TO CAST CEIL
CONCATENATION CONV_2D     COS CUMSUM DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE DIV ELU EQUAL EXP EXPAND_DIMS FILL
FLOOR FLOOR_DIV FLOOR_MOD     FULLY_CONNECTED GATHER GATHER_ND GELU GREATER GREATER_EQUAL HARD_SWISH
L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS     LESS_EQUAL LOCAL_RESPONSE_NORMALIZATION LOG LOG_SOFTMAX LOGICAL_AND
LOGICAL_NOT LOGICAL_OR LOGISTIC MAX_POOL_2D MAXIMUM     MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD
PADV2 POW PRELU QUANTIZE RANGE RANK REDUCE_ALL REDUCE_ANY     REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6
RELU_N1_TO_1 RELU_0_TO_1 RESHAPE RESIZE_BILINEAR     RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SCATTER_ND
SELECT SELECT_V2 SHAPE SIGN SIN SLICE SOFTMAX     SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE
SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TILE     TOPK_V2 TRANSPOSE TRANSPOSE_CONV UNPACK ZEROS_LIKE
"""
_ALLOWED = frozenset(getattr(_OPS, name) for name in _ALLOWED_NAMES.split())
_NAMES = {value: name for name, value in vars(_OPS).items() if name.isupper()}
_TYPES = schema.TensorType
_ITEM_BYTES = {
    _TYPES.FLOAT32: 4, _TYPES.FLOAT16: 2, _TYPES.INT32: 4, _TYPES.INT64: 8, _TYPES.BOOL: 1, _TYPES.UINT8: 1,
    _TYPES.INT8: 1, _TYPES.INT16: 2, _TYPES.UINT32: 4, _TYPES.FLOAT64: 8,
}  # fmt: skip
_DIVIDES = (_OPS.DIV, _OPS.FLOOR_DIV, _OPS.FLOOR_MOD)
_FLOATS = (_TYPES.FLOAT32, _TYPES.FLOAT16)
_OPTIONS = schema.BuiltinOptions
#: Fields of an operator's options by which a kernel divides.
_POSITIVE = {
    _OPTIONS.Conv2DOptions: (schema.Conv2DOptions, "StrideW StrideH DilationWFactor DilationHFactor"),
    _OPTIONS.DepthwiseConv2DOptions: (
        schema.DepthwiseConv2DOptions,
        "StrideW StrideH DilationWFactor DilationHFactor",
    ),
    _OPTIONS.TransposeConvOptions: (schema.TransposeConvOptions, "StrideW StrideH"),
    _OPTIONS.Pool2DOptions: (schema.Pool2DOptions, "StrideW StrideH FilterWidth FilterHeight"),
    _OPTIONS.SpaceToDepthOptions: (schema.SpaceToDepthOptions, "BlockSize"),
    _OPTIONS.DepthToSpaceOptions: (schema.DepthToSpaceOptions, "BlockSize"),
    _OPTIONS.SplitOptions: (schema.SplitOptions, "NumSplits"),
    _OPTIONS.SplitVOptions: (schema.SplitVOptions, "NumSplits"),
}
_HAS_OPTIONS = {
    _OPS.CONV_2D: _OPTIONS.Conv2DOptions, _OPS.DEPTHWISE_CONV_2D: _OPTIONS.DepthwiseConv2DOptions,
    _OPS.TRANSPOSE_CONV: _OPTIONS.TransposeConvOptions, _OPS.MAX_POOL_2D: _OPTIONS.Pool2DOptions,
    _OPS.AVERAGE_POOL_2D: _OPTIONS.Pool2DOptions, _OPS.L2_POOL_2D: _OPTIONS.Pool2DOptions,
    _OPS.SPACE_TO_DEPTH: _OPTIONS.SpaceToDepthOptions, _OPS.DEPTH_TO_SPACE: _OPTIONS.DepthToSpaceOptions,
    _OPS.SPLIT: _OPTIONS.SplitOptions, _OPS.SPLIT_V: _OPTIONS.SplitVOptions,
}  # fmt: skip
_LARGEST_STEP = 1 << 16
_MOST_ENTRIES = 2_000_000  # looked at in all, however often the file names one
_MOST_TENSOR_BYTES = 1 << 30
_MOST_BYTES = 1 << 31


def check_foreign_graph(data: bytes) -> None:
    """Refuse a .tflite that this process must not run.

    Raises:
        InputError: it is damaged, or holds an operator, a size or an index that is not allowed.
    """
    if data[4:8] != b"TFL3" or len(data) > _MOST_BYTES:
        raise InputError("the file is no .tflite that can be read: the TFL3 mark is missing, or it is too large")
    try:
        _Check(data).run()
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"the file is no .tflite that can be read: {reason}") from error


class _Check:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._model: Any = schema.Model.GetRootAs(data, 0)
        self._left = _MOST_ENTRIES
        self._bytes = 0

    def run(self) -> None:
        model = self._model
        codes = [self._code(model.OperatorCodes(i)) for i in range(self._spent(model.OperatorCodesLength()))]
        self._spent(model.BuffersLength())
        if model.SubgraphsLength() != 1:
            raise InputError(f"the graph has {model.SubgraphsLength()} subgraphs; a model without control flow has one")
        graph = model.Subgraphs(0)
        kinds = [self._tensor(graph.Tensors(i)) for i in range(self._spent(graph.TensorsLength()))]
        known = {i for i, (_, constant) in enumerate(kinds) if constant}
        known.update(self._indices(graph, "Inputs", len(kinds)))
        for i in range(self._spent(graph.OperatorsLength())):
            self._operator(graph.Operators(i), codes, kinds, known)
        if not set(self._indices(graph, "Outputs", len(kinds))) <= known:
            raise InputError("the graph has an output that nothing computes")
        for i in range(self._spent(model.SignatureDefsLength())):
            self._signature(model.SignatureDefs(i), len(kinds))

    def _code(self, code: Any) -> int:
        builtin = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        if builtin not in _ALLOWED:
            custom = code.CustomCode()
            name = custom.decode("ascii", "replace")[:40] if custom else _NAMES.get(builtin, str(builtin))
            raise InputError(
                f"the graph holds the operator {name!r}, which is not on the list; refused, it was not run"
            )
        return int(builtin)

    def _tensor(self, tensor: Any) -> tuple[int, bool]:
        """Its type, and whether it is a constant."""
        kind = tensor.Type()
        if kind not in _ITEM_BYTES or tensor.IsVariable() or tensor.Sparsity() is not None:
            raise InputError("the graph holds a tensor of a kind that is not on the list; refused")
        if tensor.ShapeLength() > 8 or tensor.VariantTensorsLength():
            raise InputError("the graph holds a tensor with more axes than are taken; refused")
        sides = [int(tensor.Shape(i)) for i in range(tensor.ShapeLength())]
        size = math.prod(sides) * _ITEM_BYTES[kind]
        self._bytes += size
        if any(side < 0 for side in sides) or size > _MOST_TENSOR_BYTES or self._bytes > 16 * _MOST_TENSOR_BYTES:
            raise InputError(f"the graph holds a tensor of shape {sides}, more than is taken; refused")
        self._quantization(tensor.Quantization(), sides)
        if tensor.Buffer() >= self._model.BuffersLength():
            raise InputError("the graph holds a tensor whose buffer is not there")
        buffer = self._model.Buffers(tensor.Buffer())
        held = buffer.DataLength()
        if buffer.Offset() > 1:
            held = buffer.Size()
            if buffer.Offset() + held > len(self._data):
                raise InputError("the graph holds a constant that lies outside the file")
        if held and held != size:
            raise InputError(f"the graph holds a constant of {held} bytes where its shape says {size}; refused")
        return kind, bool(held)

    def _quantization(self, found: Any, sides: list[int]) -> None:
        """Scales are one, or one for each step along an axis that is there."""
        if found is None or (not found.ScaleLength() and not found.ZeroPointLength()):
            return
        scales, axis = found.ScaleLength(), found.QuantizedDimension()
        along = sides[axis] if 0 <= axis < len(sides) else None
        if scales not in (1, along) or found.ZeroPointLength() not in (0, 1, scales):
            raise InputError(f"the graph holds a tensor of shape {sides} with {scales} scales along {axis}; refused")

    def _signature(self, signature: Any, tensors: int) -> None:
        """It names the one graph and tensors of it."""
        named = [signature.Inputs(i) for i in range(self._spent(signature.InputsLength()))]
        named += [signature.Outputs(i) for i in range(self._spent(signature.OutputsLength()))]
        if signature.SubgraphIndex() != 0 or any(each.TensorIndex() >= tensors for each in named):
            raise InputError("the graph has a signature of tensors that are not there; refused")

    def _operator(self, operator: Any, codes: list[int], kinds: list[tuple[int, bool]], known: set[int]) -> None:
        code = codes[operator.OpcodeIndex()]
        inputs, outputs = (
            self._indices(operator, "Inputs", len(kinds), none=True),
            self._indices(operator, "Outputs", len(kinds)),
        )
        if operator.IntermediatesLength():
            raise InputError(f"the graph holds a {_NAMES[code]} with a memory of its own, which is not on the list")
        if not set(inputs) <= known or set(outputs) & known or not outputs:
            raise InputError("the graph's operators are not in an order in which they can run; refused")
        known.update(outputs)
        if code in _DIVIDES and any(kinds[i][0] not in _FLOATS for i in inputs):
            raise InputError("the graph divides whole numbers, which ends a process when one is 0; refused")
        wanted = _HAS_OPTIONS.get(code)
        if wanted is not None and operator.BuiltinOptionsType() != wanted:
            raise InputError(f"the graph holds a {_NAMES[code]} without its options; refused")
        if operator.BuiltinOptionsType() in _POSITIVE:
            self._options(operator, code)

    def _options(self, operator: Any, code: int) -> None:
        make, names = _POSITIVE[operator.BuiltinOptionsType()]
        table = operator.BuiltinOptions()
        if table is None:
            raise InputError(f"the graph holds a {_NAMES[code]} without its options; refused")
        options = make()
        options.Init(table.Bytes, table.Pos)
        for name in names.split():
            if not 1 <= getattr(options, name)() <= _LARGEST_STEP:
                raise InputError(
                    f"the graph holds a {_NAMES[code]} whose {name} is {getattr(options, name)()}; refused"
                )

    def _indices(self, owner: Any, name: str, count: int, *, none: bool = False) -> list[int]:
        length = self._spent(getattr(owner, f"{name}Length")())
        found = [int(getattr(owner, name)(i)) for i in range(length)]
        if none:
            found = [index for index in found if index != -1]
        if any(not 0 <= index < count for index in found):
            raise InputError("the graph names a tensor that is not there")
        return found

    def _spent(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise InputError("the graph names more things than a model has; refused")
        return int(count)
