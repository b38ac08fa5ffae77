"""Clean-ups of a float graph before it is quantized: what stops the Edge TPU, and operators that weights can absorb."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeguard_converters.graph.clamps import write_clamps
from edgeguard_converters.graph.edit import (
    FILTER_OPS,
    add_constant,
    builtin,
    constant,
    consumers,
    opcode,
    producer,
    text,
    values,
)
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.graph.tflite_graph import TfliteGraph

_OPS = schema.BuiltinOperator
_VALID = schema.Padding.VALID
_FUSED_TRANSPOSE_CONV = 4  # the first version with an activation
_RELUS = (schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.RELU6)


def clean(graph: TfliteGraph) -> TfliteGraph:
    """All clean-ups; the outputs stay what they were."""
    model = graph.editable()
    changed = _average_in_place(model)
    changed = _pad_with_zeros(model) or changed
    changed = _fold_normalization(model) or changed
    changed = _fuse_relu(model) or changed
    changed = write_clamps(model) or changed
    if not changed:
        return graph
    _drop_unused_tensors(model)
    return TfliteGraph.of(model)


def _average_in_place(model: Any) -> bool:
    """MEAN reads the NHWC tensor itself, not a transposed copy: the Edge TPU compiler stops at the TRANSPOSE.

    litert-torch writes the copy for AdaptiveAvgPool2d and Flatten.
    """
    graph, changed = model.subgraphs[0], False
    for mean in [op for op in graph.operators if builtin(model, op) == _OPS.MEAN]:
        transpose = producer(graph, mean.inputs[0])
        if transpose is None or builtin(model, transpose) != _OPS.TRANSPOSE:
            continue
        order, axes = (constant(model, graph, op.inputs[1]) for op in (transpose, mean))
        if order is None or axes is None or not _keeps_order(model, graph, mean, order, axes):
            continue
        rank = len(order)
        moved = np.array(sorted(int(order[axis % rank]) for axis in axes.ravel()), np.int32)
        mean.inputs[0], mean.inputs[1] = transpose.inputs[0], add_constant(model, graph, moved)
        if mean.builtinOptions.keepDims:
            shape = [int(side) for side in graph.tensors[transpose.inputs[0]].shape]
            graph.tensors[mean.outputs[0]].shape = np.array([1 if i in moved else s for i, s in enumerate(shape)])
        if not consumers(graph, transpose.outputs[0]):
            graph.operators.remove(transpose)
        changed = True
    return changed


def _pad_with_zeros(model: Any) -> bool:
    """PADV2 with minus infinity before a max pool becomes PAD, where what is padded has passed a ReLU.

    A zero is then as low as any value. The Edge TPU compiler knows PAD only.
    """
    graph, changed = model.subgraphs[0], False
    for pad in [op for op in graph.operators if builtin(model, op) == _OPS.PADV2]:
        before, readers = producer(graph, pad.inputs[0]), consumers(graph, pad.outputs[0])
        if before is None or not all(builtin(model, op) == _OPS.MAX_POOL_2D for op in readers):
            continue
        options = before.builtinOptions
        fused = getattr(options, "fusedActivationFunction", schema.ActivationFunctionType.NONE)
        positive = fused in _RELUS or builtin(model, before) in (_OPS.RELU, _OPS.RELU6)
        value = constant(model, graph, pad.inputs[2])
        if not positive or value is None or float(value.ravel()[0]) > 0:
            continue
        pad.opcodeIndex = opcode(model, _OPS.PAD)
        pad.inputs = pad.inputs[:2]
        pad.builtinOptionsType, pad.builtinOptions = schema.BuiltinOptions.PadOptions, schema.PadOptionsT()
        changed = True
    return changed


def _fuse_relu(model: Any) -> bool:
    """A ReLU behind a transposed convolution becomes part of it; alone, XNNPACK's int8 does not take it."""
    graph, changed = model.subgraphs[0], False
    for relu in [op for op in graph.operators if builtin(model, op) == _OPS.RELU]:
        before = producer(graph, relu.inputs[0])
        if before is None or builtin(model, before) != _OPS.TRANSPOSE_CONV:
            continue
        none = schema.ActivationFunctionType.NONE
        if before.builtinOptions.fusedActivationFunction != none or len(consumers(graph, relu.inputs[0])) != 1:
            continue
        before.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
        before.outputs = relu.outputs
        model.operatorCodes[before.opcodeIndex].version = _FUSED_TRANSPOSE_CONV
        graph.operators.remove(relu)
        changed = True
    return changed


def _keeps_order(model: Any, graph: Any, mean: Any, order: NDArray[Any], axes: NDArray[Any]) -> bool:
    """True where averaging before the transpose gives the same values in the same order."""
    rank = len(order)
    gone = {int(order[axis % rank]) for axis in axes.ravel()}
    kept = [int(axis) for axis in order if int(axis) not in gone]
    if kept != sorted(kept):
        return False
    if not mean.builtinOptions.keepDims:
        return True
    readers = consumers(graph, mean.outputs[0])  # the kept axis moves: only a reshape does not mind
    return bool(readers) and all(builtin(model, op) == _OPS.RESHAPE for op in readers)


def normalized_tensor(graph: TfliteGraph) -> str | None:
    """The name of what a depthwise 1x1 normalization at the input gives, or None where the graph has none."""
    found = _normalizer(graph.model)
    return None if found is None else text(graph.model.subgraphs[0].tensors[found.outputs[0]].name)


