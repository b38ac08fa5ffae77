"""`patch make --mode` from files to files: a patch against a detector, and whether it beats its controls."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from edgeguard.datasets.objects import annotated_folder
from edgeguard.differentiable.guard_layer import to_frames
from edgeguard.errors import InputError
from edgeguard.evaluate.detectors.deployed import own_numbers
from edgeguard.evaluate.detectors.twin import detector_twin, require_detector
from edgeguard.evaluate.protocol import Goal
from edgeguard.evaluate.twin import TwinPlace
from edgeguard.fieldtest.guards import named_guard
from edgeguard.fieldtest.patches.arm_doubts import arm_doubts, losing
from edgeguard.fieldtest.patches.detector import GOAL_WEIGHT, DetectorAttempt
from edgeguard.fieldtest.patches.detector_field import ArmResult, FieldCheck, field_arms
from edgeguard.fieldtest.patches.guarded import GuardedTwin
from edgeguard.fieldtest.patches.job import label_index, patch_file, through_name, write_made
from edgeguard.fieldtest.patches.optimize import Recipe, optimized
from edgeguard.fieldtest.patches.order import PatchOrder
from edgeguard.fieldtest.patches.printing import photographed
from edgeguard.fieldtest.patches.scenes import AnnotatedScenes, Scenes, mosaic
from edgeguard.fieldtest.patches.search import Searched, searched
from edgeguard.fieldtest.sheets.patch_file import PatchFile
from edgeguard.fieldtest.sheets.sheet import Picture, mask_of
from edgeguard.model import Model, load_model
from edgeguard.system.files import write_bytes
from edgeguard.system.outputs import into_folder

_log = logging.getLogger(__name__)

_SHOWN = 12
_FARTHEST_SIDES = 1100.0 / 120.0  # detectors find cards up to there


@dataclass(frozen=True)
class MadeDetectorPatch:
    """A patch, how often it had its way, and the arms of the virtual field beside it.

    Attributes:
        about, picture: the patch.
        successes, views: over fresh views of the kind that it was made on, judged by the twin.
        last_share: of the views of the last step in which it had its way.
        arms: the deployed file in the virtual field, 0 to `checked_angle_deg` degrees; empty for photographs.
        against: why it does no more than the plain control, a line for each reason; empty where it does.
        doubts: why these views can show little of any patch, a line for each reason.
        searched: where its place was looked for, else None.
    """

    about: PatchFile
    picture: Picture
    successes: int
    views: int
    last_share: float
    arms: tuple[ArmResult, ...]
    against: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    searched: Searched | None = None


@into_folder("output")
def make_for_detector(
    order: PatchOrder,
    recipe: Recipe,
    output: Path,
    *,
    mode: Goal,
    label: str | None,
    progress: Callable[[int, int, float], None] = lambda step, steps, share: None,
    asked: Callable[[int, int], None] = lambda done, total: None,
    looked: Callable[[int, int], None] = lambda done, total: None,
) -> MadeDetectorPatch:
    """Make a patch against a detector and write it, controls of its size, and a contact sheet; run again to go on.

    Args:
        order: what is wanted; its `target` is the class that mislabel and create aim at, None for any wrong one.
        recipe: see there.
        output: folder.
        mode: what the patch wants of the object.
        label: the object's class; by default the card's or object's own, with photographs every class.
        progress: step, steps, and the share of the last views where the attack had its way.
        asked: frames of the virtual field that the file was asked about, and all of them.
        looked: places of a search that were looked at, and all of them.

    Raises:
        InputError: a label, card, profile or model that cannot be used.
        DeviceError: the output folder cannot be written.
    """
    deployed = load_model(order.model)
    require_detector(deployed, order.model, "--mode")
    contract = deployed.contract
    target = None if order.target is None else label_index(contract, order.target)
    subject = order.object
    wanted = label if label is not None or subject is None else subject.label
    index = None if wanted is None else label_index(contract, wanted)
    if mode == "mislabel" and target is not None and target == index:
        raise InputError(f"--target {order.target} is the object's own class: choose another label")
    place: TwinPlace = "frame" if order.images is None else "input"
    detector = GuardedTwin(detector_twin(order.model, place).undefended(), order.through, contract)
    attempt = DetectorAttempt(detector, contract, mode, target)
    recipe, found = replace(recipe, target=target, count=1 + len(order.more_centers)), None
    for line in order.doubts(recipe.shape):
        _log.warning("%s", line)
    if order.search and index is not None and subject is not None:
        found = searched(order, attempt, index, recipe, looked)
        order = replace(order, center=found.center, search=False)
    scenes = _scenes(order, deployed, recipe.shape, index)
    covered = order.covered(recipe.shape, recipe.resolution) if recipe.naturalness else None
    facts = {
        **recipe.facts(),
        "mode": mode,
        "weight": GOAL_WEIGHT,
        "label": wanted,
        "model": deployed.sha256,
        **order.facts(),
    }
    last = 0.0

    def told(step: int, steps: int, share: float) -> None:
        nonlocal last
        last = share
        progress(step, steps, share)

    picture = optimized(
        attempt, scenes, recipe, output / "checkpoint.pt", json.dumps(facts), told, covered=covered
    )  # fmt: skip
    through = through_name(order.through, contract.guard)
    about = patch_file(order, recipe, picture, deployed.sha256, through, mode)
    write_made(order, output, about, picture)
    successes = _contact_sheet(output, attempt, scenes, recipe, picture)
    arms = () if index is None else _arms(deployed, order, output, (index, target), asked)
    against = losing(arms, mode, successes, _SHOWN, last)
    doubts = arm_doubts(arms, mode, None if order.subject is None else order.subject.mount)
    return MadeDetectorPatch(about, picture, successes, _SHOWN, last, arms, against, doubts, found)


def _arms(
    deployed: Model, order: PatchOrder, patch: Path, aim: tuple[int, int | None], asked: Callable[[int, int], None]
) -> tuple[ArmResult, ...]:  # fmt: skip
    """What the deployed file says in the virtual field, behind the guard of the order; nothing for photographs.

    Args:
        deployed, order: of the patch.
        patch: its folder.
        aim: the object's class, and the target's.
        asked: see `make_for_detector`.
    """
    subject = order.object
    if subject is None:
        return ()
    check = FieldCheck(
        subject.name, aim[0], angles_deg=(0.0, order.checked_angle_deg), distances_mm=order.distances_mm,
        size=order.size, subject=order.subject, target=aim[1],
    )  # fmt: skip
    profile, patch_guard = (None, None) if order.through is None else named_guard(order.through, deployed.contract)
    found = field_arms(
        deployed, check, patch=patch, profile=profile, patch_guard=patch_guard, progress=asked,
        photographs=order.photographs, printer=order.printer,
    )  # fmt: skip
    return tuple(found)


def _scenes(order: PatchOrder, deployed: Model, shape: str, label: int | None) -> Scenes:
    contract = deployed.contract
    if order.images is not None:
        folder = annotated_folder(order.images, contract.labels, own_numbers(deployed))
        return AnnotatedScenes(folder.images, contract, order.area, label=label)
    assert label is not None
    return order.scenes(label, shape, _FARTHEST_SIDES)


def _contact_sheet(output: Path, attempt: DetectorAttempt, scenes: Scenes, recipe: Recipe, picture: Picture) -> int:
    """Twelve fresh views with the twin's best box on the object; in how many the patch had its way."""
    patch = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float()
    mask = torch.from_numpy(mask_of(recipe.shape, recipe.resolution))
    pictures, captions, right = [], [], 0
    for index in range(_SHOWN):
        rng = np.random.default_rng([recipe.seed, 1 << 30, index])
        view = scenes.draw(rng)
        with torch.no_grad():
            frame = photographed(patch, mask, view, rng)
            won = bool(attempt(frame, [view])[1][0])
        right += won
        pictures.append(cv2.resize(to_frames(frame)[0], (320, 240), interpolation=cv2.INTER_AREA))
        captions.append("as it wants" if won else "not yet")
    data = cv2.imencode(".png", mosaic(pictures, captions)[:, :, ::-1])[1].tobytes()
    write_bytes(output / "contact-sheet.png", data)
    return right
