"""Foreign .tflite files without a contract, through the real runtime: what each is, and what it says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")

from model.crafted import OPS
from model.made_models import Out, anchors, made_model

from edgeguard.errors import InputError
from edgeguard.model import Model, load_model
from edgeguard.model.derive import Hints
from edgeguard.model.interpreter import NoAnswer

FRAME = np.full((100, 200, 3), 90, np.uint8)
BOXES = [[0.2, 0.1, 0.8, 0.5], [0.5, 0.5, 0.7, 0.9]]  # y1, x1, y2, x2
TF1, TF2 = ("boxes", "classes", "scores", "count"), ("scores", "boxes", "count", "classes")


def _load(data: bytes, path: Path, **hints: Any) -> Model:
    path.write_bytes(data)
    return load_model(path, "cpu", 1, isolate="never", hints=Hints(**hints))


def _lists(n: int = 10) -> dict[str, Out]:
    boxes = np.zeros((1, n, 4), np.float32)
    boxes[0, :2] = BOXES
    classes, scores = np.zeros((1, n), np.float32), np.zeros((1, n), np.float32)
    classes[0, :2], scores[0, :2] = (0, 17), (0.9, 0.6)
    return {"boxes": Out(boxes), "classes": Out(classes), "scores": Out(scores), "count": Out([float(n)])}


def _check_two_boxes(model: Model) -> None:
    found = model(FRAME).boxes
    assert found is not None
    assert [(box.index, round(box.score, 2)) for box in found] == [(0, 0.9), (17, 0.6)]
    first = found[0]
    assert (first.x1, first.y1, first.x2, first.y2) == pytest.approx((20, 20, 100, 80), abs=1.5)


@pytest.mark.parametrize("order", [TF1, TF2, ("count", "scores", "classes", "boxes")], ids=["TF1", "TF2", "lite"])
@pytest.mark.parametrize("n", [10, 20])
def test_each_exporter_has_an_order_of_its_own(order: tuple[str, ...], n: int, tmp_path: Path) -> None:
    """With 20 boxes the wrong order gave class 0's label to others and a score of 20, with 10 an exit of 70."""
    lists = _lists(n)
    _check_two_boxes(_load(made_model([lists[role] for role in order]), tmp_path / "m.tflite"))


@pytest.mark.parametrize(
    "names",
    [
        {"detection_boxes": 1, "detection_scores": 3, "detection_classes": 0, "num_detections": 2},
        {"location": 1, "score": 3, "category": 0, "number of detections": 2},
    ],
)
def test_names_of_the_signature_go_before_values(names: dict[str, int], tmp_path: Path) -> None:
    """Classes 0 and 1 with scores 1 and 0: the values alone fit both ways."""
    boxes = Out(np.array([[*BOXES, [0, 0, 1, 1]]]))
    classes, scores, count = Out([[0.0, 1.0, 1.0]]), Out([[1.0, 1.0, 0.0]]), Out([3.0])
    data = made_model([classes, boxes, count, scores], signature=names)
    found = _load(data, tmp_path / "m.tflite")(FRAME).boxes
    assert found is not None and [box.index for box in found] == [0, 1]


def test_three_outputs_and_labels_with_a_name_for_the_background(tmp_path: Path) -> None:
    lists = _lists()
    model = _load(
        made_model([lists[role] for role in ("scores", "classes", "boxes")]),
        tmp_path / "m.tflite",
        labels=("???", *(f"name {i}" for i in range(90))),
    )
    _check_two_boxes(model)
    assert model(FRAME).label == "name 0"


