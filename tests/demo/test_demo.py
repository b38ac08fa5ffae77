"""The bundled assets follow from the code; the attacks keep their budgets; without torch the demo still runs."""

from pathlib import Path

import numpy as np
import pytest
from pictures import read_bgr

from edgeguard.demo import demo as story
from edgeguard.demo.answers import answer_undefended, classify_altered
from edgeguard.demo.assets import ASSETS, bundled_model, load_altered
from edgeguard.guard import GuardProfile, Sanitizer
from edgeguard.model import load_model
from edgeguard.scene.cards import CARDS, LABELS, draw_card
from edgeguard.scene.views import View, clip_views, random_view, render


def test_at_least_twelve_cards_that_differ() -> None:
    pictures = [draw_card(name) for name in CARDS]
    assert len(CARDS) >= 12 and all(p.shape == (512, 512, 3) for p in pictures)
    for i, first in enumerate(pictures):
        for second in pictures[:i]:
            assert np.abs(first.astype(int) - second).mean() > 5


def test_assets_stay_small() -> None:
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) < 3_000_000


def test_rendering_is_reproducible_and_the_clip_is_its_own_code_made() -> None:
    """Frames may differ by a level where another OpenCV rounds otherwise."""
    view = random_view(np.random.default_rng(4), "left")
    assert (render(view) == render(view)).all()
    clip = story.clip_frames()
    assert len(clip) == len(clip_views())
    for frame, expected in list(zip(clip, clip_views(), strict=True))[::5]:
        assert np.abs(frame.astype(int) - render(expected, 320, 240)).max() <= 2


def test_geometry_of_the_camera() -> None:
    """A card seen straight on covers 1 / (2 d tan(fov / 2)) of the picture's width."""
    view = View("stop", 4.0, 0, 0, 0, 0, 0, 3, noise=0, blur=0.3)
    bare = View(None, 4.0, 0, 0, 0, 0, 0, 3, noise=0, blur=0.3)
    changed = np.abs(render(view).astype(int) - render(bare)).max(axis=2) > 2
    columns = np.flatnonzero(changed.any(axis=0))
    assert columns[-1] - columns[0] + 1 == pytest.approx(640 / (2 * 4 * np.tan(np.deg2rad(31.1))), abs=4)


def test_altered_frames_keep_their_budgets_and_show_what_the_readme_says() -> None:
    model, clip = load_model(bundled_model()), story.clip_frames()
    sanitizer = Sanitizer(GuardProfile.preset("fd"))
    for altered in load_altered(clip):
        raw, passed = clip[altered.clip_index], sanitizer(clip[altered.clip_index])
        for picture, base, budget in (
            (altered.undefended, raw, altered.eps_8bit),
            (altered.two_pass, passed, altered.eps_8bit),
            (altered.adaptive, passed, altered.adaptive_eps_8bit),
        ):
            assert 0 < np.abs(picture.astype(int) - base).max() <= budget
        truth = LABELS.index(clip_views()[altered.clip_index].card or "")
        answers = {name: p.index == truth for name, p in classify_altered(model, raw, altered).items()}
        assert answers == {"clean": True, "undefended": False, "two_pass": True, "adaptive": False}


def test_without_torch_the_bundled_files_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(story, "_installed", lambda *_: False)
    rows = story.run_demo(tmp_path)
    assert [row.correct for row in rows] == [24, 24, 0, 3, 0]
    assert any("not installed" in line for line in said) and any("bundled altered frames" in line for line in said)
    assert {"demo.mp4", "contact-sheet.png", "results.json"} <= {p.name for p in tmp_path.iterdir()}
    assert read_bgr(tmp_path / "contact-sheet.png").size


@pytest.mark.convert
def test_the_attackers_network_is_the_models() -> None:
    import torch

    from edgeguard.demo.assets import bundled_program
    from edgeguard.demo.attack import NormalizedNetwork
    from edgeguard.differentiable.guard_layer import to_levels
    from edgeguard.evaluate.twin import Twin
    from edgeguard_converters.load.exported import load_exported

    model = load_model(bundled_model())
    network = NormalizedNetwork(load_exported(bundled_program()).module, model.contract)
    undefended = Twin(network, model.contract, "frame").undefended()
    for frame in story.clip_frames()[::6]:
        with torch.no_grad():
            label = int(undefended(to_levels(frame[None])).argmax())
        assert label == answer_undefended(model, frame).index


@pytest.mark.full
@pytest.mark.convert
def test_altered_frames_made_again_are_no_weaker_than_the_bundled_ones() -> None:
    from edgeguard.demo.attack import alter

    model, clip = load_model(bundled_model()), story.clip_frames()
    bundled = load_altered(clip)[0]
    truth = LABELS.index(clip_views()[bundled.clip_index].card or "")
    made = alter(model, clip[bundled.clip_index], bundled.clip_index, truth)
    assert made.eps_8bit <= bundled.eps_8bit and made.adaptive_eps_8bit <= bundled.adaptive_eps_8bit
    answers = {name: p.index == truth for name, p in classify_altered(model, clip[bundled.clip_index], made).items()}
    assert answers == {"clean": True, "undefended": False, "two_pass": True, "adaptive": False}


@pytest.mark.full
def test_clean_accuracy_in_every_bin_of_distance_and_angle() -> None:
    """98 % or more of 200 views in each bin, through two passes, by the deployed int8 model."""
    from functools import partial

    from edgeguard.demo.card_views import render_test_view, test_cells
    from edgeguard.system.workers import worker_pool

    model = load_model(bundled_model())
    with worker_pool() as pool:
        for cell in test_cells():
            views = list(pool.map(partial(render_test_view, cell, True), range(200), chunksize=25))
            right = sum(int(model.infer(pixels[None]).argmax()) == index for pixels, index in views)
            print(f"distance bin {cell[0]}, angle bin {cell[1]}: {right}/200")
            assert right >= 196, cell
