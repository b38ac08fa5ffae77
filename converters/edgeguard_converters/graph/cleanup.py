"""Clean-ups of a float graph before it is quantised: what stops the Edge TPU, and operators that weights can absorb."""

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeguard_converters.graph.edit import builtin, read, write
from edgeguard_converters.graph.normalization import Normalisation
from edgeguard_converters.load.source import FloatGraph

_OPS = schema.BuiltinOperator
_VALID = schema.Padding.VALID
_FUSED_TRANSPOSE_CONV = 4  # the first version with an activation
_RELUS = (schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.RELU6)


def clean(data: bytes) -> bytes:
    """All clean-ups; the outputs stay what they were."""
    model = read(data)
    changed = _average_in_place(model)
    changed = _pad_with_zeros(model) or changed
    changed = _fold_normalisation(model) or changed
    changed = _fuse_relu(model) or changed
    if not changed:
        return data
    _drop_unused_tensors(model)
    return write(model)


def _average_in_place(model: Any) -> bool:
    """MEAN reads the NHWC tensor itself, not a transposed copy: the Edge TPU compiler stops at the TRANSPOSE.

    litert-torch writes the copy for AdaptiveAvgPool2d and Flatten.
    """
    graph, changed = model.subgraphs[0], False
    for mean in [op for op in graph.operators if builtin(model, op) == _OPS.MEAN]:
        transpose = _producer(graph, mean.inputs[0])
        if transpose is None or builtin(model, transpose) != _OPS.TRANSPOSE:
            continue
        order, axes = (_constant(model, graph, op.inputs[1]) for op in (transpose, mean))
        if order is None or axes is None or not _keeps_order(model, graph, mean, order, axes):
            continue
        rank = len(order)
        moved = np.array(sorted(int(order[axis % rank]) for axis in axes.ravel()), np.int32)
        mean.inputs[0], mean.inputs[1] = transpose.inputs[0], _add_constant(model, graph, moved)
        if mean.builtinOptions.keepDims:
            shape = [int(side) for side in graph.tensors[transpose.inputs[0]].shape]
            graph.tensors[mean.outputs[0]].shape = np.array([1 if i in moved else s for i, s in enumerate(shape)])
        if not _consumers(graph, transpose.outputs[0]):
            graph.operators.remove(transpose)
        changed = True
    return changed


def _pad_with_zeros(model: Any) -> bool:
    """PADV2 with minus infinity before a max pool becomes PAD, where what is padded has passed a ReLU.

    A zero is then as low as any value. The Edge TPU compiler knows PAD only.
    """
    graph, changed = model.subgraphs[0], False
    for pad in [op for op in graph.operators if builtin(model, op) == _OPS.PADV2]:
        before, readers = _producer(graph, pad.inputs[0]), _consumers(graph, pad.outputs[0])
        if before is None or not all(builtin(model, op) == _OPS.MAX_POOL_2D for op in readers):
            continue
        options = before.builtinOptions
        fused = getattr(options, "fusedActivationFunction", schema.ActivationFunctionType.NONE)
        positive = fused in _RELUS or builtin(model, before) in (_OPS.RELU, _OPS.RELU6)
        value = _constant(model, graph, pad.inputs[2])
        if not positive or value is None or float(value.ravel()[0]) > 0:
            continue
        pad.opcodeIndex = _opcode(model, _OPS.PAD)
        pad.inputs = pad.inputs[:2]
        pad.builtinOptionsType, pad.builtinOptions = schema.BuiltinOptions.PadOptions, schema.PadOptionsT()
        changed = True
    return changed


def _fuse_relu(model: Any) -> bool:
    """A ReLU behind a transposed convolution becomes part of it; alone, XNNPACK's int8 does not take it."""
    graph, changed = model.subgraphs[0], False
    for relu in [op for op in graph.operators if builtin(model, op) == _OPS.RELU]:
        before = _producer(graph, relu.inputs[0])
        if before is None or builtin(model, before) != _OPS.TRANSPOSE_CONV:
            continue
        none = schema.ActivationFunctionType.NONE
        if before.builtinOptions.fusedActivationFunction != none or len(_consumers(graph, relu.inputs[0])) != 1:
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
    readers = _consumers(graph, mean.outputs[0])  # the kept axis moves: only a reshape does not mind
    return bool(readers) and all(builtin(model, op) == _OPS.RESHAPE for op in readers)


def float_graph(path: Path, normalisation: Normalisation) -> FloatGraph:
    """A cleaned float .tflite with what is known of its input's domain."""
    if not normalisation.is_uniform:
        return FloatGraph(path, normalisation, 0.0, 255.0, normalised_tensor(path.read_bytes()))
    low, high = ((p - normalisation.mean[0]) / normalisation.std[0] for p in (0, 255))
    return FloatGraph(path, normalisation, low, high)


