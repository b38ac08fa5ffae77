"""Making patches: the physics against OpenCV, the guards' derivatives, and a patch that learns something."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import read_bgr

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.patch_file import read_patch
from edgeguard.model import load_model
from edgeguard.patchguard import PATCH_GUARDS, patch_guard

if TYPE_CHECKING:
    from torch import Tensor

torch = pytest.importorskip("torch", reason="needs the attack extra")

from edgeguard.datasets.images import LabeledImage  # noqa: E402
from edgeguard.differentiable.guard_layer import to_levels  # noqa: E402
from edgeguard.fieldtest.patches.field_scenes import FieldScenes  # noqa: E402
from edgeguard.fieldtest.patches.guard_layer import PatchGuardLayer  # noqa: E402
from edgeguard.fieldtest.patches.job import label_index, make  # noqa: E402
from edgeguard.fieldtest.patches.optimize import Recipe, make_patch  # noqa: E402
from edgeguard.fieldtest.patches.order import PatchOrder  # noqa: E402
from edgeguard.fieldtest.patches.printing import (  # noqa: E402
    View,
    _blurred,
    non_printability,
    pasted,
    photographed,
    total_variation,
)
from edgeguard.fieldtest.patches.scenes import PhotographScenes  # noqa: E402
from edgeguard.fieldtest.sheets.sheet import Overlay  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _patch(side: int = 24, seed: int = 0) -> "Tensor":
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (3, side, side)).astype(np.float32))


@pytest.mark.parametrize("grow", [1.0, 3.0])
def test_pasting_is_a_perspective_warp(grow: float) -> None:
    """Against cv2.warpPerspective where the patch is not shrunk."""
    corners = (np.array([[20, 15], [52, 12], [55, 44], [18, 40]], np.float32) * grow).astype(np.float32)
    patch, size = _patch(), int(70 * grow)
    found = pasted(torch.zeros(3, size, size), patch, torch.ones(24, 24), corners).permute(1, 2, 0).numpy()
    square = np.array([[0, 0], [24, 0], [24, 24], [0, 24]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(square, corners)
    expected = cv2.warpPerspective(patch.permute(1, 2, 0).numpy(), matrix, (size, size), flags=cv2.INTER_LINEAR)
    assert np.abs(found - expected).mean() < 1.0 and np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


def test_a_small_patch_is_averaged_and_one_outside_changes_nothing() -> None:
    patch = torch.full((3, 48, 48), 200.0)
    patch[:, ::2] = 100.0  # fine stripes: far away they are their mean
    corners = np.array([[10, 10], [16, 10], [16, 16], [10, 16]], np.float32)
    inside = pasted(torch.zeros(3, 30, 30), patch, torch.ones(48, 48), corners)[:, 12:15, 12:15]
    assert inside.min() > 140 and inside.max() < 160
    scene = torch.zeros(3, 30, 30)
    assert pasted(scene, patch, torch.ones(48, 48), corners + 100) is scene


@pytest.mark.parametrize("sigma", [0.3, 0.9, 2.5])
def test_the_lens_is_a_convolution_with_mirrored_edges_both_ways(sigma: float) -> None:
    reach = max(int(3 * sigma + 0.5), 1)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = torch.outer(taps, taps)[None, None] / taps.sum() ** 2
    scene, weights = torch.rand(3, 24, 32) * 255, torch.randn(3, 24, 32)
    ours, expected = scene.clone().requires_grad_(True), scene.clone().requires_grad_(True)
    blurred = _blurred(ours, sigma)
    padded = torch.nn.functional.pad(expected[None], (reach,) * 4, mode="reflect")
    wanted = torch.nn.functional.conv2d(padded, kernel.expand(3, 1, -1, -1), groups=3)[0]
    (blurred * weights).sum().backward()
    (wanted * weights).sum().backward()
    assert ours.grad is not None and expected.grad is not None
    assert float((blurred - wanted).detach().abs().max()) < 1e-3
    assert float((ours.grad - expected.grad).abs().max()) < 1e-5


def test_a_photograph_is_whole_levels_and_has_a_gradient() -> None:
    rng = np.random.default_rng(0)
    scene = rng.uniform(40, 200, (60, 80, 3)).astype(np.float32)
    corners = np.array([[20, 15], [50, 14], [52, 44], [18, 40]], np.float32)
    view = View(scene, corners, np.full((60, 80, 3), 0.8, np.float32), 0.6, 1.5, 85, 1)
    patch = _patch().requires_grad_(True)
    frame = photographed(patch, torch.ones(24, 24), view, rng)
    assert frame.shape == (1, 3, 60, 80) and (frame == frame.round()).all() and 0 <= frame.min() <= frame.max() <= 255
    frame[0, :, 20:35, 25:45].sum().backward()
    assert patch.grad is not None and (patch.grad != 0).float().mean() > 0.5
    again = photographed(patch, torch.ones(24, 24), view, np.random.default_rng(5))
    assert not torch.equal(frame, again)


def test_printing_terms() -> None:
    assert float(total_variation(torch.full((3, 8, 8), 7.0))) == 0
    assert float(non_printability(torch.full((3, 8, 8), 127.5))) == pytest.approx(0)
    assert float(non_printability(torch.full((3, 8, 8), 255.0))) == pytest.approx(20)
    checker = torch.zeros(3, 8, 8)
    checker[:, ::2] = 10
    assert float(total_variation(checker)) == pytest.approx(10)


@pytest.mark.parametrize("name", PATCH_GUARDS)
def test_guards_are_exact_forward_and_have_a_gradient(name: str, scenes: list[NDArray[np.uint8]]) -> None:
    frames = np.stack([frame[:128, :128] for frame in scenes[:2]])
    levels = to_levels(frames).requires_grad_(True)
    out = PatchGuardLayer(patch_guard(name))(levels)
    exact = np.stack([patch_guard(name)(frame).image for frame in frames])
    assert np.array_equal(out.detach().permute(0, 2, 3, 1).numpy(), exact)
    out.sum().backward()
    assert levels.grad is not None and torch.isfinite(levels.grad).all() and levels.grad.abs().sum() > 0


def test_the_smoothings_derivative_is_its_own(scenes: list[NDArray[np.uint8]]) -> None:
    """Its float form gives the guard's bytes, up to rounding."""
    from edgeguard.fieldtest.patches.guard_layer import _smoothed
    from edgeguard.patchguard.gradient_smoothing import LocalGradientSmoothing

    guard, frame = LocalGradientSmoothing(), np.ascontiguousarray(scenes[1][:128, :128])
    near = _smoothed(to_levels(frame[None]), guard)[0].permute(1, 2, 0).numpy()
    assert np.abs(near - guard(frame).image)[1:-1, 1:-1].mean() < 1.5


