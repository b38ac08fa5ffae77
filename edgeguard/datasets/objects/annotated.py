"""Pictures and the boxes of their objects, from a COCO-style or a YOLO-style folder, in the classes of a model."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeguard.datasets.images import LabeledImage, list_images
from edgeguard.datasets.objects.names import class_numbers, yolo_names
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError
from edgeguard.system.foreign import LARGEST_LIST, LARGEST_PICTURE, foreign_json, parsing, read_bounded, read_regular

Corners = tuple[float, float, float, float]

_SMALLEST = 8.0
_LARGEST_JSON = 1 << 30
_SLACK = 1.0  # pixels that a box may reach over the edge: annotators round
_NAMED, _LONG = 3, 40
_MOST_CLASSES = 65536  # of a model without labels, as in a label file


@dataclass(frozen=True)
class TrueBox:
    """An object: its class as the model's labels count it, and its corners in the picture's pixels.

    `is_counted` is false for what is left out of every figure: crowds, and objects that are too small to be told.
    """

    index: int
    corners: Corners
    is_counted: bool = True


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """A picture and its objects."""

    image: LabeledImage
    boxes: tuple[TrueBox, ...]


@dataclass(frozen=True, eq=False)
class AnnotatedFolder:
    """Pictures with objects, and in words how they were read and what was left out."""

    images: list[AnnotatedImage]
    lines: tuple[str, ...]


@dataclass(eq=False)
class _Left:
    """What is left out, to be said once."""

    unknown: Counter[str] = field(default_factory=Counter)
    small: int = 0
    crowds: int = 0

    def lines(self, labels: Sequence[str]) -> list[str]:
        said = []
        if self.unknown:
            named = ", ".join(f"{name[:_LONG]} ({n})" for name, n in self.unknown.most_common(_NAMED))
            more = f" and {len(self.unknown) - _NAMED} classes more" if len(self.unknown) > _NAMED else ""
            said.append(
                f"left out: {sum(self.unknown.values())} objects of classes that the model lacks: {named}{more}"
            )
        if self.small:
            said.append(f"not counted: {self.small} objects under {_SMALLEST:g} pixels of height or width")
        if self.crowds:
            said.append(f"not counted: {self.crowds} crowds (iscrowd)")
        return said


@dataclass(frozen=True)
class _Model:
    """What the model says of its classes: labels, and the numbers that are classes."""

    labels: Sequence[str]
    own: range


@dataclass(frozen=True, eq=False)
class _Known:
    """The annotations' classes: their names, and their numbers in the model (None: they are the model's).

    `own` are the numbers that the model has.
    """

    names: dict[int, str]
    numbers: dict[int, int] | None
    own: range
    left: _Left

    def box(self, category: int, corners: Corners, size: tuple[float, float], where: str) -> TrueBox | None:
        """An object, cut at the picture's edge; None for a class that the model lacks."""
        x1, y1, x2, y2 = corners
        if not all(map(math.isfinite, corners)) or x2 <= x1 or y2 <= y1:
            raise InputError(f"{where}: a box of {x2 - x1:g} x {y2 - y1:g} pixels")
        if x1 < -_SLACK or y1 < -_SLACK or x2 > size[0] + _SLACK or y2 > size[1] + _SLACK:
            raise InputError(
                f"{where}: a box from ({x1:.0f}, {y1:.0f}) to ({x2:.0f}, {y2:.0f}) reaches out of a picture of "
                f"{size[0]:.0f}x{size[1]:.0f} pixels"
            )
        index = self._own(category, where) if self.numbers is None else self.numbers.get(category)
        if index is None or index not in self.own:
            self.left.unknown[self.names.get(category, f"class {category}")] += 1
            return None
        cut = (max(x1, 0.0), max(y1, 0.0), min(x2, size[0]), min(y2, size[1]))
        is_small = min(cut[2] - cut[0], cut[3] - cut[1]) < _SMALLEST
        self.left.small += is_small
        return TrueBox(index, cut, not is_small)

    def _own(self, category: int, where: str) -> int:
        """A number that counts as the model does."""
        if category not in self.own:
            raise InputError(
                f"{where}: there is no class {str(category)[:_LONG]}: the model's are {self.own.start} to "
                f"{self.own.stop - 1} (one side has no names, so the numbers count)"
            )
        return category


def annotated_folder(folder: Path, labels: Sequence[str], own: range | None = None) -> AnnotatedFolder:
    """Pictures and boxes of a folder.

    COCO-style: one .json with `images`, `annotations` and `categories`, in the folder or in `annotations/`; the
    pictures anywhere below the folder. YOLO-style: a .txt beside each picture, or in `labels/` for one in `images/`,
    with rows of class, middle and sides in parts of the picture; the names stand in a data.yaml or classes.txt.

    Classes go by their names. Without names on one side the numbers count, which is said.

    Args:
        folder: see above.
        labels: of the model.
        own: numbers of the model's classes, a background's left out; None: all of the labels'.

    Raises:
        InputError: no annotation, both kinds, a damaged file, a number that is no class of the model's, a box outside
            of its picture, or no object of a class that the model knows. The message names file and line or entry.
    """
    pictures = list_images(folder)
    tables = (*sorted(folder.glob("*.json")), *sorted(folder.glob("annotations/*.json")))
    coco = [(p, data) for p in tables if (data := _coco(p)) is not None]
    texts = {p: text for p in pictures if (text := _text_of(p)).is_file()}
    if coco and texts:
        raise InputError(
            f"{folder} holds two kinds of annotations: {coco[0][0].relative_to(folder)} (COCO) and "
            f"{next(iter(texts.values())).name} (YOLO): leave one of them there"
        )
    if len(coco) > 1:
        names = ", ".join(str(p.relative_to(folder)) for p, _ in coco[:_NAMED])
        raise InputError(f"{folder} holds {len(coco)} files of COCO annotations ({names}): leave one of them there")
    left, model = _Left(), _Model(labels, range(len(labels) or _MOST_CLASSES) if own is None else own)
    if coco:
        name = str(coco[0][0].relative_to(folder))
        with parsing(name):
            images, how = _from_coco(folder, name, coco[0][1], pictures, model, left)
    elif texts:
        images, how = _from_texts(folder, texts, pictures, model, left)
    else:
        raise InputError(
            f"{folder} holds no boxes: wanted is a COCO .json (images, annotations, categories) in it or in "
            "annotations/, or a YOLO .txt beside each picture or in labels/"
        )
    counted = sum(box.is_counted for one in images for box in one.boxes)
    lines = (how, f"{len(images)} pictures with {counted} objects", *left.lines(labels))
    if not counted:
        raise InputError(f"{folder}: no object of a class that the model has ({'; '.join(lines)})")
    return AnnotatedFolder(images, lines)