@pytest.mark.parametrize("order", [TF1, TF2])
def test_eight_bit_outputs(order: tuple[str, ...], tmp_path: Path) -> None:
    """Class numbers of 8 bits lie beside whole ones: 17 is stored as 17.15 with a step of .35."""
    lists = _lists()
    steps = {"boxes": 1 / 255, "scores": 1 / 255, "classes": 0.35, "count": 0.5}
    stored = [Out(lists[role].values, scale=steps[role], zero=-128) for role in order]
    model = _load(made_model(stored), tmp_path / "m.tflite")
    _check_two_boxes(model)
    assert model.classes == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"scores": Out([[1.5] * 10])}, "no order gives scores in 0..1"),
        ({"classes": Out([[0.5] * 10]), "scores": Out([[0.3] * 10])}, "no order gives"),
        ({"classes": Out([[3.0] * 10], scale=2.0)}, "too coarse"),
    ],
)
def test_what_is_no_score_is_refused_at_load(change: dict[str, Out], why: str, tmp_path: Path) -> None:
    lists = _lists() | change
    with pytest.raises(InputError, match=why):
        _load(made_model([lists[role] for role in TF1]), tmp_path / "m.tflite")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"scores": Out([[0.3] * 10], per_level=0.004)}, "a score is 1.32"),
        ({"boxes": Out([[[0.2, 0.5, 0.8, 0.1]] * 10])}, "ends before it begins"),
    ],
)
def test_a_frame_with_an_impossible_answer_gives_no_result(change: dict[str, Out], why: str, tmp_path: Path) -> None:
    lists = _lists() | change
    data = made_model([lists[role] for role in TF1], signature={name: i for i, name in enumerate(TF1)})
    model = _load(data, tmp_path / "m.tflite")
    with pytest.raises(NoAnswer, match=why):
        model(np.full((40, 40, 3), 255, np.uint8))


def _yolo(version: int, classes: int, width: int = 64, height: int = 64, **changes: Any) -> NDArray[np.float32]:
    """(anchors, columns): one object of class 2 on the first cell that holds the middle, a second box upon it."""
    per_cell = 3 if version <= 7 else 1
    boxes = anchors(width, height, per_cell)
    scores = np.full((len(boxes), classes), 0.01, np.float32)
    objectness = np.full((len(boxes), 1), 0.02, np.float32)
    at = changes.get("at", (10, 11))
    for number, anchor in enumerate(at):
        boxes[anchor] = (0.5, 0.5, 0.25, 0.5)
        scores[anchor, 2], objectness[anchor] = 0.9 - 0.1 * number, 0.8
    if changes.get("pixels"):
        boxes = boxes * np.array([width, height] * 2, np.float32)
    has_objectness = version <= 7 or changes.get("objectness", False)
    return np.concatenate([boxes, objectness, scores] if has_objectness else [boxes, scores], axis=1)


@pytest.mark.parametrize("version", [3, 5, 7, 8, 11])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("step", [None, 1 / 128])
def test_raw_yolo_heads(version: int, flipped: bool, pixels: bool, step: float | None, tmp_path: Path) -> None:
    """80 classes; columns first or last; relative or in pixels; float and int8."""
    if step is not None and pixels:
        pytest.skip("one int8 step for pixels and scores leaves no scores: the next test")
    table = _yolo(version, 80, 96, 64, pixels=pixels)
    data = made_model([Out((table.T if flipped else table)[None], scale=step, zero=-128)], (64, 96), float_input=True)
    model = _load(data, tmp_path / "m.tflite")
    detection = model.contract.detection
    assert detection is not None and detection.objectness == (version <= 7) and model.classes == 80
    assert model.contract.preprocess.std == (255.0,) * 3
    prediction = model(FRAME)
    assert prediction.boxes is not None and len(prediction.boxes) == 1
    box = prediction.boxes[0]
    assert box.index == 2 and box.score == pytest.approx(0.72 if version <= 7 else 0.9, abs=0.02)
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((75, 25, 125, 75), abs=2)


def test_one_step_for_pixels_and_scores_is_refused(tmp_path: Path) -> None:
    table = _yolo(8, 3, pixels=True)
    with pytest.raises(InputError, match=r"one step of 0\.5: all scores are 0 or 0\.5"):
        _load(made_model([Out(table.T[None], scale=0.5, zero=-128)], (64, 64)), tmp_path / "m.tflite")


def test_yolox_without_its_decoding(tmp_path: Path) -> None:
    """Offsets in cells and logarithms of sides; an objectness though there is one box a cell."""
    width, height = 96, 64
    table = np.zeros((len(anchors(width, height)), 85), np.float32)
    table[:, 2:4] = -0.5
    table[:, 4:] = 0.01
    cell = 3 * 12 + 5  # row 3, column 5 of cells of 8 pixels
    table[cell, :5], table[cell, 5 + 2] = (0.5, 1.0, np.log(3), np.log(2), 0.8), 0.9
    model = _load(made_model([Out(table[None])], (height, width), float_input=True), tmp_path / "m.tflite")
    assert model.contract.detection is not None and model.contract.detection.units == "cells"
    (box,) = model(np.zeros((height, width, 3), np.uint8)).boxes or ()
    assert box.index == 2 and box.score == pytest.approx(0.72)
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((44 - 12, 32 - 8, 44 + 12, 32 + 8), abs=0.1)