def test_scenes_are_the_field_and_repeat() -> None:
    scenes = FieldScenes("stop", Overlay((0, 26.4), 38), 1, size=(320, 240))
    one, again = (scenes.draw(np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one.scene, again.scene) and np.array_equal(one.corners, again.corners)
    assert one.scene.shape == (240, 320, 3) and one.is_printed and one.label == 1
    assert (one.corners > 0).all() and (one.corners < (320, 240)).all()


def test_photographs_hold_the_whole_patch(scenes: list[NDArray[np.uint8]]) -> None:
    contract = load_model(bundled_model()).contract
    photographs = PhotographScenes([LabeledImage("a", scenes[0], 3)], contract, 0.1)
    for seed in range(20):
        view = photographs.draw(np.random.default_rng(seed))
        side = np.linalg.norm(view.corners[1] - view.corners[0])
        assert side**2 == pytest.approx(0.1 * 128 * 128, rel=1e-3) and not view.is_printed
        assert view.corners.min() >= -0.51 and view.corners.max() <= 127.51


def _order(**change: Any) -> PatchOrder:
    return PatchOrder(**{"model": bundled_model(), "target": "yield", "size": (320, 240), **change})


def test_distances_of_the_views_are_those_that_were_given() -> None:
    order = _order(distances_mm=(200.0, 260.0))
    scenes = order.scenes(0, "square")
    assert scenes.distances_mm == (200.0, 260.0) and order.facts()["distances_mm"] == [200.0, 260.0]
    assert _order().scenes(0, "square").distances_mm == (330.0, 1200.0) and "distances_mm" not in _order().facts()


@pytest.mark.full
def test_a_patch_is_made_kept_and_goes_on(tmp_path: Path) -> None:
    recipe = Recipe(None, steps=4, batch=2, resolution=16, shape="round")
    made = make(_order(through="fd"), recipe, tmp_path / "a")
    about, picture = read_patch(tmp_path / "a")
    assert about == made.about and picture.shape == (16, 16, 3) and about.target == "yield" and made.views == 12
    assert about.through_guard is not None and about.through_guard.startswith("fd ")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "checkpoint.pt", "contact-sheet.png", "control-noise.png", "control-plain.png", "patch.json", "patch.png",
    ]  # fmt: skip
    assert read_bgr(tmp_path / "a/contact-sheet.png").std() > 20
    assert made.clean_right >= 10 and made.clean_successes == 0 and len(made.lines) == 2  # the bundled model knows it
    assert made.lines[0].startswith(f"on 12 fresh rendered views it had its way in {made.successes}, without the ")
    blind = replace(made, clean_right=5)
    assert "right in 5 of them" in blind.lines[1] and "MOSTLY WRONG WITHOUT ANY PATCH" in blind.lines[2]
    again = make(_order(through="fd"), recipe, tmp_path / "a")
    assert np.array_equal(again.picture, made.picture)
    with pytest.raises(InputError, match=r"other settings \(seed\)"):
        make(_order(through="fd"), Recipe(None, steps=4, batch=2, resolution=16, shape="round", seed=3), tmp_path / "a")
    sheet, _ = made_sheet("stop", "patch", patch=tmp_path / "a")
    assert sheet.through_guard == about.through_guard and sheet.model_sha256 == load_model(bundled_model()).sha256


