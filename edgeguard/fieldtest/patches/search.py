"""Where on an object a patch does most: places that hurt when covered, then a short trial of the best (torch)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from edgeguard.errors import InputError
from edgeguard.fieldtest.patches.field_scenes import FieldScenes
from edgeguard.fieldtest.patches.optimize import Attempt, Recipe, loss_on_fresh_views, optimized
from edgeguard.fieldtest.patches.order import PatchOrder
from edgeguard.fieldtest.patches.printing import photographed
from edgeguard.fieldtest.sheets.sheet import control_picture, mask_of

_GRID = 5
_VIEWS = 6
_TRIED = 3
_SMALLEST_TRIAL = 10


@dataclass(frozen=True)
class Searched:
    """What a search found.

    Attributes:
        center: shares of the object's width and height from its middle.
        places: how many were covered with grey and noise.
        tried: middles of those that a short patch was made for, and its loss; smaller is better.
    """

    center: tuple[float, float]
    places: int
    tried: tuple[tuple[tuple[float, float], float], ...]


def searched(
    order: PatchOrder,
    attempt: Attempt,
    label: int,
    recipe: Recipe,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Searched:
    """The place on the object where a patch of this size and shape gets furthest.

    Args:
        order: what is wanted; its `center` does not count.
        attempt: the loss.
        label: the object's output index.
        recipe: of the patch; a trial takes a fifteenth of its steps.
        progress: places done, and all of them.

    Raises:
        InputError: no place on the object holds the patch.
    """
    centers = possible_centers(order)
    if not centers:
        raise InputError("no place on the object holds the patch: make it smaller")
    covered, scenes = [], None
    for done, center in enumerate(centers):
        order = replace(order, center=center, search=False)
        if scenes is None or (order.object is not None and order.object.mount == "on"):
            scenes = order.scenes(label, recipe.shape)
        scenes = scenes.with_overlays(order.overlays(recipe.shape))
        covered.append((_loss_when_covered(scenes, attempt, recipe), center))
        progress(done + 1, len(centers))
    best = [center for _, center in sorted(covered)[:_TRIED]]
    steps = max(recipe.steps // 15, _SMALLEST_TRIAL)
    tried = []
    for center in best:
        there, trial = replace(order, center=center).scenes(label, recipe.shape), replace(recipe, steps=steps)
        picture = optimized(attempt, there, trial, None, "")
        tried.append((center, round(loss_on_fresh_views(attempt, there, trial, picture), 4)))
    return Searched(min(tried, key=lambda one: one[1])[0], len(centers), tuple(tried))


def possible_centers(order: PatchOrder) -> list[tuple[float, float]]:
    """A grid of middles with which the patch lies within the object's box and its middle within the outline."""
    subject = order.object
    if subject is None:
        return []
    outline = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
    if subject.about is not None:
        outline = list(subject.about.outline)
    polygon = np.array(outline, np.float32)
    reach_x = 0.5 - order.side_share * subject.mean_side_mm / subject.width_mm / 2
    reach_y = 0.5 - order.side_share * subject.mean_side_mm / subject.height_mm / 2
    if reach_x < 0 or reach_y < 0:
        return []
    places = [
        (round(float(x), 4), round(float(y), 4))
        for y in np.linspace(-reach_y, reach_y, _GRID)
        for x in np.linspace(-reach_x, reach_x, _GRID)
    ]
    return [place for place in dict.fromkeys(places) if cv2.pointPolygonTest(polygon, place, False) >= 0]


def _loss_when_covered(scenes: FieldScenes, attempt: Attempt, recipe: Recipe) -> float:
    """Mean over grey and noise, on the same views for every place."""
    mask = torch.from_numpy(mask_of(recipe.shape, recipe.resolution))
    losses = []
    for arm in ("plain", "noise"):
        picture = cv2.resize(control_picture(arm, recipe.seed), (recipe.resolution,) * 2, interpolation=cv2.INTER_AREA)
        patch = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float()
        views = [np.random.default_rng([recipe.seed, 1 << 29, index]) for index in range(_VIEWS)]
        drawn = [(scenes.draw(rng), rng) for rng in views]
        with torch.no_grad():
            frames = torch.cat([photographed(patch, mask, view, rng) for view, rng in drawn])
            losses.append(float(attempt(frames, [view for view, _ in drawn])[0]))
    return float(np.mean(losses))
