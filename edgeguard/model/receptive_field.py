"""Which pixels of the input each place of a tensor depends on, read from the graph of a .tflite itself.

The proof against a patch (`model.patch_certificate`) rests on this, so nothing is taken from a training's word:
strides, paddings, filters and shapes are those of the file. An operator that is not on the list may look anywhere; the
graph is then refused by that operator's name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.table import Table
from edgeguard.system.foreign import parsing

_GRAPHS, _BUFFERS = 2, 4
_SAME = 0
_UINT8, _INT8, _INT64 = 3, 9, 4  # TensorType of the schema
_MOST_ALONG = 1024  # places of a map: sums of its votes stay within 32 bits, and the work stays small
_MOST_TAPS = 256
#: BuiltinOperator of the schema: steps whose output at a place depends on the same place of each input, no other.
_ALONE = {
    0: "ADD", 2: "CONCATENATION", 6: "DEQUANTIZE", 8: "FLOOR", 14: "LOGISTIC", 18: "MUL", 19: "RELU",
    20: "RELU_N1_TO_1", 21: "RELU6", 28: "TANH", 41: "SUB", 42: "DIV", 47: "EXP", 54: "PRELU", 55: "MAXIMUM",
    57: "MINIMUM", 59: "NEG", 75: "SQRT", 76: "RSQRT", 92: "SQUARE", 98: "LEAKY_RELU", 101: "ABS", 111: "ELU",
    114: "QUANTIZE", 117: "HARD_SWISH", 150: "GELU", 152: "RELU_0_TO_1",
}  # fmt: skip
_CONVOLUTION, _DEPTHWISE, _AVERAGE, _MAXIMUM, _SPACE_TO_DEPTH, _PAD, _PADV2 = 3, 4, 1, 17, 26, 34, 60
_MIXING = {40: "MEAN", 22: "RESHAPE", 9: "FULLY_CONNECTED", 25: "SOFTMAX", 39: "TRANSPOSE", 74: "SUM",
           82: "REDUCE_MAX", 126: "BATCH_MATMUL", 23: "RESIZE_BILINEAR", 67: "TRANSPOSE_CONV"}  # fmt: skip
_RELUS = {1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}  # fused activations: the real bounds that they clamp to


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a tensor: place i depends on no pixels of the input but `first[i]` to `last[i]`.

    A place that depends on none has a `last` below its `first`.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]

    @property
    def widest(self) -> int:
        """The most pixels that a place depends on: the receptive field, as far as it lies inside of the input."""
        return int((self.last - self.first).max()) + 1


class Fields(NamedTuple):
    """Both axes."""

    rows: Axis
    columns: Axis


@dataclass(frozen=True, eq=False)
class VoteMap:
    """What the graph says of a map of votes.

    Attributes:
        fields: what each place sees.
        low, high: stored integers that no vote can leave: those of the type, or closer where the last step clamps.
        classes: votes at each place.
        least: the smallest integer of the type.
    """

    fields: Fields
    low: int
    high: int
    classes: int
    least: int


class _Step(NamedTuple):
    code: int
    custom: bytes
    inputs: list[int]
    outputs: list[int]
    options: Table | None


class _Tensor(NamedTuple):
    shape: tuple[int, ...]
    kind: int
    buffer: int
    scale: float
    zero_point: int


def read_vote_map(model: ModelFile, output: int) -> VoteMap:
    """What each place of an output depends on, and between which integers its values lie.

    Args:
        model: the file.
        output: its position among the graph's outputs.

    Raises:
        InputError: there is no such output, it is no map of 8-bit integers, or a step before it may look anywhere.
    """
    with parsing("the .tflite"):
        return _Reader(model).vote_map(output)


class _Reader:
    def __init__(self, model: ModelFile) -> None:
        self._model = model
        graph = next(model.root.tables(_GRAPHS), None)
        if graph is None:
            raise InputError("the .tflite holds no graph")
        self._tensors = [_tensor(table) for table in graph.tables(0)]
        self._inputs, self._outputs = graph.integers(1), graph.integers(2)
        self._steps = [self._step(table) for table in graph.tables(3)]

    def vote_map(self, output: int) -> VoteMap:
        if not 0 <= output < len(self._outputs):
            raise InputError(f"the graph has {len(self._outputs)} outputs, and none with a map of votes")
        number = self._outputs[output]
        tensor = self._tensors[number]
        if len(tensor.shape) != 4 or tensor.shape[0] != 1 or tensor.kind not in (_UINT8, _INT8) or tensor.scale <= 0:
            raise InputError(f"output {output} is no map of 8-bit votes: its shape is {tensor.shape}")
        if max(tensor.shape[1:3]) > _MOST_ALONG:
            raise InputError(
                f"the map of votes has {max(tensor.shape[1:3])} places along an axis: more than is looked at"
            )
        least = low = 0 if tensor.kind == _UINT8 else -128
        high = low + 255
        maker = next(step for step in self._steps if number in step.outputs) if self._written(number) else None
        if maker is not None:
            low, high = _clamped(maker, tensor, low, high)
        return VoteMap(self._fields_of(number), low, high, tensor.shape[3], least)

    def _written(self, number: int) -> bool:
        return any(number in step.outputs for step in self._steps)

    def _fields_of(self, wanted: int) -> Fields:
        known: dict[int, Fields] = {}
        for number in self._inputs:
            shape = self._tensors[number].shape
            if len(shape) != 4:
                raise InputError("the graph's input is no picture")
            known[number] = Fields(*(Axis(np.arange(side), np.arange(side)) for side in shape[1:3]))
        for step in self._needed(wanted):
            fields = self._after(step, known)
            for number in step.outputs:
                shape = self._tensors[number].shape
                if len(shape) != 4 or (len(fields.rows.first), len(fields.columns.first)) != shape[1:3]:
                    raise InputError(f"the graph says of a step's output that its shape is {shape}: it is damaged")
                known[number] = fields
        if wanted not in known:
            raise InputError("the map of votes does not depend on the picture")
        return known[wanted]

    def _needed(self, wanted: int) -> list[_Step]:
        """Steps that the wanted tensor depends on and that depend on the input, in order."""
        reached = set(self._inputs)
        touched = []
        for step in self._steps:
            if reached & set(step.inputs):
                reached |= set(step.outputs)
                touched.append(step)
        needed, chosen = {wanted}, []
        for step in reversed(touched):
            if needed & set(step.outputs):
                needed |= set(step.inputs)
                chosen.append(step)
        return chosen[::-1]

    def _after(self, step: _Step, known: dict[int, Fields]) -> Fields:
        sources = [known[number] for number in step.inputs if number in known]
        if step.code in _ALONE:
            self._require_same_places(step, known)
            return Fields(*(_union([source[axis] for source in sources]) for axis in (0, 1)))
        if len(sources) != 1 or step.inputs[0] not in known:
            raise InputError(f"{_name(step)} before the map of votes reads its parameters from the picture")
        (source,) = sources
        if step.code in (_PAD, _PADV2):
            return self._padded(step, source)
        windows = self._windows(step)
        return Fields(*(window(axis) for window, axis in zip(windows, source, strict=True)))

    def _require_same_places(self, step: _Step, known: dict[int, Fields]) -> None:
        shapes = {self._tensors[number].shape[1:3] for number in step.inputs if number in known}
        along_channels = step.code != 2 or (step.options is not None and step.options.number(0, "<i") in (3, -1))
        if len(shapes) != 1 or not along_channels:
            raise InputError(f"{_name(step)} before the map of votes joins different places")

    def _windows(self, step: _Step) -> tuple[Callable[[Axis], Axis], Callable[[Axis], Axis]]:
        options = step.options
        if options is None or step.code not in (_CONVOLUTION, _DEPTHWISE, _AVERAGE, _MAXIMUM, _SPACE_TO_DEPTH):
            raise InputError(f"{_name(step)} before the map of votes may look at the whole picture: no bound is known")
        if step.code == _SPACE_TO_DEPTH:
            side = options.number(0, "<i")
            return _window(side, side, 1, same=False), _window(side, side, 1, same=False)
        same = options.number(0, "<b") == _SAME
        strides = options.number(2, "<i"), options.number(1, "<i")
        if step.code in (_AVERAGE, _MAXIMUM):
            kernels, dilations = (options.number(4, "<i"), options.number(3, "<i")), (1, 1)
        else:
            shape = self._tensors[step.inputs[1]].shape
            kernels = shape[1], shape[2]
            at = 4 if step.code == _CONVOLUTION else 5
            dilations = _dilation(options, at + 1), _dilation(options, at)
        return (
            _window(kernels[0], strides[0], dilations[0], same=same),
            _window(kernels[1], strides[1], dilations[1], same=same),
        )

    def _padded(self, step: _Step, source: Fields) -> Fields:
        tensor = self._tensors[step.inputs[1]]
        buffer = self._model.root.element(_BUFFERS, tensor.buffer)
        raw = b"" if buffer is None else self._model.buffer(buffer)
        amounts = np.frombuffer(raw, np.int64 if tensor.kind == _INT64 else np.int32)
        if amounts.size != 8 or amounts.min() < 0 or amounts[[0, 1, 6, 7]].any():
            raise InputError("PAD before the map of votes pads other than rows and columns")
        before_after = amounts.reshape(4, 2)
        if before_after.max() > 8192:
            raise InputError("PAD before the map of votes is larger than any picture")
        return Fields(*(_with_border(axis, *map(int, before_after[1 + k])) for k, axis in enumerate(source)))

    def _step(self, table: Table) -> _Step:
        index = table.number(0, "<I")
        codes = self._model.operator_codes
        code, custom = codes[index] if index < len(codes) else (-1, b"")
        return _Step(code, custom, table.integers(1), table.integers(2), table.table(4))


def _tensor(table: Table) -> _Tensor:
    quantization = table.table(4)
    scales = [] if quantization is None else quantization.numbers(2, "f")
    points = [] if quantization is None else quantization.numbers(3, "q")
    return _Tensor(
        tuple(table.integers(0)),
        table.number(1, "<b"),
        table.number(2, "<I"),
        scales[0] if len(scales) == 1 else 0.0,
        points[0] if len(points) == 1 else 0,
    )


def _clamped(step: _Step, tensor: _Tensor, low: int, high: int) -> tuple[int, int]:
    """The range that a fused activation leaves, one step wider: runtimes round its bounds each in their own way."""
    fused = {_CONVOLUTION: 3, _DEPTHWISE: 4}.get(step.code)
    if fused is None or step.options is None:
        return low, high
    least, most = _RELUS.get(step.options.number(fused, "<b"), (None, None))
    if least is not None:
        low = max(low, int(np.floor(tensor.zero_point + least / tensor.scale)) - 1)
    if most is not None:
        high = min(high, int(np.ceil(tensor.zero_point + most / tensor.scale)) + 1)
    return low, high


def _dilation(options: Table, field: int) -> int:
    return 1 if options.field(field) is None else options.number(field, "<i")


def _name(step: _Step) -> str:
    if step.code in _MIXING:
        return _MIXING[step.code]
    return ascii(step.custom[:40].decode("utf-8", "replace")) if step.custom else f"operator {step.code}"


def _union(axes: list[Axis]) -> Axis:
    return Axis(np.minimum.reduce([a.first for a in axes]), np.maximum.reduce([a.last for a in axes]))


def _window(kernel: int, stride: int, dilation: int, *, same: bool) -> Callable[[Axis], Axis]:
    """From an axis to that of a step that looks through windows of it."""
    if not (1 <= kernel <= _MOST_TAPS and 1 <= stride <= 8192 and 1 <= dilation <= 8192):
        raise InputError(f"a window before the map of votes has {kernel} taps and a stride of {stride}")

    def moved(axis: Axis) -> Axis:
        size, reach = len(axis.first), (kernel - 1) * dilation + 1
        count = -(-size // stride) if same else max(-(-(size - reach + 1) // stride), 0)
        before = max((count - 1) * stride + reach - size, 0) // 2 if same else 0
        first, last = np.full(count, 1 << 20), np.full(count, -1)
        starts = np.arange(count) * stride - before
        for tap in range(kernel):
            place = starts + tap * dilation
            inside = (place >= 0) & (place < size)
            first[inside] = np.minimum(first[inside], axis.first[place[inside]])
            last[inside] = np.maximum(last[inside], axis.last[place[inside]])
        return Axis(first, last)

    return moved


def _with_border(axis: Axis, before: int, after: int) -> Axis:
    ends = (before, after)
    return Axis(np.pad(axis.first, ends, constant_values=1 << 20), np.pad(axis.last, ends, constant_values=-1))