def test_labels_tell_objectness_from_a_class(tmp_path: Path) -> None:
    table = _yolo(8, 3, objectness=True)  # one box a cell, columns last: 4 classes, or 3 and an objectness
    data = made_model([Out(table[None])], (64, 64))
    with pytest.raises(InputError, match="give --labels with 4 or 3 names"):
        _load(data, tmp_path / "m.tflite")
    model = _load(data, tmp_path / "m.tflite", labels=("a", "b", "c"))
    assert model(FRAME).label == "c" and model(FRAME).score == pytest.approx(0.72)
    with pytest.raises(InputError, match="7 labels for boxes with 4 scores, or 3 and an objectness"):
        _load(data, tmp_path / "m.tflite", labels=("x",) * 7)
    packed = made_model(
        [Out(table[None])], (64, 64), files={"metadata.json": '{"names": {"0": "a", "1": "b", "2": "c"}}'}
    )
    assert _load(packed, tmp_path / "m.tflite")(FRAME).label == "c"
    older = made_model(
        [Out(table[None])], (64, 64), files={"temp_meta.txt": "{'stride': 32, 'names': {0: 'a', 1: \"b\", 2: 'c'}}"}
    )
    assert _load(older, tmp_path / "m.tflite")(FRAME).label == "c"


def test_end_to_end_rows(tmp_path: Path) -> None:
    rows = np.zeros((1, 50, 6), np.float32)
    rows[0, :2] = [[10, 20, 30, 60, 0.4, 1], [8, 16, 40, 48, 0.9, 3]]
    (best, other) = _load(made_model([Out(rows)], (64, 80)), tmp_path / "m.tflite")(FRAME).boxes or ()
    assert (best.index, other.index) == (3, 1)
    assert (best.x1, best.y1, best.x2, best.y2) == pytest.approx((20, 25, 100, 75), abs=0.1)
    rows[0, :, 5] = 0.4
    with pytest.raises(InputError, match=r"finished boxes .* a class is 0\.4"):
        _load(made_model([Out(rows)], (64, 80)), tmp_path / "m.tflite")


def _pose() -> NDArray[np.float32]:
    table = _yolo(8, 1, at=())
    points = np.repeat(np.concatenate([table[:, :2], np.full((len(table), 1), 0.5)], axis=1), 17, axis=0)
    return np.concatenate([table, points.reshape(len(table), 51)], axis=1)


def _oriented(low: float = -0.7, high: float = 2.3) -> NDArray[np.float32]:
    table = _yolo(8, 15)
    return np.concatenate([table, np.linspace(low, high, len(table), dtype=np.float32)[:, None]], axis=1)


