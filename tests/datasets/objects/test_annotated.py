"""Folders of pictures with boxes: both kinds, and every way in which they can be wrong."""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeguard.datasets.objects import annotated_folder
from edgeguard.errors import InputError

LABELS = ("person", "stop sign", "dog")


def _picture(path: Path, width: int = 100, height: int = 80) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def _coco(folder: Path, boxes: list[list[float]], **changed: Any) -> Path:
    _picture(folder / "images" / "a.png")
    entry = {"image_id": 7, "category_id": 13, "iscrowd": 0}
    data = {
        "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 80}],
        "annotations": [{"id": n, **entry, "bbox": box} for n, box in enumerate(boxes)],
        "categories": [{"id": 13, "name": "Stop_Sign"}, {"id": 2, "name": "bicycle"}],
    } | changed
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / "instances.json").write_text(json.dumps(data))
    return folder


def _yolo(folder: Path, rows: str, names: str | None = "names: [stop-sign, cat]\n") -> Path:
    _picture(folder / "images" / "a.png")
    _picture(folder / "images" / "b.png")
    (folder / "labels").mkdir(parents=True)
    (folder / "labels" / "a.txt").write_text(rows)
    if names is not None:
        (folder / "data.yaml").write_text(names)
    return folder


def test_both_kinds_give_the_same_boxes(tmp_path: Path) -> None:
    coco = annotated_folder(_coco(tmp_path / "c", [[10, 20, 30, 40]]), LABELS)
    yolo = annotated_folder(_yolo(tmp_path / "y", "0 0.25 0.5 0.3 0.5\n"), LABELS)
    assert coco.images[0].boxes == yolo.images[0].boxes
    (box,) = coco.images[0].boxes
    assert box.index == 1 and box.corners == pytest.approx((10, 20, 40, 60))
    assert len(yolo.images) == 2 and yolo.images[1].boxes == ()
    assert "1 pictures without a .txt hold nothing" in yolo.lines[0]


@pytest.mark.parametrize("names", ["names:\n  0: stop sign\n  1: cat\n", "names:\n- stop sign # x\n- cat\nnc: 2\n"])
def test_names_of_a_data_yaml(names: str, tmp_path: Path) -> None:
    found = annotated_folder(_yolo(tmp_path, "0 0.5 0.5 0.4 0.4\n1 0.5 0.5 0.4 0.4\n", names), LABELS)
    assert [box.index for box in found.images[0].boxes] == [1]
    assert any("1 objects of classes that the model lacks: cat (1)" in line for line in found.lines)


def test_small_objects_and_crowds_are_not_counted(tmp_path: Path) -> None:
    _coco(tmp_path, [[10, 10, 30, 30], [5, 5, 7, 30]])
    data = json.loads((tmp_path / "annotations" / "instances.json").read_text())
    data["annotations"].append({"id": 9, "image_id": 7, "category_id": 13, "iscrowd": 1, "bbox": [0, 0, 50, 50]})
    (tmp_path / "annotations" / "instances.json").write_text(json.dumps(data))
    found = annotated_folder(tmp_path, LABELS)
    assert [box.is_counted for box in found.images[0].boxes] == [True, False, False]
    assert any("1 objects under 8 pixels" in line for line in found.lines)
    assert any("1 crowds" in line for line in found.lines)


