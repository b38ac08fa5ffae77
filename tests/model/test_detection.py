"""Boxes from raw outputs, worked out by hand."""

from typing import Any, Literal

import numpy as np
import pytest

from edgeguard.dct.boxes import Box
from edgeguard.errors import InputError
from edgeguard.model.contract import BoxForm, Contract, Detection, InputSpec, Preprocess
from edgeguard.model.detection import box_and_score_outputs, detect
from edgeguard.preprocess.geometry import Placement, place

LABELS = ("cat", "dog")
Units = Literal["relative", "pixels"]


def _contract(form: BoxForm = "xyxy", units: Units = "relative", **changes: Any) -> Contract:
    fields: dict[str, Any] = {
        "outputs": "probabilities",
        "labels": LABELS,
        "preprocess": Preprocess(crop="none"),
        **changes,
    }
    return Contract(InputSpec(100, 50), task="detect", detection=Detection(form, units), **{**fields, **changes})


def _whole(contract: Contract) -> Placement:
    return place(200, 100, contract.input, contract.preprocess)


@pytest.mark.parametrize(
    ("form", "units", "box"),
    [
        ("xyxy", "relative", (0.1, 0.2, 0.5, 0.8)),
        ("yxyx", "relative", (0.2, 0.1, 0.8, 0.5)),
        ("cxcywh", "relative", (0.3, 0.5, 0.4, 0.6)),
        ("xyxy", "pixels", (10, 10, 50, 40)),
        ("yxyx", "pixels", (10, 10, 40, 50)),
        ("cxcywh", "pixels", (30, 25, 40, 30)),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_every_form_gives_the_same_box(form: BoxForm, units: Units, box: tuple[float, ...], transposed: bool) -> None:
    boxes = np.array([box, (0.0,) * 4, (0.0,) * 4], np.float32)
    scores = np.array([[0.1, 0.9], [0.0, 0.0], [0.0, 0.0]], np.float32)
    outputs = [boxes.T, scores.T] if transposed else [boxes, scores]
    contract = _contract(form, units)
    prediction = detect(outputs, contract, _whole(contract))
    assert prediction.boxes is not None and len(prediction.boxes) == 1
    found = prediction.boxes[0]
    assert (found.label, found.index) == ("dog", 1) and found.score == pytest.approx(0.9)
    assert (found.x1, found.y1, found.x2, found.y2) == pytest.approx((20, 20, 100, 80), abs=0.02)  # of a 200x100 frame
    assert prediction.label == "dog" and prediction.best is not None


def test_overlapping_boxes_of_one_class_leave_the_best() -> None:
    boxes = np.array(
        [[0.1, 0.1, 0.5, 0.5], [0.12, 0.1, 0.52, 0.5], [0.6, 0.6, 0.9, 0.9], [0.1, 0.1, 0.5, 0.5]], np.float32
    )
    scores = np.array([[0.8, 0.0], [0.9, 0.0], [0.5, 0.0], [0.0, 0.7]], np.float32)
    contract = _contract()
    found = detect([boxes, scores], contract, _whole(contract)).boxes
    assert found is not None
    assert [(b.label, round(b.score, 2)) for b in found] == [("cat", 0.9), ("dog", 0.7), ("cat", 0.5)]


def test_nothing_seen() -> None:
    contract = _contract()
    prediction = detect([np.zeros((5, 4), np.float32), np.zeros((5, 2), np.float32)], contract, _whole(contract))
    assert prediction.boxes == () and prediction.top == () and prediction.index is None
    assert (prediction.label, prediction.score) == ("nothing", 0.0)


def test_a_background_class_is_no_object() -> None:
    contract = _contract(background=True, labels=("background", "cat"), outputs="logits")
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]], np.float32)
    logits = np.array([[5.0, -5.0], [-5.0, 5.0]], np.float32)
    found = detect([boxes, logits], contract, _whole(contract)).boxes
    assert found is not None and [(b.label, b.index) for b in found] == [("cat", 1)]


def test_letterbox_bars_are_taken_off() -> None:
    contract = _contract("xyxy", "pixels", preprocess=Preprocess(crop="letterbox"))
    placement = place(100, 100, contract.input, contract.preprocess)  # 50x50 in the middle of 100x50
    assert placement.target == Box(25, 0, 50, 50)
    boxes = np.array([[25, 0, 50, 25], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    scores = np.array([[0.9, 0], [0, 0], [0, 0]], np.float32)
    found = detect([boxes, scores], contract, placement).boxes
    assert found is not None and (found[0].x1, found[0].y1, found[0].x2, found[0].y2) == (0, 0, 50, 50)


def test_the_outputs_of_the_postprocess_operator() -> None:
    contract = Contract(
        InputSpec(100, 50),
        Preprocess(crop="none"),
        task="detect",
        detection=Detection(head="postprocess"),
        labels=LABELS,
    )
    boxes = np.array([[0.2, 0.1, 0.8, 0.5], [0, 0, 1, 1], [0, 0, 1, 1]], np.float32)
    outputs = [boxes, np.array([1.0, 0.0, 0.0], np.float32), np.array([0.9, 0.2, 0.9], np.float32), np.array([2.0])]
    found = detect(outputs, contract, _whole(contract)).boxes
    assert found is not None and [(b.label, b.x1, b.y1, b.x2, b.y2) for b in found] == [("dog", 20, 20, 100, 80)]


def test_which_output_is_which() -> None:
    assert box_and_score_outputs([(10, 4), (10, 3)]) == (0, 1)
    assert box_and_score_outputs([(3, 10), (4, 10)]) == (1, 0)
    assert box_and_score_outputs([(10, 5), (10, 3)]) is None
    assert box_and_score_outputs([(10, 4)]) is None
    with pytest.raises(InputError, match="not boxes and scores"):
        detect([np.zeros((3, 5), np.float32), np.zeros((3, 2), np.float32)], _contract(), _whole(_contract()))


def test_the_contract_of_a_detector_survives_json() -> None:
    contract = _contract("cxcywh", "pixels")
    assert Contract.from_json(contract.to_json()) == contract
    text = contract.to_json().decode().replace('"cxcywh"', '"xywh"').encode()
    with pytest.raises(InputError, match=r"detection\.boxes"):
        Contract.from_json(text)
    assert b"detection" not in Contract(InputSpec(8, 8)).to_json()