VECTOR = np.zeros((1, 128), np.float32)
VECTOR[0, :2] = 0.6, -0.8


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ([Out(_pose().T[None])], "YOLO pose model"),
        ([Out(_oriented().T[None])], "oriented boxes"),
        ([Out(_oriented(0.3, 0.9).T[None])], "oriented boxes"),
        ([Out(_yolo(8, 3).T[None]), Out(np.zeros((1, 16, 16, 32)))], "YOLO segmentation"),
        ([Out(np.zeros((1, s, s, 255))) for s in (8, 4, 2)], "without its decoding"),
        ([Out(VECTOR)], "an embedding"),
        ([Out(np.ones((1, 256)), code=OPS.RELU)], "a feature vector"),
        ([Out(np.ones((1, 32, 32, 1)))], "as of depth"),
        ([Out(np.ones((1, 32, 32)))], "as of depth"),
        ([Out(np.ones((1, 32, 32, 3)))], "a picture"),
        ([Out(np.ones((1, 8, 8, 17)))], "heatmaps of keypoints"),
        ([Out([[3.5]])], "a regression"),
        ([Out([[[[117.0, 111.0, 161.0, 229.0]]]])], r"coordinates or another regression \(numbers up to 229\)"),
        ([Out(np.zeros((1, 896, 16))), Out(np.zeros((1, 896, 1)))], "boxes with points, not decoded"),
        ([Out(np.zeros((1, 2254, 1))), Out(np.zeros((1, 2254, 12)))], "boxes with points, not decoded"),
        ([Out([[0.1, 0.2]]), Out([[0.1, 0.2, 0.3]])], r"2 heads \(2, 3 numbers\)"),
        ([Out(np.zeros((1, 6, 56)))], "several poses"),
        ([Out(np.zeros((1, 9, 4)))], "boxes without scores"),
        ([Out(np.zeros((1, 9, 4))), Out(np.full((1, 9, 3), -4.0))], "SSD without its post-processing"),
        ([Out(np.zeros((1, 9, 4))), Out(np.full((1, 9, 3), 0.4))], "--boxes yxyx"),
    ],
)
def test_what_is_no_task_is_refused_by_its_looks(outputs: list[Out], why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        _load(made_model(outputs, (64, 64)), tmp_path / "m.tflite")


def test_a_batch_of_eight_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fixes a batch of 8 pictures"):
        _load(made_model([Out(np.zeros((8, 5)))], input_shape=(8, 32, 32, 3)), tmp_path / "m.tflite")


def test_class_maps(tmp_path: Path) -> None:
    """Left third class 2, the rest class 0, of a frame that is letterboxed into a square."""
    scores = np.zeros((1, 12, 12, 4), np.float32)
    scores[0, :, :4, 2], scores[0, :, 4:, 0] = 1.0, 1.0
    model = _load(made_model([Out(scores)], (48, 48)), tmp_path / "m.tflite", crop="letterbox")
    said = model(FRAME)
    assert model.contract.task == "segment" and said.shares is not None and said.class_map is not None
    assert [(share.index, round(share.score, 3)) for share in said.shares] == [(0, 0.667), (2, 0.333)]
    assert said.class_map.classes.shape == (6, 12)  # the bars are left out
    assert (said.class_map.x1, said.class_map.y1, said.class_map.x2, said.class_map.y2) == (0, 0, 200, 100)
    numbers = Out(scores[0].argmax(axis=2)[None], integer=True)
    assert _load(made_model([numbers], (48, 48)), tmp_path / "n.tflite")(FRAME).shares == said.shares
    planar = made_model([Out(np.moveaxis(scores, 3, 1))], (48, 48))
    assert _load(planar, tmp_path / "p.tflite")(FRAME).shares == said.shares


def test_one_map_of_a_sigmoid_is_a_mask(tmp_path: Path) -> None:
    values = np.full((1, 16, 16, 1), -3.0)
    values[0, :4] = 3.0
    model = _load(made_model([Out(values, code=OPS.LOGISTIC)], (32, 32)), tmp_path / "m.tflite", labels=("no", "yes"))
    assert [(s.label, s.score) for s in model(FRAME).shares or ()] == [("no", 0.75), ("yes", 0.25)]


def test_one_label_names_what_is_seen(tmp_path: Path) -> None:
    """MediaPipe's masks of persons carry one label for their one map; so do sigmoids of one class."""
    values = np.full((1, 16, 16, 1), -3.0)
    values[0, :4] = 3.0
    mask = made_model([Out(values, code=OPS.LOGISTIC)], (32, 32), files={"labels.txt": "selfie\n"})
    model = _load(mask, tmp_path / "m.tflite")
    assert [(s.label, s.score) for s in model(FRAME).shares or ()] == [("background", 0.75), ("selfie", 0.25)]
    one = made_model([Out([[1.0]], code=OPS.LOGISTIC)], (32, 32))
    said = _load(one, tmp_path / "c.tflite", labels=("cat",))(FRAME)
    assert [(s.label, s.index, round(s.score, 2)) for s in said.top] == [("cat", 1, 0.73), ("not cat", 0, 0.27)]


def test_large_numbers_are_classes_where_labels_say_so(tmp_path: Path) -> None:
    data = made_model([Out([[117.0, 229.0]])], (32, 32))
    assert _load(data, tmp_path / "m.tflite", labels=("a", "b"))(FRAME).label == "b"


def test_movenet_and_posenet(tmp_path: Path) -> None:
    rows = np.zeros((1, 1, 17, 3), np.float32)
    rows[0, 0, :] = (0.1, 0.1, 0.05)
    rows[0, 0, 9] = (0.5, 0.25, 0.9)  # y, x, score of the left wrist
    model = _load(made_model([Out(rows)], (48, 48)), tmp_path / "m.tflite")
    said = model(FRAME)
    assert said.keypoints is not None and said.label == "pose" and len(said.keypoints) == 17
    wrist = said.keypoints[9]
    assert (wrist.name, wrist.x, wrist.y) == ("left wrist", 50, 50) and wrist.score == pytest.approx(0.9)
    maps, offsets = np.full((1, 5, 5, 17), -6.0), np.zeros((1, 5, 5, 34))
    maps[0, 2, 1, 9], offsets[0, 2, 1, 9 + 17] = 4.0, 4.8  # x moves by a tenth of the input
    model = _load(made_model([Out(maps), Out(offsets)], (48, 48)), tmp_path / "p.tflite")
    wrist = (model(FRAME).keypoints or ())[9]
    assert (wrist.x, wrist.y) == pytest.approx((200 * (0.25 + 0.1), 50), abs=0.1)
    assert wrist.score == pytest.approx(0.982, abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 28, 20, 1), (1, 1, 28, 20)])
