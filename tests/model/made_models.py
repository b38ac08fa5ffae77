"""Small .tflite files whose outputs are what a test wants them to be, whatever the picture: foreign heads."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flatbuffers import Builder
from model.crafted import FLOAT32, INT32, OPS, TYPES, UINT8, Crafted, schema
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Out:
    """One output: its values with the batch axis, its name, and how it is stored.

    `per_level` times the mean level of the picture is added to every value. `scale` stores the output in 8 bits.
    `code` ends in that operator (of one input) as well.
    """

    values: ArrayLike
    name: str = "out"
    per_level: float = 0.0
    scale: float | None = None
    zero: int = 0
    integer: bool = False
    code: int | None = None


def made_model(
    outputs: Sequence[Out],
    side: tuple[int, int] = (32, 32),
    *,
    input_shape: tuple[int, ...] | None = None,
    signature: dict[str, int] | None = None,
    files: dict[str, str] | None = None,
    float_input: bool = False,
) -> bytes:
    """A file with these outputs; `side` is (height, width), `signature` maps names to positions of outputs."""
    made = Crafted()
    shape = input_shape or (1, *side, 3)
    image = made.tensor(shape, FLOAT32 if float_input else UINT8, scale=None if float_input else 1.0)
    real = image
    if not float_input:
        real = made.step(OPS.DEQUANTIZE, [image], [made.tensor(shape, FLOAT32)], schema.DequantizeOptionsT())
    reduce = schema.ReducerOptionsT()
    axes = made.constant(list(range(len(shape))))
    mean = made.step(OPS.MEAN, [real, axes], [made.tensor((), FLOAT32)], reduce)
    given = [_output(made, mean, each) for each in outputs]
    data = made.bytes([image], given)
    if signature is not None:
        data = _signed(data, given, signature)
    return data if files is None else _packed(data, files)


def _output(made: Crafted, mean: int, out: Out) -> int:
    values = np.asarray(out.values, np.float32)
    scaled = made.step(
        OPS.MUL, [mean, made.constant(out.per_level, FLOAT32)], [made.tensor((), FLOAT32)], schema.MulOptionsT()
    )
    last = made.tensor(values.shape, FLOAT32)
    made.step(OPS.ADD, [made.constant(values, FLOAT32), scaled], [last], schema.AddOptionsT())
    if out.code is not None:
        options: Any = schema.SoftmaxOptionsT() if out.code == OPS.SOFTMAX else None
        if options is not None:
            options.beta = 1.0
        last = made.step(out.code, [last], [made.tensor(values.shape, FLOAT32)], options)
    if out.integer:
        last = made.step(OPS.CAST, [last], [made.tensor(values.shape, INT32)], schema.CastOptionsT())
    if out.scale is not None:
        stored = made.tensor(values.shape, TYPES.INT8, scale=out.scale)
        made.graph.tensors[stored].quantization.zeroPoint = [out.zero]
        last = made.step(OPS.QUANTIZE, [last], [stored], schema.QuantizeOptionsT())
    made.graph.tensors[last].name = out.name.encode()
    return last


def _signed(data: bytes, tensors: list[int], names: dict[str, int]) -> bytes:
    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.inputs, signature.outputs = b"serving_default", [], []
    for name, position in names.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), tensors[position]
        signature.outputs.append(entry)
    model.signatureDefs = [signature]
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _packed(data: bytes, files: dict[str, str]) -> bytes:
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def anchors(width: int, height: int, per_cell: int = 1, strides: tuple[int, ...] = (8, 16, 32)) -> NDArray[np.float32]:
    """Centers and sides (n, 4) in parts of the input: one box on each cell, as a trained head starts."""
    rows = []
    for stride in strides:
        ys, xs = np.mgrid[: -(-height // stride), : -(-width // stride)]
        cx, cy = (xs.ravel() + 0.5) * stride / width, (ys.ravel() + 0.5) * stride / height
        rows += [np.stack([cx, cy, np.full_like(cx, stride / width), np.full_like(cy, stride / height)], axis=1)] * (
            per_cell
        )
    return np.concatenate(rows).astype(np.float32)
