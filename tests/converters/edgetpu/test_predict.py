"""The prediction for the Edge TPU's compiler."""

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.convert


def test_the_bundled_model_and_the_baked_guard() -> None:
    from edgeguard.demo.assets import bundled_model
    from edgeguard.guard import GuardProfile
    from edgeguard_converters.edgetpu.predict import predict
    from edgeguard_converters.graph.baked_guard import bake
    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    found = predict(TfliteGraph(bundled_model().read_bytes()))
    assert not found.compiled and found.first_break is None and "all" in found.summary()
    baked = predict(TfliteGraph(bake(GuardProfile.preset("fd"), 64, 64)))
    assert baked.mapped == 1 and "unproven" in baked.summary()


@pytest.mark.full
def test_a_float_graph_breaks_at_its_first_operator(tmp_path: Path) -> None:
    import torch
    from converters.models import SIDE, Residual

    from edgeguard_converters.edgetpu.predict import predict
    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.load.registry import load_source

    net = Residual().eval()
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, SIDE, SIDE),)), str(tmp_path / "m.pt2"))
    graph = load_source(tmp_path / "m.pt2").export(
        Normalization(*PRESETS["tf"], "t"), (SIDE, SIDE), tmp_path, tmp_path / "log"
    )
    found = predict(graph.tflite)
    assert found.mapped == 0 and found.first_break is not None and "8 bits" in str(found.first_break.reason)


@pytest.mark.parametrize(
    ("shapes", "name", "reason"),
    [
        (((1, 4, 4, 8), (1, 4, 8, 4)), "TRANSPOSE", "reorders axes"),
        (((1, 4, 4, 8), (1, 4, 4, 8)), "HARD_SWISH", "ReLU6"),
        (((1, 5, 20000), (1, 5, 20000)), "SOFTMAX", "one vector"),
        (((4, 8), (1, 8)), "MEAN", "batch"),
        (((1, 4, 4, 8), (1, 1, 1, 8)), "MEAN", None),
        (((1, 1, 1, 8), (1, 8)), "RESHAPE", None),
    ],
)
def test_single_rules(shapes: tuple[tuple[int, ...], tuple[int, ...]], name: str, reason: str | None) -> None:
    from ai_edge_litert import schema_py_generated as schema

    from edgeguard_converters.edgetpu.predict import predict
    from edgeguard_converters.graph.baked_guard import _Builder, _Quantization
    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    model = schema.ModelT()
    model.version, model.buffers, model.operatorCodes = 3, [schema.BufferT()], []
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    model.subgraphs = [graph]
    build = _Builder(model)
    source, target = (build.tensor(str(s), s, schema.TensorType.INT8, _Quantization(1.0, 0)) for s in shapes)
    options = getattr(schema, {"MEAN": "ReducerOptionsT", "SOFTMAX": "SoftmaxOptionsT"}.get(name, "QuantizeOptionsT"))()
    graph.operators = [build.operator(name, [source], target, options, 1)]
    graph.inputs, graph.outputs = [source], [target]
    found = predict(TfliteGraph.of(model)).first_break
    assert (found is None) == (reason is None)
    if reason is not None and found is not None:
        assert found.reason is not None and reason in found.reason


@pytest.mark.parametrize(("version", "reason"), [(3, None), (4, "version 4 is newer than 3")])
def test_a_transposed_convolution_is_judged_by_its_picture(version: int, reason: str | None) -> None:
    """Its first input is the shape of the output, in 32 bits."""
    from ai_edge_litert import schema_py_generated as schema

    from edgeguard_converters.edgetpu.predict import predict
    from edgeguard_converters.graph.baked_guard import _Builder, _Quantization
    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    model = schema.ModelT()
    model.version, model.buffers, model.operatorCodes = 3, [schema.BufferT()], []
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    model.subgraphs = [graph]
    build = _Builder(model)
    shape = build.tensor("shape", (4,), schema.TensorType.INT32, _Quantization(1.0, 0))
    weights, source, target = (
        build.tensor(str(s), s, schema.TensorType.INT8, _Quantization(1.0, 0))
        for s in ((8, 2, 2, 4), (1, 4, 4, 4), (1, 8, 8, 8))
    )
    options = schema.TransposeConvOptionsT()
    graph.operators = [build.operator("TRANSPOSE_CONV", [shape, weights, source], target, options, version)]
    graph.inputs, graph.outputs = [source], [target]
    found = predict(TfliteGraph.of(model)).first_break
    assert (None if found is None else found.reason) == reason


def test_corals_own_pair(shared: Path) -> None:
    """The golden case: what Google's compiler mapped whole is predicted to map whole."""
    from edgeguard_converters.edgetpu.predict import predict
    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    plain = predict(TfliteGraph((shared / "models/mobilenet_v1_0.25_128_quant.tflite").read_bytes()))
    compiled = TfliteGraph((shared / "models/mobilenet_v1_0.25_128_quant_edgetpu.tflite").read_bytes())
    assert predict(compiled).compiled and compiled.operators() == {"CUSTOM": 1}
    assert plain.mapped == len(plain.verdicts) == 31
    assert np.all([v.reason is None for v in plain.verdicts])