def _normalizer(model: Any) -> Any | None:
    graph = model.subgraphs[0]
    readers = consumers(graph, graph.inputs[0])
    if len(readers) != 1 or builtin(model, readers[0]) != _OPS.DEPTHWISE_CONV_2D:
        return None
    scale, offset = (constant(model, graph, index) for index in readers[0].inputs[1:3])
    return None if scale is None or offset is None or scale.shape != (1, 1, 1, 3) else readers[0]


def _fold_normalization(model: Any) -> bool:
    """A depthwise 1x1 normalization goes into the convolution that follows it.

    Exact only where that convolution pads nothing: padded zeros stand for the mean, which is another pixel in each
    channel.
    """
    graph, depthwise = model.subgraphs[0], _normalizer(model)
    if depthwise is None:
        return False
    scale, offset = (constant(model, graph, index) for index in depthwise.inputs[1:3])
    assert scale is not None and offset is not None
    after = consumers(graph, depthwise.outputs[0])
    if len(after) != 1 or builtin(model, after[0]) != _OPS.CONV_2D or after[0].builtinOptions.padding != _VALID:
        return False
    convolution = after[0]
    weights, bias = (constant(model, graph, index) for index in convolution.inputs[1:3])
    if weights is None or bias is None:
        return False
    exact = weights.astype(np.float64)  # (out, h, w, in)
    shifted = bias.astype(np.float64) + (exact * offset.astype(np.float64).reshape(3)).sum(axis=(1, 2, 3))
    convolution.inputs[0] = graph.inputs[0]
    convolution.inputs[1] = add_constant(model, graph, (exact * scale.reshape(3)).astype(np.float32))
    convolution.inputs[2] = add_constant(model, graph, shifted.astype(np.float32))
    graph.operators.remove(depthwise)
    return True


def _drop_unused_tensors(model: Any) -> None:
    """Tensors that no operator touches any more go away: calibration reads every tensor, and these are never filled."""
    graph = model.subgraphs[0]
    used = {int(i) for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0}
    kept = sorted(used | {int(i) for i in (*graph.inputs, *graph.outputs)})
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in kept]
    for op in graph.operators:
        op.inputs = [place[int(index)] for index in op.inputs]
        op.outputs = [place[int(index)] for index in op.outputs]
    graph.inputs = [place[int(index)] for index in graph.inputs]
    graph.outputs = [place[int(index)] for index in graph.outputs]
    for signature in model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = place[int(entry.tensorIndex)]


def with_normalization(source: TfliteGraph, normalization: Normalization) -> TfliteGraph:
    """The graph behind a depthwise 1x1 normalization: its input is pixels 0..255."""
    model = source.editable()
    graph = model.subgraphs[0]
    outer = graph.inputs[0]
    inner = schema.TensorT()
    inner.shape, inner.type, inner.buffer = graph.tensors[outer].shape, schema.TensorType.FLOAT32, 0
    inner.name = b"edgeguard/normalised"
    graph.tensors.append(inner)
    index = len(graph.tensors) - 1
    for reader in consumers(graph, outer):
        reader.inputs = [index if tensor == outer else tensor for tensor in reader.inputs]
    mean, std = np.array(normalization.mean), np.array(normalization.std)
    operator, options = schema.OperatorT(), schema.DepthwiseConv2DOptionsT()
    options.padding, options.strideW, options.strideH, options.depthMultiplier = _VALID, 1, 1, 1
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.DepthwiseConv2DOptions, options
    operator.opcodeIndex = opcode(model, _OPS.DEPTHWISE_CONV_2D)
    weights = add_constant(model, graph, (1 / std).astype(np.float32).reshape(1, 1, 1, 3))
    operator.inputs = [outer, weights, add_constant(model, graph, (-mean / std).astype(np.float32))]
    operator.outputs = [index]
    graph.operators.insert(0, operator)
    return TfliteGraph.of(model)


def mend_dead_filters(source: TfliteGraph) -> tuple[TfliteGraph, int]:
    """Give each all-zero filter one tiny weight, and count them.

    An all-zero filter gets a scale of about 1e-11, with which its bias overflows int32. One weight of 1e-4 of the
    tensor's largest keeps the scale sane and changes the output by less than a quantization step.
    """
    model = source.editable()
    mended = 0
    for graph in model.subgraphs:
        for operator in graph.operators:
            axis = FILTER_OPS.get(builtin(model, operator))
            if axis is None:
                continue
            tensor = graph.tensors[operator.inputs[1]]
            buffer = model.buffers[tensor.buffer]
            if tensor.type != schema.TensorType.FLOAT32 or buffer.data is None:
                continue
            weights = values(model, tensor, np.float32).copy()
            if dead := _fill_dead(weights, axis):
                buffer.data = np.frombuffer(weights.tobytes(), np.uint8)
                mended += dead
    return (TfliteGraph.of(model), mended) if mended else (source, 0)


def _fill_dead(weights: NDArray[np.float32], axis: int) -> int:
    """Write the tiny weight into each dead filter of an array whose filters lie along an axis; how many they were."""
    channels = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    dead = np.flatnonzero(np.abs(channels).max(axis=1) < 1e-12)
    if not len(dead):
        return 0
    largest = float(np.abs(weights).max()) or 1.0
    first = np.moveaxis(weights, axis, 0)
    for channel in dead:
        first[channel][(0,) * (weights.ndim - 1)] = 1e-4 * largest
    return len(dead)
