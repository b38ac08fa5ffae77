"""`patch make` from files to files."""

import json
import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from edgeguard.dct.profile import resolve_profile
from edgeguard.differentiable.guard_layer import to_frames
from edgeguard.errors import InputError
from edgeguard.evaluate.twin import TwinPlace, twin
from edgeguard.fieldtest.patches.guarded import GuardedTwin
from edgeguard.fieldtest.patches.optimize import Recipe, classifier_attempt, optimized, succeeded
from edgeguard.fieldtest.patches.order import PatchOrder
from edgeguard.fieldtest.patches.printing import photographed
from edgeguard.fieldtest.patches.scenes import PhotographScenes, Scenes, mosaic, photographs_in
from edgeguard.fieldtest.patches.search import Searched, searched
from edgeguard.fieldtest.sheets.patch_file import PatchFile, write_patch
from edgeguard.fieldtest.sheets.sheet import Picture, control_picture, mask_of, picture_hash
from edgeguard.fieldtest.sheets.subject import OBJECT_PICTURE, write_subject
from edgeguard.model import load_model
from edgeguard.model.contract import Contract, ContractGuard
from edgeguard.patchguard import PATCH_GUARDS
from edgeguard.system.files import write_bytes
from edgeguard.system.outputs import into_folder

_log = logging.getLogger(__name__)

_SHOWN = 12
_NAMED = 10  # labels in a message


@dataclass(frozen=True)
class MadePatch:
    """A patch and how often it had its way over fresh rendered views (no claim about prints).

    Attributes:
        successes: of `views`, in which the model says what the patch wants.
        clean_right, clean_successes: of the same views without the patch: the right label; what the patch wants.
        searched: where its place was looked for, else None.
    """

    about: PatchFile
    picture: Picture
    successes: int
    views: int
    clean_right: int
    clean_successes: int
    searched: Searched | None = None

    @property
    def is_known(self) -> bool:
        """The model is right in at least half of the views without the patch."""
        return 2 * self.clean_right >= self.views

    @property
    def lines(self) -> list[str]:
        """For the terminal: with the patch and without it, and whether the model is right at all in such views."""
        said = [
            f"on {self.views} fresh rendered views it had its way in {self.successes}, without the patch in "
            f"{self.clean_successes}: no claim about a print",
            f"without the patch the model was right in {self.clean_right} of them",
        ]
        if not self.is_known:
            said.append(
                "THE MODEL IS MOSTLY WRONG WITHOUT ANY PATCH, so these views judge none: a classifier sees the whole "
                "frame, however small the object is in it; give nearer --distances, or take a model that learned from "
                "such pictures, or a detector (--mode)"
            )
        return said


@into_folder("output")
def make(
    order: PatchOrder,
    recipe: Recipe,
    output: Path,
    progress: Callable[[int, int, float], None] = lambda step, steps, share: None,
    looked: Callable[[int, int], None] = lambda done, total: None,
) -> MadePatch:
    """Make a patch and write it, controls of its size, and a contact sheet; run again to go on.

    Args:
        order, recipe: see there.
        output: folder.
        progress: step, steps, and the share of the last views where the attack had its way.
        looked: places of a search that were looked at, and all of them.

    Raises:
        InputError: a label, card, profile or model that cannot be used.
        DeviceError: the output folder cannot be written.
    """
    deployed = load_model(order.model)
    contract = deployed.contract
    if contract.task == "detect":
        raise InputError(f"{order.model} is a detector: say what the patch shall do: --mode vanish, mislabel or create")
    target = None if order.target is None else label_index(contract, order.target)
    place: TwinPlace = "frame" if order.images is None else "input"
    classifier = GuardedTwin(twin(order.model, place).undefended(), order.through, contract)
    recipe = replace(recipe, target=target, count=1 + len(order.more_centers))
    for line in order.doubts(recipe.shape):
        _log.warning("%s", line)
    attempt, found = classifier_attempt(classifier, target), None
    label = None if order.object is None else label_index(contract, order.object.label)
    if target is not None and target == label:
        raise InputError(f"--target {order.target} is what the model says of the object already: choose another label")
    if order.search and label is not None:
        found = searched(order, attempt, label, recipe, looked)
        order = replace(order, center=found.center, search=False)
    scenes: Scenes
    if label is None:
        assert order.images is not None
        scenes = PhotographScenes(photographs_in(order.images, contract, deployed.classes), contract, order.area)
    else:
        scenes = order.scenes(label, recipe.shape)
    covered = order.covered(recipe.shape, recipe.resolution) if recipe.naturalness else None
    facts = {**recipe.facts(), "model": deployed.sha256, **order.facts()}
    picture = optimized(
        attempt, scenes, recipe, output / "checkpoint.pt", json.dumps(facts), progress, covered=covered
    )  # fmt: skip
    about = patch_file(order, recipe, picture, deployed.sha256, through_name(order.through, contract.guard))
    write_made(order, output, about, picture)
    counts = _contact_sheet(output, classifier, scenes, recipe, picture, contract)
    return MadePatch(about, picture, counts[0], _SHOWN, *counts[1:], found)


