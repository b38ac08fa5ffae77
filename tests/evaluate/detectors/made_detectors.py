"""A small detector built operator by operator: it finds red and green squares of 16 pixels on a grid of 4x4."""

import json
from typing import Any

import cv2
import numpy as np
from flatbuffers import Builder, flexbuffers
from model.crafted import FLOAT32, OPS, UINT8, Crafted, schema
from numpy.typing import NDArray

SIDE, CELL = 64, 16
LABELS = ("red", "green")
PLACES = [(x, y) for y in range(0, SIDE, CELL) for x in range(0, SIDE, CELL)]


def detector(head: str = "raw", guard: dict[str, Any] | None = None) -> bytes:
    """A .tflite with a contract; `head` is raw, or postprocess for one that ends in that operator."""
    made = Crafted()
    image = made.tensor((1, SIDE, SIDE, 3), UINT8, scale=1.0)
    real = made.step(OPS.DEQUANTIZE, [image], [made.tensor((1, SIDE, SIDE, 3), FLOAT32)], schema.DequantizeOptionsT())
    weights = np.zeros((2, CELL, CELL, 3), np.float32)
    for k in range(2):
        weights[k] = -0.05 / CELL**2
        weights[k, :, :, k] = 0.08 / CELL**2
    options = schema.Conv2DOptionsT()
    options.padding, options.strideW, options.strideH = 1, CELL, CELL
    options.dilationWFactor = options.dilationHFactor = 1
    inputs = [real, made.constant(weights, FLOAT32), made.constant([-4.0, -4.0], FLOAT32)]
    seen = made.step(OPS.CONV_2D, inputs, [made.tensor((1, 4, 4, 2), FLOAT32)], options)
    arranged = schema.ReshapeOptionsT()
    arranged.newShape = [1, 16, 2]
    flat = made.step(OPS.RESHAPE, [seen, made.constant([1, 16, 2])], [made.tensor((1, 16, 2), FLOAT32)], arranged)
    scores = made.step(OPS.LOGISTIC, [flat], [made.tensor((1, 16, 2), FLOAT32)])
    cells = np.array([(x, y, x + CELL, y + CELL) for x, y in PLACES], np.float32)
    corners: NDArray[np.float32] = np.asarray(cells / SIDE, np.float32)
    post = head == "postprocess"
    boxes = _from_picture(made, real, np.zeros((16, 4), np.float32) if post else corners)
    outputs = _postprocessed(made, boxes, scores, corners) if post else [boxes, scores]
    return _with_contract(made.bytes([image], outputs), head, guard)


def frame(*objects: tuple[int, int]) -> NDArray[np.uint8]:
    """Gray, with a square of the class at each place: pairs of place and class."""
    picture = np.full((SIDE, SIDE, 3), 100, np.uint8)
    for place, k in objects:
        x, y = PLACES[place]
        picture[y : y + CELL, x : x + CELL] = 60
        picture[y : y + CELL, x : x + CELL, k] = 190
    return picture


def write_coco(folder: Any, pictures: list[tuple[tuple[int, int], ...]]) -> None:
    """Pictures of `frame` as .png, and their boxes."""
    folder.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, objects in enumerate(pictures):
        name = f"{number}.png"
        assert cv2.imwrite(str(folder / name), frame(*objects)[:, :, ::-1])
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        for place, k in objects:
            x, y = PLACES[place]
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": k + 1, "bbox": [x, y, CELL, CELL]}
            )
    categories = [{"id": k + 1, "name": label} for k, label in enumerate(LABELS)]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(data))


def _from_picture(made: Crafted, real: int, values: NDArray[np.float32]) -> int:
    """Constants as something that a graph calculates."""
    reduce, many = schema.ReducerOptionsT(), schema.MulOptionsT()
    mean = made.step(OPS.MEAN, [real, made.constant([0, 1, 2, 3])], [made.tensor((), FLOAT32)], reduce)
    zero = made.step(OPS.MUL, [mean, made.constant(np.float32(0), FLOAT32)], [made.tensor((), FLOAT32)], many)
    shape = (1, *values.shape)
    return made.step(
        OPS.ADD, [made.constant(values[None], FLOAT32), zero], [made.tensor(shape, FLOAT32)], schema.AddOptionsT()
    )


def _postprocessed(made: Crafted, boxes: int, scores: int, corners: NDArray[np.float32]) -> list[int]:
    options = flexbuffers.Builder()
    with options.Map():
        for key, number in {"max_detections": 10, "max_classes_per_detection": 1, "num_classes": 2}.items():
            options.Int(key, number)
        for key, value in {"y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}.items():
            options.Float(key, value)
        options.Float("nms_score_threshold", 0.01)
        options.Float("nms_iou_threshold", 0.5)
        options.Bool("use_regular_nms", False)
    sides = corners[:, 2:] - corners[:, :2]
    middles = corners[:, :2] + sides / 2
    anchors = made.constant(np.concatenate([middles[:, ::-1], sides[:, ::-1]], axis=1), FLOAT32)
    outputs = [made.tensor(shape, FLOAT32) for shape in ((1, 10, 4), (1, 10), (1, 10), (1,))]
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = OPS.CUSTOM
    code.customCode, code.version = b"TFLite_Detection_PostProcess", 1
    made.model.operatorCodes.append(code)
    operator.opcodeIndex = len(made.model.operatorCodes) - 1
    operator.inputs, operator.outputs = [boxes, scores, anchors], outputs
    operator.customOptions = list(options.Finish())
    made.graph.operators.append(operator)
    return outputs


def _with_contract(data: bytes, head: str, guard: dict[str, Any] | None) -> bytes:
    detection = {"boxes": "xyxy" if head == "raw" else "yxyx", "head": head}
    contract = {
        "schema": 1, "task": "detect", "labels": list(LABELS), "outputs": "probabilities", "detection": detection,
        "input": {"width": SIDE, "height": SIDE, "dtype": "uint8"},
        "preprocess": {"crop": "none", "crop_fraction": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]},
        **({} if guard is None else {"guard": guard}),
    }  # fmt: skip
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(json.dumps(contract).encode(), np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = b"edgeguard.json", len(model.buffers) - 1
    model.metadata = [entry]
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
