"""Does a model know the clean objects of a plan at its distances? Asked in the virtual field before anyone prints."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edgeguard.fieldtest.analysis.detections import judged_box
from edgeguard.fieldtest.analysis.score import OFF, path_behind
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet
from edgeguard.fieldtest.sheets.subject import Subject
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand, placed_at, project
from edgeguard.model import Model
from edgeguard.model.input_path import InputPath
from edgeguard.model.prediction import label_of
from edgeguard.scene.outlines import box_around

_SEED = 1 << 21  # apart from those of patches and of their checks
_SIZE = (640, 480)
_QUALITY = 92
_LEAST_VIEWS = 8  # of each object at each distance, and two at least at each angle
_MOST_DISTANCES, _MOST_ANGLES = 12, 4
_KNOWN, _WELL_KNOWN = 0.5, 0.75  # share of views from which on an object is known; known well


@dataclass(frozen=True)
class CleanViews:
    """One clean object at one distance.

    Attributes:
        name: of the object.
        distance_mm: from the camera.
        right, n: views in which the model is right about it without a guard, of all.
    """

    name: str
    distance_mm: float
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
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[CleanViews]:
    """Ask a model about each clean object in rendered views. They do not predict what it says of a print.

    Args:
        model: the deployed classifier or detector, which has the objects' labels.
        printed: sheets with their pictures and objects; those of other arms are left out, as are objects without a
            picture.
        distances_mm, angles_deg: of the plan; of many, some that are evenly chosen.
        progress: called with views asked, and all of them.
    """
    clean = [one for one in printed if one[0].arm == "clean" and (one[0].mount == "sheet" or one[2].cutout is not None)]
    distances, angles = _some(distances_mm, _MOST_DISTANCES), _some(angles_deg, _MOST_ANGLES)
    views = max(2, -(-_LEAST_VIEWS // len(angles)))
    path = path_behind(model, OFF)
    found, done, total = list[CleanViews](), 0, len(clean) * len(distances) * len(angles) * views
    for sheet, picture, subject in clean:
        painter = SheetPainter(sheet, picture, cutout=subject.cutout)
        for distance in distances:
            right = 0
            for angle, view in itertools.product(angles, range(views)):
                right += _is_right(model, path, painter, sheet, _stand(distance, angle, view))
                done += 1
                progress(done, total)
            found.append(CleanViews(sheet.object, distance, right, len(angles) * views))
    return found


def everywhere_known(seen: Sequence[CleanViews]) -> tuple[float, ...]:
    """The distances at which every object is known well, in three quarters of the views; of fewer than two of these
    those at which it is known at all.
    """
    known = tuple[float, ...]()
    for share in (_WELL_KNOWN, _KNOWN):
        poor = {one.distance_mm for one in seen if one.right < share * one.n}
        known = tuple(dict.fromkeys(one.distance_mm for one in seen if one.distance_mm not in poor))
        if len(known) > 1:
            break
    return known


def unknown_notes(seen: Sequence[CleanViews]) -> list[str]:
    """A line for each object that the model does not know somewhere, with the distances at which it does."""
    lines = []
    for name in dict.fromkeys(one.name for one in seen):
        of_it = [one for one in seen if one.name == name]
        strange, known = [one for one in of_it if not one.is_known], [one for one in of_it if one.is_known]
        where = ", ".join(f"{one.distance_mm:g}" for one in strange)
        right, n = sum(one.right for one in strange), sum(one.n for one in strange)
        said = f"the model is right about the clean {name} in {right} of {n} rendered views at {where} mm"
        if strange and not known:
            lines.append(
                f"THIS PLAN CAN SHOW NOTHING OF {name.upper()}: {said}, and nowhere in half of them. A patch is judged "
                "only where the clean object is known: plan other --distances, or take a model that knows it"
            )
        elif strange:
            lines.append(
                f"{said}: frames without a right clean one judge no patch; plan --distances "
                f"{','.join(f'{one.distance_mm:g}' for one in known)}, or others between them"
            )
    return lines


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