def _coco(path: Path) -> dict[str, Any] | None:
    """The plain data of a COCO file; None for a .json of another kind."""
    with parsing(str(path)):
        data = foreign_json(read_regular(path, _LARGEST_JSON, "the annotations"), most_bytes=LARGEST_LIST)
    if not isinstance(data, dict) or not {"images", "annotations"} <= data.keys():
        return None
    return data


def _from_coco(
    folder: Path,
    name: str,
    data: dict[str, Any],
    pictures: list[Path],
    model: _Model,
    left: _Left,
) -> tuple[list[AnnotatedImage], str]:
    categories = {int(c["id"]): str(c["name"]) for c in data.get("categories", ())}
    numbers, how = class_numbers(categories, model.labels, name)
    known = _Known(categories, numbers, model.own, left)
    there, by_name = set(pictures), dict[str, list[Path]]()
    for picture in pictures:
        by_name.setdefault(picture.name, []).append(picture)
    boxes: dict[int, list[TrueBox]] = {int(one["id"]): [] for one in data["images"]}
    sizes = {int(one["id"]): (float(one["width"]), float(one["height"])) for one in data["images"]}
    for place, entry in enumerate(data["annotations"]):
        where = f"{name}: annotation {entry.get('id', place)}"
        image, category = int(entry["image_id"]), int(entry["category_id"])
        if image not in boxes:
            raise InputError(f"{where} is of image {image}, which the file does not list")
        x, y, w, h = (float(v) for v in entry["bbox"])
        made = known.box(category, (x, y, x + w, y + h), sizes[image], where)
        if made is not None and int(entry.get("iscrowd", 0)):
            left.crowds += 1
            made = TrueBox(made.index, made.corners, False)
        boxes[image] += [] if made is None else [made]
    images, missing = [], []
    for one in data["images"]:
        wanted = str(one["file_name"])
        found = folder / wanted
        same = by_name.get(Path(wanted).name, [])
        chosen = found if found in there else same[0] if len(same) == 1 else None
        if chosen is None:
            missing.append(wanted)
            continue
        images.append(
            AnnotatedImage(LabeledImage(str(chosen.relative_to(folder)), chosen), tuple(boxes[int(one["id"])]))
        )
    if missing and len(missing) > 0.01 * len(data["images"]):
        raise InputError(f"{name} lists {len(missing)} pictures that are not there, {missing[0]} for one")
    return images, f"boxes from {name} (COCO), {how}"


def _text_of(picture: Path) -> Path:
    """The YOLO .txt of a picture: in `labels/` for one in `images/`, else beside it."""
    parts = list(picture.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            there = Path(*parts[:place], "labels", *parts[place + 1 :]).with_suffix(".txt")
            if there.is_file():
                return there
    return picture.with_suffix(".txt")


def _from_texts(
    folder: Path, texts: dict[Path, Path], pictures: list[Path], model: _Model, left: _Left
) -> tuple[list[AnnotatedImage], str]:
    names, origin = yolo_names(folder)
    numbers, how = class_numbers(names, model.labels, origin or "the .txt files")
    known = _Known(names, numbers, model.own, left)
    images = []
    for picture in pictures:
        shown = str(picture.relative_to(folder))
        boxes = _rows(picture, texts[picture], known) if picture in texts else ()
        images.append(AnnotatedImage(LabeledImage(shown, picture), boxes))
    without = len(pictures) - len(texts)
    said = f" ({without} pictures without a .txt hold nothing)" if without else ""
    return images, f"boxes from .txt files (YOLO), {how}{said}"


def _rows(picture: Path, text: Path, known: _Known) -> tuple[TrueBox, ...]:
    lines = read_regular(text, 16 << 20, "the boxes").decode("utf-8", "replace").splitlines()
    rows = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        return ()
    height, width = decode_whole(read_bounded(picture, LARGEST_PICTURE, "the picture")).shape[:2]
    found = []
    for number, words in rows:
        where = f"{text}:{number}"
        try:
            index, x, y, w, h = int(words[0]), *(float(word) for word in words[1:])
        except ValueError as error:
            what = "a polygon or keypoints" if len(words) > 5 else "no row"
            raise InputError(f"{where}: {what}; wanted is: class x y width height, in parts of the picture") from error
        if max(abs(v) for v in (x, y, w, h)) > 1.5:
            raise InputError(f"{where}: {max(x, y, w, h):g} is no part of the picture (0 to 1): are these pixels?")
        corners = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        made = known.box(index, corners, (width, height), where)
        found += [] if made is None else [made]
    return tuple(found)
