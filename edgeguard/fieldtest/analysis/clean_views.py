"""Does a model know the clean objects of a plan at its distances? Asked in the virtual field before anyone prints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edgeguard.fieldtest.analysis.detections import judged_box
from edgeguard.fieldtest.analysis.known_cells import flags_for
from edgeguard.fieldtest.analysis.score import OFF, path_behind
from edgeguard.fieldtest.sheets.sheet import Arm, Picture, Sheet
from edgeguard.fieldtest.sheets.subject import Subject
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand, placed_at, project
from edgeguard.model import Model
from edgeguard.model.input_path import InputPath
from edgeguard.model.prediction import label_of
from edgeguard.scene.outlines import box_around

SHOWS_NOTHING = "THIS PLAN CAN SHOW NOTHING"  # how the note begins of an object that is known nowhere
_SEED = 1 << 21  # apart from those of patches and of their checks
_SIZE = (640, 480)
_QUALITY = 92
_LEAST_VIEWS = 8  # of each object at each distance
_MOST_DISTANCES, _MOST_ANGLES = 12, 4
_NO_ROOM = 0.8  # share of views in which plain gray misleads the model: a patch can do hardly more
_KNOWN, _WELL_KNOWN = 0.5, 0.75  # share of views from which on an object is known; known well


@dataclass(frozen=True)
class CleanViews:
    """One clean object in one cell.

    Attributes:
        name: of the object.
        distance_mm, angle_deg: from the camera, and turned from it.
        right, n: views in which the model is right about it without a guard, of all.
    """

    name: str
    distance_mm: float
    angle_deg: float
    right: int
    n: int

    @property
    def is_known(self) -> bool:
        """In at least half of the views."""
        return self.right >= _KNOWN * self.n


def clean_views(
    model: Model,
    printed: Sequence[tuple[Sheet, Picture, Subject]],
    distances_mm: Sequence[float],
    angles_deg: Sequence[float],
    *,
    least: int,
    again: int = 0,
    arm: Arm = "clean",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[CleanViews]:
    """Ask a model about each object of an arm in rendered views. They do not predict what it says of a print.

    Args:
        model: the deployed classifier or detector, which has the objects' labels.
        printed: sheets with their pictures and objects; those of other arms are left out, as are objects without a
            picture.
        distances_mm, angles_deg: of the plan; of many, some that are evenly chosen.
        least: views in each cell, at least; together at least eight at each distance.
        again: further views of a cell in which the object seems not to be known, at a distance where it is known in
            others: few views name such a cell by chance.
        arm: in place of the clean one.
        progress: called with views asked, and all of them.
    """
    shown = [one for one in printed if one[0].arm == arm and (one[0].mount == "sheet" or one[2].cutout is not None)]
    distances, angles = _some(distances_mm, _MOST_DISTANCES), _some(angles_deg, _MOST_ANGLES)
    views = max(least, -(-_LEAST_VIEWS // len(angles)))
    path = path_behind(model, OFF)
    found, done, total = list[CleanViews](), 0, len(shown) * len(distances) * len(angles) * views

    def right(painter: SheetPainter, sheet: Sheet, distance: float, angle: float, which: range) -> int:
        nonlocal done
        count = 0
        for view in which:
            count += _is_right(model, path, painter, sheet, _stand(distance, angle, view))
            done += 1
            progress(done, total)
        return count

    for sheet, picture, subject in shown:
        painter = SheetPainter(sheet, picture, cutout=subject.cutout)
        for distance in distances:
            there = [
                CleanViews(sheet.object, distance, angle, right(painter, sheet, distance, angle, range(views)), views)
                for angle in angles
            ]
            strange = [one for one in there if not one.is_known]
            if again and len(strange) < len(there):
                total += again * len(strange)
                for one in strange:
                    more = right(painter, sheet, distance, one.angle_deg, range(views, views + again))
                    there[there.index(one)] = replace(one, right=one.right + more, n=one.n + again)
            found += there
    return found


def everywhere_known(seen: Sequence[CleanViews]) -> tuple[float, ...]:
    """The distances at which every object is known well, in three quarters of the views; of fewer than two of these
    those at which it is known at all.
    """
    shares = dict[float, list[float]]()
    for name, distance in dict.fromkeys((one.name, one.distance_mm) for one in seen):
        there = [one for one in seen if (one.name, one.distance_mm) == (name, distance)]
        shares.setdefault(distance, []).append(sum(one.right / one.n for one in there) / len(there))
    known = tuple[float, ...]()
    for share in (_WELL_KNOWN, _KNOWN):
        known = tuple(distance for distance, of_it in shares.items() if min(of_it) >= share)
        if len(known) > 1:
            break
    return known


def unknown_notes(seen: Sequence[CleanViews]) -> list[str]:
    """A line for each object that the model does not know somewhere: in which cells, and what to plan instead."""
    lines = []
    for name in dict.fromkeys(one.name for one in seen):
        of_it = [one for one in seen if one.name == name]
        strange = [one for one in of_it if not one.is_known]
        if not strange:
            continue
        right, n = sum(one.right for one in strange), sum(one.n for one in strange)
        said = f"the model is right about the clean {name} in {right} of {n} rendered views at {_where(of_it)}"
        if len(strange) == len(of_it):
            lines.append(
                f"{SHOWS_NOTHING} OF {name.upper()}: {said}, and nowhere in half of them. A patch is judged "
                "only where the clean object is known: plan other --distances, or take a model that knows it"
            )
        else:
            flags = flags_for({(one.distance_mm, one.angle_deg): one.is_known for one in of_it})
            lines.append(
                f"{said}: frames without a right clean one judge no patch; plan {flags}, or others between them"
            )
    return lines


def no_room_notes(clean: Sequence[CleanViews], plain: Sequence[CleanViews]) -> list[str]:
    """A line for each object that plain gray misleads the model about, where it knows the clean one.

    Args:
        clean, plain: what the model said of both in the same cells.
    """
    lines, known = [], {(one.name, one.distance_mm, one.angle_deg) for one in clean if one.is_known}
    for name in dict.fromkeys(one.name for one in plain):
        there = [one for one in plain if one.name == name and (name, one.distance_mm, one.angle_deg) in known]
        wrong, n = sum(one.n - one.right for one in there), sum(one.n for one in there)
        if n and wrong >= _NO_ROOM * n:
            lines.append(
                f"the plain control alone misleads the model about {name} in {wrong} of {n} rendered views: there is "
                "no room for an effect; make a smaller patch (--size), one elsewhere (--at), or take another --mount"
            )
    return lines


def _where(seen: Sequence[CleanViews]) -> str:
    """The cells in which an object is not known: `9000 mm; 30, 45 degrees at 900 mm`."""
    at_all, turned = list[str](), list[str]()
    for distance in dict.fromkeys(one.distance_mm for one in seen):
        there = [one for one in seen if one.distance_mm == distance]
        angles = [f"{one.angle_deg:g}" for one in there if not one.is_known]
        if len(angles) == len(there):
            at_all.append(f"{distance:g}")
        elif angles:
            turned.append(f"{', '.join(angles)} degrees at {distance:g} mm")
    return "; ".join([*([f"{', '.join(at_all)} mm"] if at_all else []), *turned])


def _some(values: Sequence[float], most: int) -> list[float]:
    chosen = np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(int)
    return [sorted(values)[place] for place in chosen]


def _stand(distance_mm: float, angle_deg: float, view: int) -> Stand:
    rng = np.random.default_rng([_SEED, round(distance_mm), round(angle_deg), view])
    return placed_at(rng, distance_mm, angle_deg, "bright")


def _is_right(model: Model, path: InputPath, painter: SheetPainter, sheet: Sheet, stand: Stand) -> bool:
    frame = painter.frame(stand, *_SIZE)
    data = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    prepared = path(path.arrive(data))
    labels = model.contract.labels
    if model.contract.task != "detect":
        return label_of(int(model.infer(prepared.tensor).argmax()), labels) == sheet.label
    outline = sheet.outline_mm()
    truth = box_around(project(np.concatenate([outline, np.zeros((len(outline), 1))], 1), stand, *_SIZE), *_SIZE)
    boxes = model.read(model.run(prepared.tensor), *prepared.size).boxes or ()
    wanted = labels.index(sheet.label)
    return truth is not None and judged_box(boxes, truth, wanted).index == wanted