def normalised_tensor(data: bytes) -> str | None:
    """The name of what a depthwise 1x1 normalisation at the input gives, or None where the graph has none."""
    model = read(data)
    found = _normaliser(model)
    if found is None:
        return None
    name = model.subgraphs[0].tensors[found.outputs[0]].name
    return name.decode() if isinstance(name, bytes) else str(name)


def _normaliser(model: Any) -> Any | None:
    graph = model.subgraphs[0]
    readers = _consumers(graph, graph.inputs[0])
    if len(readers) != 1 or builtin(model, readers[0]) != _OPS.DEPTHWISE_CONV_2D:
        return None
    scale, offset = (_constant(model, graph, index) for index in readers[0].inputs[1:3])
    return None if scale is None or offset is None or scale.shape != (1, 1, 1, 3) else readers[0]


def _fold_normalisation(model: Any) -> bool:
    """A depthwise 1x1 normalisation goes into the convolution that follows it.

    Exact only where that convolution pads nothing: padded zeros stand for the mean, which is another pixel in each
    channel.
    """
    graph, depthwise = model.subgraphs[0], _normaliser(model)
    if depthwise is None:
        return False
    scale, offset = (_constant(model, graph, index) for index in depthwise.inputs[1:3])
    assert scale is not None and offset is not None
    after = _consumers(graph, depthwise.outputs[0])
    if len(after) != 1 or builtin(model, after[0]) != _OPS.CONV_2D or after[0].builtinOptions.padding != _VALID:
        return False
    convolution = after[0]
    weights, bias = (_constant(model, graph, index) for index in convolution.inputs[1:3])
    if weights is None or bias is None:
        return False
    exact = weights.astype(np.float64)  # (out, h, w, in)
    shifted = bias.astype(np.float64) + (exact * offset.astype(np.float64).reshape(3)).sum(axis=(1, 2, 3))
    convolution.inputs[0] = graph.inputs[0]
    convolution.inputs[1] = _add_constant(model, graph, (exact * scale.reshape(3)).astype(np.float32))
    convolution.inputs[2] = _add_constant(model, graph, shifted.astype(np.float32))
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


def _producer(graph: Any, tensor: int) -> Any | None:
    return next((op for op in graph.operators if tensor in op.outputs), None)


def _consumers(graph: Any, tensor: int) -> list[Any]:
    return [op for op in graph.operators if tensor in op.inputs]


def _constant(model: Any, graph: Any, index: int) -> NDArray[Any] | None:
    """The value of a constant tensor, or None."""
    if index < 0:
        return None
    tensor = graph.tensors[index]
    data = model.buffers[tensor.buffer].data
    kind = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT32: np.int32}.get(tensor.type)
    if data is None or kind is None:
        return None
    return np.frombuffer(np.asarray(data, np.uint8).tobytes(), kind).reshape(tensor.shape)


def _add_constant(model: Any, graph: Any, value: NDArray[Any]) -> int:
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.shape, tensor.buffer = np.array(value.shape, np.int32), len(model.buffers) - 1
    tensor.type = schema.TensorType.FLOAT32 if value.dtype == np.float32 else schema.TensorType.INT32
    tensor.name = f"edgeguard/constant_{len(graph.tensors)}".encode()
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def with_normalisation(data: bytes, normalisation: Normalisation) -> bytes:
    """The graph behind a depthwise 1x1 normalisation: its input is pixels 0..255."""
    model = read(data)
    graph = model.subgraphs[0]
    outer = graph.inputs[0]
    inner = schema.TensorT()
    inner.shape, inner.type, inner.buffer = graph.tensors[outer].shape, schema.TensorType.FLOAT32, 0
    inner.name = b"edgeguard/normalised"
    graph.tensors.append(inner)
    index = len(graph.tensors) - 1
    for reader in _consumers(graph, outer):
        reader.inputs = [index if tensor == outer else tensor for tensor in reader.inputs]
    mean, std = np.array(normalisation.mean), np.array(normalisation.std)
    operator, options = schema.OperatorT(), schema.DepthwiseConv2DOptionsT()
    options.padding, options.strideW, options.strideH, options.depthMultiplier = _VALID, 1, 1, 1
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.DepthwiseConv2DOptions, options
    operator.opcodeIndex = _opcode(model, _OPS.DEPTHWISE_CONV_2D)
    weights = _add_constant(model, graph, (1 / std).astype(np.float32).reshape(1, 1, 1, 3))
    operator.inputs = [outer, weights, _add_constant(model, graph, (-mean / std).astype(np.float32))]
    operator.outputs = [index]
    graph.operators.insert(0, operator)
    return write(model)


def _opcode(model: Any, wanted: int) -> int:
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == wanted:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = wanted, 1
    code.deprecatedBuiltinCode = wanted
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