def write_made(order: PatchOrder, output: Path, about: PatchFile, picture: Picture) -> None:
    """Write the patch, controls of its size, and the picture of a real object."""
    if order.subject is not None:
        write_subject(output / OBJECT_PICTURE, order.subject)
    write_patch(output, about, picture)
    for arm in ("plain", "noise"):
        data = cv2.imencode(".png", control_picture(arm)[:, :, ::-1])[1].tobytes()
        write_bytes(output / f"control-{arm}.png", data)


def patch_file(
    order: PatchOrder, recipe: Recipe, picture: Picture, model_sha256: str, through: str | None, mode: str | None = None
) -> PatchFile:  # fmt: skip
    """The manifest of what was made."""
    subject = order.subject
    return PatchFile(
        object=subject.name if subject is not None else order.card or str(order.facts()["images"]),
        target=order.target,
        model_sha256=model_sha256,
        through_guard=through,
        side_share=order.side_share,
        center_share=order.center,
        shape=recipe.shape,
        steps=recipe.steps,
        batch=recipe.batch,
        seed=recipe.seed,
        picture_sha256=picture_hash(picture),
        mode=mode,
        about=None if subject is None else subject.about,
        more_centers=order.more_centers,
        printer_sha256=None if order.printer is None else order.printer.sha256,
    )


def label_index(contract: Contract, label: str) -> int:
    """The output index of a label (or of a number).

    Raises:
        InputError: the model has no such label.
    """
    if label in contract.labels:
        return contract.labels.index(label)
    if label.isdecimal() and int(label) < max(len(contract.labels), 1):
        return int(label)
    if not contract.labels:
        raise InputError(f"the model has no label {label!r}: it has no labels at all, give the number of a class")
    near = [name for name in contract.labels if label.lower() in name.lower()][:3]
    if near:
        raise InputError(f"the model has no label {label!r}; did you mean {' or '.join(near)}?")
    rest = len(contract.labels) - _NAMED
    more = f" and {rest} more (edgeguard model show)" if rest > 0 else ""
    raise InputError(f"the model has no label {label!r}; it has {', '.join(contract.labels[:_NAMED])}{more}")


def through_name(through: str | None, own: ContractGuard) -> str | None:
    """The guard as `score` may be asked for it, in words with spaces between: `lgs`, `fd 1a2b`, `contract fd 1a2b`."""
    if through is None or through in PATCH_GUARDS:
        return through
    profile = own.profile if through == "contract" else resolve_profile(through)
    words = [] if profile is None else [profile.name, profile.sha256[:12]]
    if through != "contract":
        return " ".join(words) or None
    if own.patch is not None:
        words = ["+".join([*words[:1], own.patch]), *words[1:]]  # neither of the two was attacked alone
    return " ".join(["contract", *words])


def _contact_sheet(
    output: Path, classifier: GuardedTwin, scenes: Scenes, recipe: Recipe, picture: Picture, contract: Contract
) -> tuple[int, int, int]:
    """Twelve fresh views with what the model says; how many of them went as the patch wants, and without it: how many
    were right, and how many went so all the same."""
    patch = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float()
    mask = torch.from_numpy(mask_of(recipe.shape, recipe.resolution))
    pictures, captions = [], []
    won = clean_right = clean_won = 0
    for index in range(_SHOWN):
        rng = np.random.default_rng([recipe.seed, 1 << 30, index])
        view = scenes.draw(rng)
        again, label = deepcopy(rng), torch.tensor([view.label])
        with torch.no_grad():
            frame = photographed(patch, mask, view, rng)
            logits = classifier(frame)
            clean = classifier(photographed(patch, torch.zeros_like(mask), view, again))  # the same noise
        won += int(succeeded(logits, label, recipe.target))
        clean_won += int(succeeded(clean, label, recipe.target))
        clean_right += int(clean.argmax()) == view.label
        found = int(logits.argmax())
        pictures.append(cv2.resize(to_frames(frame)[0], (320, 240), interpolation=cv2.INTER_AREA))
        captions.append(contract.labels[found] if found < len(contract.labels) else str(found))
    data = cv2.imencode(".png", mosaic(pictures, captions)[:, :, ::-1])[1].tobytes()
    write_bytes(output / "contact-sheet.png", data)
    return won, clean_right, clean_won