@pytest.mark.parametrize(
    ("boxes", "changed", "why"),
    [
        ([[90, 10, 30, 30]], {}, "annotation 0: a box from .90, 10. to .120, 40. reaches out of a picture of 100x80"),
        ([[10, 10, 0, 30]], {}, "a box of 0 x 30 pixels"),
        ([[10, 10, 5, float("nan")]], {}, "NaN is no finite number"),
        ([[10, 10, 5]], {}, "instances.json is damaged"),
        ([[10, 10, 20, 20]], {"categories": [{"id": 13, "name": "cow"}]}, "no class has a name that the model knows"),
        ([[10, 10, 20, 20]], {"images": []}, "is of image 7, which the file does not list"),
        ([], {}, "no object of a class that the model has"),
        (
            [[10, 10, 20, 20]],
            {"images": [{"id": 7, "file_name": "gone.png", "width": 100, "height": 80}]},
            "lists 1 pictures that are not there, gone.png",
        ),
    ],
)
def test_a_damaged_coco_file(boxes: list[list[float]], changed: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        annotated_folder(_coco(tmp_path, boxes, **changed), LABELS)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("0 0.9 0.5 0.4 0.4\n", "a.txt:1: a box from .70, 24. to .110, 56. reaches out"),
        ("\n0 40 30 20 20\n", "a.txt:2: 40 is no part of the picture .0 to 1.: are these pixels"),
        ("0 0.5 0.5 0.1 0.1 0.2 0.3\n", "a.txt:1: a polygon or keypoints"),
        ("stop 0.5 0.5 0.1 0.1\n", "a.txt:1: no row"),
    ],
)
def test_a_damaged_row(rows: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        annotated_folder(_yolo(tmp_path, rows), LABELS)


def test_no_annotation_and_two_kinds(tmp_path: Path) -> None:
    _picture(tmp_path / "none" / "a.png")
    with pytest.raises(InputError, match="holds no boxes: wanted is a COCO .json"):
        annotated_folder(tmp_path / "none", LABELS)
    both = _coco(tmp_path / "both", [[10, 10, 20, 20]])
    (both / "labels").mkdir()
    (both / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(InputError, match="holds two kinds of annotations"):
        annotated_folder(both, LABELS)


def test_without_names_the_numbers_count(tmp_path: Path) -> None:
    found = annotated_folder(_yolo(tmp_path, "2 0.5 0.5 0.4 0.4\n", None), LABELS)
    assert found.images[0].boxes[0].index == 2 and "classes by number" in found.lines[0]


@pytest.mark.parametrize("number", ["99999", "-3", "3", "1" + "0" * 4000])
def test_a_number_that_is_no_class_of_the_model_is_one_line(number: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=rf"a.txt:1: there is no class {number[:40]}: the model's are 0 to 2"
    ) as refused:
        annotated_folder(_yolo(tmp_path / "y", f"{number} 0.5 0.5 0.4 0.4\n", None), LABELS)
    assert len(str(refused.value)) < 400
    if len(number) < 10:
        entry = {"id": 5, "image_id": 7, "category_id": int(number), "bbox": [10, 10, 30, 30]}
        with pytest.raises(InputError, match=rf"instances.json: annotation 5: there is no class {number}: the model's"):
            annotated_folder(_coco(tmp_path / "c", [], annotations=[entry], categories=[]), LABELS)


def test_a_background_and_a_model_without_labels(tmp_path: Path) -> None:
    folder = _yolo(tmp_path / "y", "0 0.5 0.5 0.4 0.4\n", None)
    with pytest.raises(InputError, match="there is no class 0: the model's are 1 to 2"):
        annotated_folder(folder, LABELS, range(1, 3))
    named = _yolo(tmp_path / "n", "0 0.5 0.5 0.4 0.4\n1 0.5 0.5 0.4 0.4\n", "names: [person, dog]\n")
    found = annotated_folder(named, LABELS, range(1, 3))
    assert [box.index for box in found.images[0].boxes] == [2]
    assert any("lacks: person (1)" in line for line in found.lines)
    (folder / "labels" / "a.txt").write_text("65536 0.5 0.5 0.4 0.4\n")
    with pytest.raises(InputError, match="there is no class 65536"):
        annotated_folder(folder, ())


def test_long_names_are_cut_in_messages(tmp_path: Path) -> None:
    folder = _coco(tmp_path, [[10, 10, 30, 30]], categories=[{"id": 13, "name": "x" * 200_000}])
    with pytest.raises(InputError, match="no class has a name") as refused:
        annotated_folder(folder, LABELS)
    assert len(str(refused.value)) < 400


def test_links_and_pipes_are_no_annotations(tmp_path: Path) -> None:
    for name, what in (("a.json", "link"), ("b.json", "pipe"), ("data.yaml", "link"), ("labels/a.txt", "link"),
                       ("classes.txt", "link")):  # fmt: skip
        folder = tmp_path / name.replace("/", "-")
        path = _yolo(folder, "0 0.5 0.5 0.4 0.4\n", None) / name
        path.unlink(missing_ok=True)
        (tmp_path / "elsewhere.txt").write_text("0 0.5 0.5 0.4 0.4\n")
        if what == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero" if name == "a.json" else tmp_path / "elsewhere.txt")
        with pytest.raises(InputError, match=f"{path.name} is a .*{what}.*; refused"):
            annotated_folder(folder, LABELS)
