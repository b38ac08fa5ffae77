"""Integer graphs: the twin's numbers are the runtime's, bit for bit."""

from typing import Any

import flatbuffers
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")

from ai_edge_litert import schema_py_generated as schema

from edgeguard.evaluate.rebuild.fixed_point import fixed_point_sum, sum_scales
from edgeguard.evaluate.rebuild.graph import Operator, TensorSpec, read_graph
from edgeguard.evaluate.rebuild.tables import table_of
from edgeguard.model.runtime import load_runner

_TYPES = {"uint8": 3, "int8": 9}


def _integer_model(
    op: str, dtype: str, inputs: list[tuple[float, int]], output: tuple[float, int], n: int, options: Any = None
) -> bytes:
    """A graph of one operator on rows of n whole numbers, each with its scale and zero point."""
    model, graph, code, step = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    tensors = []
    for scale, zero in (*inputs, output):
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = [1, n], _TYPES[dtype], 0
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero]
        tensors.append(tensor)
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
    step.opcodeIndex, step.inputs, step.outputs = 0, list(range(len(inputs))), [len(inputs)]
    if options is not None:
        kind = type(options).__name__.removesuffix("T")
        step.builtinOptionsType, step.builtinOptions = getattr(schema.BuiltinOptions, kind), options
    graph.tensors, graph.operators = tensors, [step]
    graph.inputs, graph.outputs = step.inputs, step.outputs
    model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, [schema.BufferT()], [graph], [code]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _run(data: bytes, *values: NDArray[np.generic]) -> NDArray[np.generic]:
    """What the runtime answers to several inputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    for detail, one in zip(interpreter.get_input_details(), values, strict=True):
        interpreter.set_tensor(detail["index"], one)
    interpreter.invoke()
    answer: NDArray[np.generic] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return answer


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("op", ["ADD", "SUB"])
@pytest.mark.parametrize("seed", range(6))
def test_sums_round_as_in_the_runtime(op: str, dtype: str, seed: int) -> None:
    """All pairs of values. A sum that is rounded once, of real numbers, differs in a few of them."""
    rng = np.random.default_rng(seed)
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)
    first, second = np.meshgrid(np.arange(low, high + 1), np.arange(low, high + 1))
    scales = [float(np.float32(one)) for one in np.exp(rng.uniform(-4, 0, 3))]
    zeros = [int(one) for one in rng.integers(low, high + 1, 3)]
    options = schema.AddOptionsT() if op == "ADD" else schema.SubOptionsT()
    data = _integer_model(
        op, dtype, list(zip(scales[:2], zeros[:2], strict=True)), (scales[2], zeros[2]), first.size, options
    )
    wanted = _run(data, first.reshape(1, -1).astype(dtype), second.reshape(1, -1).astype(dtype)).astype(int)
    found_scales = sum_scales(*scales, minus=op == "SUB")
    assert found_scales is not None
    left, right = (torch.from_numpy(one.reshape(1, -1)).float() for one in (first, second))
    bounds = (low - zeros[2], high - zeros[2])
    found = fixed_point_sum(left - zeros[0], right - zeros[1], found_scales, *bounds)
    assert np.array_equal(found.numpy().astype(int) + zeros[2], wanted)


def test_the_derivative_of_a_sum_is_that_of_real_numbers() -> None:
    first, second = (torch.tensor(one, requires_grad=True) for one in ([[10.0, 20.0, 120.0]], [[5.0, -9.0, 120.0]]))
    scales = sum_scales(0.5, 0.25, 0.5)
    assert scales is not None and sum_scales(1.0, 1.0, 1e-4) is None  # beyond what these kernels take
    found = fixed_point_sum(first, second, scales, -128, 127)
    assert found.tolist() == [[13.0, 16.0, 127.0]]  # 12.5 and 15.5 go up, the last is clipped
    found.sum().backward()
    assert first.grad is not None and first.grad.tolist() == [[1.0, 1.0, 0.0]]
    assert second.grad is not None and second.grad.tolist() == [[0.5, 0.5, 0.0]]


def test_a_constant_that_is_broadcast_has_its_own_gradient() -> None:
    first, second = torch.zeros(2, 3, requires_grad=True), torch.ones(1, 1, requires_grad=True)
    scales = sum_scales(1.0, 1.0, 1.0)
    assert scales is not None
    fixed_point_sum(first, second, scales, -128, 127).sum().backward()
    assert second.grad is not None and second.grad.tolist() == [[6.0]]


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("op", ["HARD_SWISH", "LOGISTIC", "TANH", "QUANTIZE", "LEAKY_RELU"])
def test_tables_hold_what_the_runtime_answers(op: str, dtype: str) -> None:
    if op == "HARD_SWISH" and dtype == "uint8":
        scales, zeros = (0.03, 1 / 64), (128, 24)
    elif op == "LOGISTIC":
        scales, zeros = (0.05, 1 / 256), (3, 0 if dtype == "uint8" else -128)
    elif op == "TANH":
        scales, zeros = (0.03, 1 / 128), (3, 128 if dtype == "uint8" else 0)
    else:
        scales, zeros = (0.031, 0.017), (3, 9)
    options = schema.LeakyReluOptionsT() if op == "LEAKY_RELU" else None
    if options is not None:
        options.alpha = 0.1
    data = _integer_model(op, dtype, [(scales[0], zeros[0])], (scales[1], zeros[1]), 256, options)
    low = 0 if dtype == "uint8" else -128
    values = np.arange(low, low + 256)
    wanted = load_runner(data).run_raw(values.astype(dtype)[None])[0].astype(int)
    graph = read_graph(data)
    table = table_of(graph.operators[0], graph.tensors[0], graph.tensors[1])
    assert table is not None
    found = table(torch.from_numpy(values - zeros[0]).float()).numpy().astype(int) + zeros[1]
    assert np.array_equal(found, wanted.reshape(-1)) and len(set(found)) > 20


def test_what_is_no_table_is_none() -> None:
    spec = TensorSpec("x", (1, 4), "int8", None, (0.1,), (0,), 0)
    plain = TensorSpec("x", (1, 4), "float32", None, (), (), 0)
    step = Operator("LOGISTIC", (0,), ((1, 4),), (1,), None)
    assert table_of(step, plain, spec) is None
    assert table_of(Operator("SOFTMAX", (0,), ((1, 4),), (1,), None), spec, spec) is None