@pytest.mark.full
def test_an_interrupted_patch_is_the_same_patch(tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def stop(step: int, steps: int, share: float) -> None:
        if step == 30:
            raise Interrupted

    contract = load_model(bundled_model()).contract
    from edgeguard.evaluate import twin

    classifier = twin(bundled_model(), "input").undefended()
    image = LabeledImage("a", np.full((200, 200, 3), 90, np.uint8), 0)
    scenes, recipe = PhotographScenes([image], contract, 0.2), Recipe(2, steps=40, batch=1, resolution=8)
    whole = make_patch(classifier, scenes, recipe, tmp_path / "whole.pt", "{}")
    with pytest.raises(Interrupted):
        make_patch(classifier, scenes, recipe, tmp_path / "part.pt", "{}", stop)
    assert np.array_equal(make_patch(classifier, scenes, recipe, tmp_path / "part.pt", "{}"), whole)
    (tmp_path / "part.pt").write_bytes(b"PK damaged")
    with pytest.raises(InputError, match="damaged"):
        make_patch(classifier, scenes, recipe, tmp_path / "part.pt", "{}")


@pytest.mark.full
def test_a_patch_learns_its_target(tmp_path: Path) -> None:
    """A third of the picture on a plain background: what it aims at becomes likelier than with noise."""
    contract = load_model(bundled_model()).contract
    from edgeguard.evaluate import twin

    classifier = twin(bundled_model(), "input").undefended()
    images = [LabeledImage("a", np.full((128, 128, 3), level, np.uint8), 0) for level in (60, 110, 160)]
    scenes, target = PhotographScenes(images, contract, 0.33), label_index(contract, "left")
    recipe = Recipe(target, steps=40, batch=2, resolution=24, learning_rate=20)
    picture = make_patch(classifier, scenes, recipe, tmp_path / "c.pt", "{}")

    def hits(patch: NDArray[np.uint8]) -> int:
        content = to_levels(patch[None])[0]
        found = 0
        for seed in range(12):
            view = scenes.draw(np.random.default_rng([8, seed]))
            with torch.no_grad():
                frame = photographed(content, torch.ones(24, 24), view, np.random.default_rng(seed))
                found += int(classifier(frame).argmax()) == target
        return found

    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    assert hits(picture) >= 10 and hits(noise) <= 2


def test_what_cannot_be_made(tmp_path: Path) -> None:
    recipe = Recipe(None, steps=1, batch=1)
    with pytest.raises(InputError, match=r"no label 'yeld'|no label 'yel'"):
        make(_order(target="yel"), recipe, tmp_path)
    with pytest.raises(InputError, match="stick out"):
        make(_order(area=0.4, center=(0.4, 0)), recipe, tmp_path)
    (tmp_path / "file").touch()
    from edgeguard.errors import DeviceError

    with pytest.raises(DeviceError):
        make(_order(), recipe, tmp_path / "file" / "below")
