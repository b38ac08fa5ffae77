"""Small int8 classifiers of regions, made by hand: convolutions, a map of votes, and the mean of it."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from flatbuffers import Builder
from model.crafted import OPS, TYPES, Crafted, schema
from numpy.typing import NDArray


class Layer(NamedTuple):
    """A convolution: kernel, stride, output channels, whether it pads, dilation."""

    kernel: int
    stride: int
    channels: int
    same: bool = True
    dilation: int = 1


LAYERS = (Layer(3, 1, 8), Layer(2, 2, 8), Layer(3, 1, 8), Layer(1, 1, 4))


def made_regions(
    layers: Sequence[Layer] = LAYERS,
    size: int = 16,
    *,
    seed: int = 0,
    claim: dict[str, Any] | None = None,
    mix: bool = False,
    outputs: int = 2,
    preprocess: dict[str, Any] | None = None,
    colors: bool = False,
    labels: Sequence[str] = (),
) -> bytes:
    """A file with random weights, uint8 input, and a contract that claims a certificate.

    Args:
        layers: of the network; the last one's channels are the classes.
        size: side of the input.
        seed: of the weights.
        claim: what the contract says in place of `{"output": 1}`.
        mix: a MEAN over all places stands before the map, so that nothing can be proven.
        outputs: how many of mean and map the graph gives.
        preprocess: of the contract, in place of the whole picture as it is.
        labels: of the contract.
        colors: one layer that knows something: class c is the color c, where it is brighter than the others.
    """
    layers = (Layer(3, 2, 3),) if colors else layers
    made, rng = Crafted(), np.random.default_rng(seed)
    image = made.tensor((1, size, size, 3), scale=1.0)
    last = made.step(
        OPS.QUANTIZE, [image], [_int8(made, (1, size, size, 3), 1.0, -128)], schema.QuantizeOptionsT(), version=1
    )
    shape: tuple[int, ...] = (1, size, size, 3)
    scale = 1.0
    for number, layer in enumerate(layers):
        votes = number == len(layers) - 1
        out_scale = 6 / 255 if votes else 1.0
        last, shape = _convolution(made, last, shape, layer, None if colors else rng, (scale, out_scale), relu6=votes)
        scale = out_scale
    if mix:
        options = schema.ReducerOptionsT()
        options.keepDims = True
        mean = made.step(
            OPS.MEAN, [last, made.constant([1, 2])], [_int8(made, (1, 1, 1, shape[3]), scale, -128)], options, version=2
        )
        last = made.step(OPS.ADD, [last, mean], [_int8(made, shape, scale, -128)], schema.AddOptionsT(), version=2)
    mean = made.step(
        OPS.MEAN, [last, made.constant([1, 2])], [_int8(made, (1, shape[3]), scale, -128)], schema.ReducerOptionsT(),
        version=2,
    )  # fmt: skip
    return _with_contract(made.bytes([image], [mean, last][:outputs]), size, claim or {"output": 1}, preprocess, labels)


def _convolution(
    made: Crafted,
    last: int,
    shape: tuple[int, ...],
    layer: Layer,
    rng: np.random.Generator | None,
    scales: tuple[float, float],
    *,
    relu6: bool,
) -> tuple[int, tuple[int, ...]]:
    kernel_shape = (layer.channels, layer.kernel, layer.kernel, shape[3])
    if rng is None:
        weights = np.broadcast_to(150 * np.eye(3, dtype=np.int64)[:, None, None] - 50, kernel_shape)
        offsets = np.zeros(layer.channels, np.int64)
    else:
        weights = rng.integers(-127, 128, kernel_shape)
        offsets = rng.integers(-4000, 4000, layer.channels)
    reach = (layer.kernel - 1) * layer.dilation + 1
    side = -(-shape[1] // layer.stride) if layer.same else -(-(shape[1] - reach + 1) // layer.stride)
    # sums of random products spread over the output's range
    spread = 60 * 73 * np.sqrt(weights[0].size) * scales[0]
    weight_scale = 1e-4 if rng is None else 255 * scales[1] / (3 * spread)
    kernel = _int8(made, weights.shape, weight_scale, 0, weights)
    bias = made.tensor((layer.channels,), TYPES.INT32, offsets, scale=None)
    made.graph.tensors[bias].quantization = _quantization(scales[0] * weight_scale, 0)
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME if layer.same else schema.Padding.VALID
    options.strideW = options.strideH = layer.stride
    options.dilationWFactor = options.dilationHFactor = layer.dilation
    options.fusedActivationFunction = 3 if relu6 else 0
    out = (1, side, side, layer.channels)
    zero = -128 if relu6 else 0
    return made.step(OPS.CONV_2D, [last, kernel, bias], [_int8(made, out, scales[1], zero)], options, version=3), out


def _int8(
    made: Crafted, shape: tuple[int, ...], scale: float, zero: int, values: NDArray[np.int64] | None = None
) -> int:
    number = made.tensor(shape, TYPES.INT8)
    tensor = made.graph.tensors[number]
    tensor.quantization = _quantization(scale, zero)
    if values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.astype(np.int8).tobytes(), np.uint8)
        made.model.buffers.append(buffer)
        tensor.buffer = len(made.model.buffers) - 1
    return number


def _quantization(scale: float, zero: int) -> Any:
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [scale], [zero]
    return quantization


def _with_contract(
    data: bytes, size: int, claim: dict[str, Any], preprocess: dict[str, Any] | None, labels: Sequence[str]
) -> bytes:
    contract = {
        "labels": list(labels),
        "schema": 1,
        "input": {"width": size, "height": size, "dtype": "uint8"},
        "preprocess": preprocess or {"crop": "none", "crop_fraction": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]},
        "patch_certificate": claim,
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
