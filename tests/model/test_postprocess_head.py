"""A .tflite that ends in TFLite_Detection_PostProcess, built tensor by tensor, through the real runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.errors import InputError
from edgeguard.model import load_model

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")


def _detector(path: Path, outputs: int = 4) -> None:
    """Three anchors; the scores say: class 1 at the second anchor (0.9), class 0 at the third (0.6)."""
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder, flexbuffers

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers, graph.tensors = 3, [graph], [schema.BufferT()], []

    def tensor(name: str, shape: tuple[int, ...], values: Any = None, kind: int = schema.TensorType.FLOAT32) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), list(shape), kind, 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(values, np.float32).tobytes(), np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    image = tensor("image", (1, 40, 80, 3), kind=schema.TensorType.UINT8)
    encodings = tensor("encodings", (1, 3, 4), np.zeros((1, 3, 4)))
    scores = tensor("scores", (1, 3, 3), [[[0.9, 0.05, 0.05], [0.1, 0.0, 0.9], [0.3, 0.6, 0.1]]])  # background first
    anchors = tensor(
        "anchors", (3, 4), [[0.5, 0.5, 1, 1], [0.25, 0.25, 0.5, 0.25], [0.75, 0.5, 0.5, 0.5]]
    )  # y, x, h, w
    results = [
        tensor("boxes", (1, 10, 4)),
        tensor("classes", (1, 10)),
        tensor("scores_out", (1, 10)),
        tensor("count", (1,)),
    ]
    options = flexbuffers.Builder()
    with options.Map():
        for key, number in {"max_detections": 10, "max_classes_per_detection": 1, "num_classes": 2}.items():
            options.Int(key, number)
        for key, value in {"y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}.items():
            options.Float(key, value)
        options.Float("nms_score_threshold", 0.2)
        options.Float("nms_iou_threshold", 0.5)
        options.Bool("use_regular_nms", False)
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = b"TFLite_Detection_PostProcess", 1
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [encodings, scores, anchors], results
    operator.customOptions = list(options.Finish())
    model.operatorCodes, graph.operators = [code], [operator]
    graph.inputs, graph.outputs = [image], results[:outputs]
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def test_boxes_come_back_in_the_frame(tmp_path: Path) -> None:
    _detector(tmp_path / "ssd.tflite")
    model = load_model(tmp_path / "ssd.tflite", delegate="cpu")
    assert model.contract.task == "detect" and model.contract.detection is not None
    assert model.contract.detection.head == "postprocess" and not model.has_contract
    frame = np.zeros((400, 800, 3), np.uint8)
    found = model(frame).boxes
    assert found is not None and [box.index for box in found] == [1, 0]
    assert [round(box.score, 2) for box in found] == [0.9, 0.6]
    # the derived contract of a detector sees the whole frame
    first = found[0]  # y 0..0.5, x 0.125..0.375
    assert (first.x1, first.y1, first.x2, first.y2) == pytest.approx((100, 0, 300, 200), abs=0.5)


def test_other_numbers_of_outputs_are_refused(tmp_path: Path) -> None:
    _detector(tmp_path / "two.tflite", outputs=2)
    with pytest.raises(InputError, match="looks like 2 outputs of no known detector"):
        load_model(tmp_path / "two.tflite", delegate="cpu")
