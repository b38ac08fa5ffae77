"""A patch against a detector: what it is made of is weighed against what can be printed."""

from pathlib import Path

import numpy as np
import pytest

from edgeguard.demo.assets import bundled_detector
from edgeguard.scene.cards import CARDS

torch = pytest.importorskip("torch", reason="needs the attack extra")

from edgeguard.evaluate.detectors.twin import detector_twin  # noqa: E402
from edgeguard.fieldtest.patches.detector import DetectorAttempt  # noqa: E402
from edgeguard.fieldtest.patches.guarded import GuardedTwin  # noqa: E402
from edgeguard.fieldtest.patches.optimize import Recipe  # noqa: E402
from edgeguard.fieldtest.patches.order import PatchOrder  # noqa: E402
from edgeguard.fieldtest.patches.printing import non_printability, photographed, total_variation  # noqa: E402


def test_an_object_that_is_found_weighs_more_than_the_printing_terms() -> None:
    """A detector's logits are small beside a classifier's margin: the terms alone would make a flat patch."""
    torch.set_num_threads(1)
    model = Path(bundled_detector())
    scenes = PatchOrder(model=model, target=None, size=(320, 240)).scenes(CARDS.index("stop"), "square")
    twin = detector_twin(model, "frame").undefended()
    attempt = DetectorAttempt(GuardedTwin(twin, None, twin.contract), twin.contract, "vanish", None)
    recipe = Recipe(None)
    patch = torch.randint(64, 192, (3, 32, 32), generator=torch.Generator().manual_seed(0)).float()
    views = [scenes.draw(np.random.default_rng(number)) for number in range(3)]
    with torch.no_grad():
        frames = [photographed(patch, torch.zeros(32, 32), view, np.random.default_rng(0)) for view in views]
        found, won = attempt(torch.cat(frames), views)
    terms = recipe.smoothness * total_variation(patch) + recipe.printability * non_printability(patch)
    assert not won.any()
    assert float(found) > 3 * float(terms)
