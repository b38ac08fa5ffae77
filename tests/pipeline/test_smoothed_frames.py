"""`run --smooth`: the radius that noisy copies of each frame prove, and what they cost."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import here

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError
from edgeguard.guard.passes import Received
from edgeguard.model import load_model
from edgeguard.pipeline import Region
from edgeguard.scene.views import render, stand_in_views
from edgeguard.smoothing.frames import FrameSmoother


def _frame() -> np.ndarray:
    return render(next(view for view in stand_in_views(24) if view.card is not None), 160, 120)


def test_a_frame_gets_a_radius_and_the_budget_ends_the_copies() -> None:
    model, received = load_model(bundled_model()), Received(None, _frame(), "none")
    plain = FrameSmoother(model, None, sigma=0.005, draws=30)(received)
    assert plain.draws == 30 and plain.radius is not None and plain.label == model(_frame()).label
    assert plain.radius_levels == pytest.approx(255 * plain.radius, abs=0.01)
    short = FrameSmoother(model, None, sigma=0.005, draws=1_000_000, budget_ms=60)(received)
    assert short.draws < 1000 and short.ms < 1000
    assert FrameSmoother(model, Region(0, 0, 120, 120), sigma=0.005, draws=12)(received).draws == 12


def test_two_runs_do_not_draw_the_same_noise() -> None:
    model, received = load_model(bundled_model()), Received(None, _frame(), "none")
    counts = {FrameSmoother(model, None, sigma=0.3, draws=40)(received).count for _ in range(6)}
    assert len(counts) > 1


def test_too_few_copies_are_refused() -> None:
    with pytest.raises(InputError, match="--smooth 9 can prove no radius"):
        FrameSmoother(load_model(bundled_model()), None, sigma=0.25, draws=9)


def test_a_run_says_radius_and_cost(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), _frame()[:, :, ::-1])
    words = ["run", bundled_model(), "--source", tmp_path / "a.png", "--smooth", "12", "--smooth-sigma", "0.01"]
    done = here(*words, "--output", tmp_path / "r.jsonl")
    assert done.returncode == 0, done.stderr
    smoothed = json.loads((tmp_path / "r.jsonl").read_text())["smoothed"]
    assert set(smoothed) == {"label", "index", "radius", "radius_levels", "count", "draws", "ms"}
    assert smoothed["draws"] == 12 and "of 1 frames; 12 copies (median), p50" in done.stderr
    few = here("run", bundled_model(), "--source", tmp_path / "a.png", "--smooth", "5")
    assert few.returncode == 2 and "--smooth 5 can prove no radius" in few.stderr
