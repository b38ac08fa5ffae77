"""`patch make` from files to files."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from edgeguard.dct.profile import resolve_profile
from edgeguard.differentiable.guard_layer import to_frames
from edgeguard.errors import DeviceError, InputError
from edgeguard.evaluate.twin import Twin, TwinPlace, twin
from edgeguard.fieldtest.guards import named_guard
from edgeguard.fieldtest.patches.guard_layer import PatchGuardLayer
from edgeguard.fieldtest.patches.optimize import Recipe, make_patch, succeeded
from edgeguard.fieldtest.patches.printing import photographed
from edgeguard.fieldtest.patches.scenes import FieldScenes, PhotographScenes, Scenes, mosaic, photographs_in
from edgeguard.fieldtest.sheets.build import DEFAULT_AREA, DEFAULT_CENTER
from edgeguard.fieldtest.sheets.patch_file import PatchFile, write_patch
from edgeguard.fieldtest.sheets.sheet import Overlay, Picture, control_picture, mask_of, picture_hash
from edgeguard.model import load_model
from edgeguard.model.contract import Contract, ContractGuard
from edgeguard.patchguard import PATCH_GUARDS
from edgeguard.system.files import write_bytes

_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class PatchOrder:
    """What `patch make` is asked for.

    Attributes:
        model: a .tflite with its contract.
        target: a label, or None for an untargeted patch.
        card: the card it is made for; None with `images`.
        images: labelled photographs instead of a card: pasted digitally at the model's input.
        area: of the patch, share of the object's (or photograph's) area.
        center: of the patch on the card, shares of its side from its middle.
        through: a profile, `contract`, or a patch guard that stands between camera and model; None for none.
        angles_deg: largest angle that is drawn.
        size: of the camera's frames.
    """

    model: Path
    target: str | None
    card: str | None = "stop"
    images: Path | None = None
    area: float = DEFAULT_AREA
    center: tuple[float, float] = DEFAULT_CENTER
    through: str | None = None
    angle_deg: float = 40.0
    size: tuple[int, int] = (640, 480)


@dataclass(frozen=True)
class MadePatch:
    """A patch and how often it had its way over fresh rendered views (no claim about prints)."""

    about: PatchFile
    picture: Picture
    successes: int
    views: int


class GuardedClassifier(torch.nn.Module):
    """A classifier behind a guard: frames (or inputs) to logits."""

    def __init__(self, undefended: Twin, through: str | None, contract: Contract) -> None:
        super().__init__()
        self.twin, self.layer = undefended, None
        if through is None:
            return
        profile, patch = named_guard(through, contract)
        if patch is not None:
            self.layer = PatchGuardLayer(patch)
        if through not in PATCH_GUARDS:
            self.twin = undefended.guarded(profile)

    def forward(self, levels: Tensor) -> Tensor:
        """float32 (n, 3, h, w) levels to (n, classes)."""
        prepared = self.twin.prepared(levels)
        return self.twin.network(prepared if self.layer is None else self.layer(prepared))


def make(
    order: PatchOrder,
    recipe: Recipe,
    output: Path,
    progress: Callable[[int, int, float], None] = lambda step, steps, share: None,
) -> MadePatch:
    """Make a patch and write it, controls of its size, and a contact sheet; run again to go on.

    Raises:
        InputError: a label, card, profile or model that cannot be used.
        DeviceError: the output folder cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(f"cannot write {output}: {error.strerror}") from error
    deployed = load_model(order.model)
    contract = deployed.contract
    target = None if order.target is None else label_index(contract, order.target)
    place: TwinPlace = "frame" if order.images is None else "input"
    if order.through == "contract" and contract.guard == ContractGuard():
        raise InputError(f"{order.model} carries no guard: name a profile for --through-guard")
    classifier = GuardedClassifier(twin(order.model, place).undefended(), order.through, contract)
    recipe = Recipe(**{**asdict(recipe), "target": target})
    scenes = _scenes(order, contract, recipe.shape, deployed.classes)
    facts = {
        **asdict(recipe), "model": deployed.sha256, "card": order.card,
        "images": None if order.images is None else order.images.name, "area": order.area,
        "center": list(order.center), "through": order.through, "angle_deg": order.angle_deg, "size": list(order.size),
    }  # fmt: skip
    picture = make_patch(classifier, scenes, recipe, output / "checkpoint.pt", json.dumps(facts), progress)
    about = PatchFile(
        object=order.card or str(facts["images"]),
        target=order.target,
        model_sha256=deployed.sha256,
        through_guard=through_name(order.through, contract.guard),
        side_share=float(order.area**0.5),
        center_share=order.center,
        shape=recipe.shape,
        steps=recipe.steps,
        batch=recipe.batch,
        seed=recipe.seed,
        picture_sha256=picture_hash(picture),
    )
    write_patch(output, about, picture)
    for arm in ("plain", "noise"):
        data = cv2.imencode(".png", control_picture(arm)[:, :, ::-1])[1].tobytes()
        write_bytes(output / f"control-{arm}.png", data)
    successes, views = _contact_sheet(output, classifier, scenes, recipe, picture, contract)
    return MadePatch(about, picture, successes, views)


def label_index(contract: Contract, label: str) -> int:
    """The output index of a label (or of a number).

    Raises:
        InputError: the model has no such label.
    """
    if label in contract.labels:
        return contract.labels.index(label)
    if label.isdecimal() and int(label) < max(len(contract.labels), 1):
        return int(label)
    near = [name for name in contract.labels if label.lower() in name.lower()][:3]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise InputError(f"the model has no label {label!r}{hint}")


def _scenes(order: PatchOrder, contract: Contract, shape: str, outputs: int) -> Scenes:
    if order.images is not None:
        return PhotographScenes(photographs_in(order.images, contract, outputs), contract, order.area)
    card = str(order.card)
    side = float(order.area**0.5) * 120.0
    overlay = Overlay((order.center[0] * 120.0, order.center[1] * 120.0), side, shape)
    if max(abs(value) for value in overlay.center_mm) + side / 2 > 60.0:
        raise InputError("the patch would stick out of the card: make it smaller or move it (--at)")
    label = label_index(contract, card)
    return FieldScenes(card, overlay, label, angles_deg=(0.0, order.angle_deg), size=order.size)


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
    output: Path, classifier: GuardedClassifier, scenes: Scenes, recipe: Recipe, picture: Picture, contract: Contract
) -> tuple[int, int]:
    """Twelve fresh views with what the model says; and how many of them went as the patch wants."""
    patch = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float()
    mask = torch.from_numpy(mask_of(recipe.shape, recipe.resolution))
    pictures, captions, right = [], [], 0
    for index in range(_SHOWN):
        rng = np.random.default_rng([recipe.seed, 1 << 30, index])
        view = scenes.draw(rng)
        with torch.no_grad():
            frame = photographed(patch, mask, view, rng)
            logits = classifier(frame)
        right += int(succeeded(logits, torch.tensor([view.label]), recipe.target))
        found = int(logits.argmax())
        pictures.append(cv2.resize(to_frames(frame)[0], (320, 240), interpolation=cv2.INTER_AREA))
        captions.append(contract.labels[found] if found < len(contract.labels) else str(found))
    data = cv2.imencode(".png", mosaic(pictures, captions)[:, :, ::-1])[1].tobytes()
    write_bytes(output / "contact-sheet.png", data)
    return right, _SHOWN