def test_gray_classifiers(shape: tuple[int, ...], tmp_path: Path) -> None:
    """The score rises with the mean level: the picture reaches the graph, in luma."""
    data = made_model([Out([[0.5, 0.0]], per_level=0.0), Out([[0.0]])][:1], input_shape=shape)
    model = _load(data, tmp_path / "m.tflite")
    assert model.contract.input.color == "GRAY" and (model.contract.input.width, model.contract.input.height) == (
        20,
        28,
    )
    tensor = model.input_path(model.input_path.arrive(np.full((56, 40, 3), (200, 100, 50), np.uint8))).tensor
    assert tensor.shape == (1, 28, 20, 1) and set(np.unique(tensor)) == {124}
    assert model(np.zeros((50, 50, 3), np.uint8)).index == 0


def test_one_sigmoid_output_is_two_classes(tmp_path: Path) -> None:
    data = made_model([Out([[-3.0]], per_level=0.02, code=OPS.LOGISTIC)])
    model = _load(data, tmp_path / "m.tflite", labels=("ok", "broken"))
    assert model.classes == 2 and model(np.zeros((32, 32, 3), np.uint8)).label == "ok"
    bright = model(np.full((32, 32, 3), 250, np.uint8))
    assert bright.label == "broken" and bright.score == pytest.approx(1 / (1 + np.exp(-2.0)), abs=0.01)
    logit = made_model([Out([[-3.0]], per_level=0.02)])
    model = _load(logit, tmp_path / "l.tflite", labels=("ok", "broken"))
    assert model(np.full((32, 32, 3), 250, np.uint8)).score == pytest.approx(bright.score, abs=0.01)


@pytest.mark.parametrize("crop", [None, "none", "letterbox", "center"])
def test_a_box_lies_on_what_the_graph_saw(crop: Any, tmp_path: Path) -> None:
    """An object drawn on the frame at the box that comes back is at the graph's own box in the graph's picture."""
    lists = _lists() | {"scores": Out([[0.9, *[0.0] * 9]])}
    model = _load(made_model([lists[role] for role in TF2], (100, 100)), tmp_path / "m.tflite", crop=crop)
    assert model.contract.preprocess.crop == (crop or "none")
    frame = np.zeros((400, 900, 3), np.uint8)
    (box,) = model(frame).boxes or ()
    frame[round(box.y1) : round(box.y2), round(box.x1) : round(box.x2)] = 255
    seen = model.input_path(model.input_path.arrive(frame)).tensor[0, :, :, 0]
    top, left, bottom, right = (round(100 * side) for side in BOXES[0])
    if crop == "letterbox":  # bars above and below: what of the box lies there is cut off
        top, bottom = max(top, 28), min(bottom, 72)
    assert seen[top + 2 : bottom - 2, left + 2 : right - 2].min() == 255
    outside = seen.copy()
    outside[top - 2 : bottom + 2, left - 2 : right + 2] = 0
    assert outside.max() <= 114  # the bars' gray


def test_what_was_guessed_is_said(tmp_path: Path) -> None:
    model = _load(made_model([Out(_yolo(5, 3)[None])], (64, 64), float_input=True), tmp_path / "m.tflite")
    said = " | ".join(model.guesses)
    assert "score = objectness x class" in said and "0..1" in said and "the whole frame, stretched" in said
    plain = _load(made_model([Out([[1.0, 2.0]])]), tmp_path / "c.tflite")
    assert "taken as scores of 2 classes" in " | ".join(plain.guesses)
    assert plain.contract.preprocess.crop == "center" and plain.contract.preprocess.crop_fraction == 0.875
