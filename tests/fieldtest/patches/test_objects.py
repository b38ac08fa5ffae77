"""Patches for any object: where they lie, what they cost, what they are made through; and that they learn something."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fieldtest.sheets.objects import sign_subject

from edgeguard.cli.field_objects import placement
from edgeguard.demo.assets import ASSETS, bundled_model
from edgeguard.errors import InputError
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.field_object import Mount
from edgeguard.fieldtest.sheets.patch_file import read_patch
from edgeguard.fieldtest.sheets.printer_map import PrinterMap
from edgeguard.fieldtest.sheets.subject import OBJECT_PICTURE, patch_subject

torch = pytest.importorskip("torch", reason="needs the attack extra")

from edgeguard.fieldtest.patches.job import make  # noqa: E402
from edgeguard.fieldtest.patches.optimize import Recipe, optimized  # noqa: E402
from edgeguard.fieldtest.patches.order import PatchOrder  # noqa: E402
from edgeguard.fieldtest.patches.printing import mapped, pasted, photographed  # noqa: E402
from edgeguard.fieldtest.patches.search import possible_centers, searched  # noqa: E402

SIZE = (160, 120)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _order(folder: Path, mount: Mount = "beside", **change: Any) -> PatchOrder:
    subject = sign_subject(folder, mount)
    order = PatchOrder(model=bundled_model(), target="yield", card=None, subject=subject, size=SIZE, area=0.1)
    return replace(order, **change)


def test_a_printer_is_the_same_in_torch_and_in_numpy() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(0, 0.2, (10, 3)) + np.eye(10, 3, -1) * 0.6
    rows = tuple((float(red), float(green), float(blue)) for red, green, blue in numbers)
    printer = PrinterMap(2, rows, 1.0, 0.3, 24, 9.0, 2.0, "ab")
    patch = rng.integers(0, 256, (8, 8, 3), np.uint8)

    class Still(np.random.Generator):
        def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
            return np.full(size, (low + high) / 2)

    found = mapped(torch.from_numpy(patch).permute(2, 0, 1).float(), printer, Still(np.random.PCG64()))
    assert np.abs(found.permute(1, 2, 0).numpy() - printer(patch)).max() < 0.01


def test_stickers_bends_and_areas_change_the_view_and_have_gradients(tmp_path: Path) -> None:
    order = _order(tmp_path, more_centers=((0.2, -0.2),), center=(-0.2, -0.2), bend=0.05)
    scenes = order.scenes(1, "square")
    view = scenes.draw(np.random.default_rng(3))
    assert len(view.stickers) == 1 and len(view.bents) == 2 and view.object_box is not None
    patch = torch.full((3, 16, 32), 128.0, requires_grad=True)
    mask = torch.ones(16, 16)
    frame = photographed(patch, mask, view, np.random.default_rng(0))
    frame.sum().backward()
    assert patch.grad is not None
    halves = patch.grad[:, :, :16].abs().sum(), patch.grad[:, :, 16:].abs().sum()
    assert min(halves) > 0
    corners = view.corners
    flat = pasted(torch.zeros(3, *SIZE[::-1]), patch.detach()[:, :, :16], mask, corners)
    bent = pasted(torch.zeros(3, *SIZE[::-1]), patch.detach()[:, :, :16], mask, corners, view.bents[0])
    assert not torch.equal(flat, bent) and float((bent > 0).sum()) == pytest.approx(float((flat > 0).sum()), rel=0.4)
    spread = _order(tmp_path, within=(-0.2, -0.1, 0.2, 0.1)).scenes(1, "square")
    places = np.array([spread._places(np.random.default_rng(k))[0].center_mm for k in range(30)])
    assert np.abs(places[:, 0]).max() <= 30 and np.ptp(places[:, 0]) > 30 and np.abs(places[:, 1]).max() <= 15


def test_a_patch_that_leaves_the_object_is_refused_unless_it_stands_beside(tmp_path: Path) -> None:
    for mount in ("sheet", "on"):
        with pytest.raises(InputError, match="stick out of the object"):
            _order(tmp_path, mount, center=(0.9, 0.0)).overlays("square")
    with pytest.raises(InputError, match="stick out"):
        _order(tmp_path, "on", within=(-0.2, 0.0, 0.6, 0.0)).overlays("square")
    assert _order(tmp_path, center=(0.9, 0.0)).overlays("square")[0].center_mm == (135.0, 0.0)
    for far in (9.0, float("nan")):
        with pytest.raises(InputError, match="three sides"):
            _order(tmp_path, center=(far, 0.0)).overlays("square")
    with pytest.raises(InputError, match="nothing below it"):
        _order(tmp_path, center=(0.9, 0.0)).covered("square", 16)


def test_a_patch_in_a_paper_that_hangs_on_the_object_is_a_square(tmp_path: Path) -> None:
    for shape in ("round", "ring", "stickers"):
        with pytest.raises(InputError, match="leave --shape out"):
            _order(tmp_path, "on").overlays(shape)
        assert _order(tmp_path, "beside").overlays(shape)[0].shape == shape


def test_what_at_says() -> None:
    assert placement([], (0.0, 0.07)).centers == ((0.0, 0.07),)
    assert placement(["0.1,0", "-0.1,0"], (0, 0)).centers == ((0.1, 0.0), (-0.1, 0.0))
    assert placement(["search"], (0, 0)).search and placement(["area:-1,-1,1,1"], (0, 0)).within == (-1, -1, 1, 1)
    for bad in (["search", "0,0"], ["area:1,2"], ["area:1,0,0,1"], ["middle"]):
        with pytest.raises(InputError, match="--at"):
            placement(bad, (0, 0))


def test_naturalness_pulls_the_patch_towards_what_it_covers(tmp_path: Path) -> None:
    order = _order(tmp_path)
    covered = order.covered("square", 16)
    assert covered[8, 8, 0] > 2 * covered[8, 8, 1]  # the red of the sign

    def indifferent(frames: Any, views: Any) -> tuple[Any, Any]:
        return torch.zeros(()), torch.zeros(1, dtype=torch.bool)

    recipe = Recipe(None, steps=25, batch=1, resolution=16, smoothness=0, printability=0, naturalness=0.05)
    scenes = order.scenes(1, "square")
    far, near = (
        np.abs(optimized(indifferent, scenes, one, None, "", covered=below).astype(int) - covered).mean()
        for one, below in ((replace(recipe, naturalness=0.0), None), (recipe, covered))
    )
    assert near < 0.4 * far


@pytest.mark.full
def test_the_best_place_is_found(tmp_path: Path) -> None:
    """Against a loss that falls the further right a patch lies."""
    order = _order(tmp_path, search=True)
    centers = possible_centers(order)
    assert len(centers) > 9 and max(abs(x) + abs(y) for x, y in centers) < 0.75  # not in the cut corners

    def rightmost(frames: Any, views: Any) -> tuple[Any, Any]:
        places = [float((view.corners[:, 0].mean() - view.object_box[0]) / 40) for view in views]
        return -torch.tensor(places).mean() + 0 * frames.sum(), torch.zeros(len(views), dtype=torch.bool)

    found = searched(order, rightmost, 1, Recipe(None, steps=15, batch=1, resolution=8))
    assert found.center[0] == max(x for x, _ in centers) and len(found.tried) == 3


def test_a_patch_for_an_object_from_photograph_to_sheet(tmp_path: Path) -> None:
    order = _order(tmp_path, more_centers=((0.2, -0.2),), center=(-0.2, -0.2))
    made = make(order, Recipe(None, steps=3, batch=1, resolution=16), tmp_path / "p")
    about, picture = read_patch(tmp_path / "p")
    assert about == made.about and picture.shape == (16, 32, 3) and (tmp_path / "p" / OBJECT_PICTURE).exists()
    assert about.side_share == pytest.approx(0.05**0.5) and about.object == "my sign"
    subject = patch_subject(tmp_path / "p", about)
    assert subject is not None
    sheet, _ = made_sheet(subject, "patch", patch=tmp_path / "p")
    assert sheet.label == "stop" and sheet.target == "yield" and len(sheet.overlays) == 2
    state = json.loads((tmp_path / "p" / "patch.json").read_text())
    assert state["more_centers"] == [[0.2, -0.2]] and "printer_sha256" not in state
    with pytest.raises(InputError, match="other settings"):
        make(replace(order, bend=0.02), Recipe(None, steps=3, batch=1, resolution=16), tmp_path / "p")


def test_a_detector_wants_to_be_told_what_the_patch_does(tmp_path: Path) -> None:
    order = replace(_order(tmp_path), model=ASSETS / "detector.tflite")
    with pytest.raises(InputError, match="is a detector: say what the patch shall do: --mode vanish"):
        make(order, Recipe(1), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_paper_that_hides_its_object_is_doubted(tmp_path: Path) -> None:
    small = sign_subject(tmp_path, "on", side_mm=50.0)
    (line,) = replace(_order(tmp_path, "on"), subject=small).doubts("square")
    assert "covers" in line and not _order(tmp_path, "on").doubts("square") and not _order(tmp_path).doubts("square")
