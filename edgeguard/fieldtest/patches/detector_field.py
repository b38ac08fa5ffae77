"""What the deployed detector says of a card in the virtual field: clean, with controls, with a patch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeguard.datasets.objects import TrueBox
from edgeguard.dct.profile import GuardProfile
from edgeguard.evaluate.detectors.deployed import DeployedDetector
from edgeguard.evaluate.detectors.matching import average_precision, judged
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.sheet import ARMS, Arm, Overlay, Picture
from edgeguard.fieldtest.sheets.subject import Subject, card_subject
from edgeguard.fieldtest.virtual.field import LIGHTS, SheetPainter, Stand, light_named, placed_at, project
from edgeguard.fieldtest.virtual.raster import PrintedColors
from edgeguard.model import Model
from edgeguard.model.prediction import BoxScore
from edgeguard.patchguard import PatchGuard
from edgeguard.scene.outlines import box_around
from edgeguard.statistics import wilson

_NEAREST_SIDES, _FARTHEST_SIDES = 2.75, 1000.0 / 120.0
_SEED = 1 << 20  # apart from those of making patches


@dataclass(frozen=True)
class ArmResult:
    """One arm over views that are the same for every arm.

    Attributes:
        arm: clean, plain, noise or patch.
        found: views in which the object is found as what it is.
        n: views.
        ap50, low50, high50: average precision of the object's class at IoU .5, 0..1, and its 95 % interval.
        said: how often another class's box lies on the object.
        invented: views in which something is found where nothing is.
        renamed: views in which it is not found and a box of the target's class (of any other without one) lies on it.
        created: views in which a box of the target's class (of any without one) is found where nothing is.
    """

    arm: str
    found: int
    n: int
    ap50: float
    low50: float
    high50: float
    said: int
    invented: int
    renamed: int = 0
    created: int = 0

    @property
    def line(self) -> str:
        """For the terminal."""
        low, high = wilson(self.found, self.n)
        return (
            f"{self.arm:6s} found {self.found:3d} of {self.n} [{100 * low:.0f}, {100 * high:.0f}] %, AP50 "
            f"{100 * self.ap50:5.1f} [{100 * self.low50:.0f}, {100 * self.high50:.0f}], another class on it "
            f"{self.said}, invented {self.invented}"
        )


@dataclass(frozen=True)
class FieldCheck:
    """Which views are looked at: angles and distances are drawn evenly, lights take turns.

    Attributes:
        card: its name, or the object's.
        label: the object's class.
        views, size: frames, and their size.
        angles_deg: range.
        distances_mm: range; by default 2.75 to 8.33 sides of the object (a card of 120 mm: 330 to 1000 mm).
        subject: a real object; None for the card.
        target: the class that a patch to mislabel or create aims at; None for any wrong one.
    """

    card: str
    label: int
    views: int = 48
    angles_deg: tuple[float, float] = (0.0, 30.0)
    distances_mm: tuple[float, float] | None = None
    size: tuple[int, int] = (640, 480)
    subject: Subject | None = None
    target: int | None = None

    @property
    def object(self) -> Subject:
        """What is looked at."""
        return card_subject(self.card) if self.subject is None else self.subject

    def stands(self) -> list[Stand]:
        """Where the sheet stands in each view; always the same."""
        stands, side = [], self.object.mean_side_mm
        distances = self.distances_mm or (_NEAREST_SIDES * side, _FARTHEST_SIDES * side)
        for number in range(self.views):
            rng = np.random.default_rng([_SEED, number])
            light = light_named(LIGHTS[number % len(LIGHTS)]) or "bright"
            stand = placed_at(rng, float(rng.uniform(*distances)), float(rng.uniform(*self.angles_deg)), light)
            stands.append(replace(stand, angle_deg=min(stand.angle_deg, self.angles_deg[1])))
        return stands


def field_arms(
    model: Model,
    check: FieldCheck,
    *,
    patch: Path | None,
    overlay: Overlay | None = None,
    profile: GuardProfile | None = None,
    patch_guard: PatchGuard | None = None,
    arms: Sequence[Arm] = ARMS,
    progress: Callable[[int, int], None] = lambda done, total: None,
    photographs: Sequence[Picture] = (),
    printer: PrintedColors | None = None,
) -> list[ArmResult]:
    """Ask the deployed file about each arm, on the same stands.

    Args:
        model: the deployed detector.
        check: the views.
        patch: a folder of `patch make`; controls take its size and place. None without the patch arm.
        overlay: of controls, in place of the patch's.
        profile: guard in front of the model, one pass.
        patch_guard: filter of the model's input.
        arms: which.
        progress: called with frames asked, and all of them.
        photographs: what may stand behind the object; rendered clutter without any.
        printer: what a printer makes of colours; without, they are printed as they are.
    """
    deployed = DeployedDetector(model, profile=profile, patch_guard=patch_guard)
    stands, results, done = check.stands(), list[ArmResult](), 0
    for arm in arms:
        sheet, picture = made_sheet(check.object, arm, patch=patch, number=0, overlay=overlay)
        outline = sheet.outline_mm()
        hull = np.concatenate([outline, np.zeros((len(outline), 1))], axis=1)
        painter = SheetPainter(
            sheet, picture, cutout=check.object.cutout, photographs=photographs, printer=printer
        )  # fmt: skip
        truth: list[list[TrueBox]] = []
        found: list[tuple[BoxScore, ...]] = []
        for stand in stands:
            box = box_around(project(hull, stand, *check.size), *check.size)
            truth.append([] if box is None else [TrueBox(check.label, box)])
            found.append(deployed.boxes(painter.frame(stand, *check.size)))
            done += 1
            progress(done, len(stands) * len(arms))
        results.append(counted(arm, truth, found, check))
    return results


def counted(
    arm: str, truth: Sequence[Sequence[TrueBox]], found: Sequence[tuple[BoxScore, ...]], check: FieldCheck
) -> ArmResult:
    """An arm by the true boxes and the found ones (best first) of each view."""
    each = [judged(one, boxes) for one, boxes in zip(truth, found, strict=True)]
    of_class = [[box for box in boxes if box.index == check.label] for boxes in found]
    precision = average_precision(truth, of_class)

    def is_wanted(index: int | None) -> bool:
        return index is not None and check.target in (None, index)

    return ArmResult(
        arm,
        sum(any(one.found) for one in each),
        len(each),
        precision.ap50,
        precision.low50,
        precision.high50,
        sum(any(k is not None for k in one.said) for one in each),
        sum(len(one.invented) > 0 for one in each),
        renamed=sum(not any(one.found) and any(map(is_wanted, one.said)) for one in each),
        created=sum(any(map(is_wanted, one.invented)) for one in each),
    )
