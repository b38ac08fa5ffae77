import json
from pathlib import Path

import numpy as np
import pytest
from commands import here

from edgeguard.evaluate.experiments.trust import question_answer_trust, trust_of_scores

LABELS = ("cat", "dog", "truck")


def test_four_images_by_hand() -> None:
    truth = np.array([0, 0, 1, 2])
    scores = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.0, 1.0, 0.0], [0.7, 0.1, 0.2]], np.float32)
    found = trust_of_scores(LABELS, truth, scores)
    assert found.trust == pytest.approx([0.8, 0.4, 1.0, 0.3], abs=1e-6)
    assert found.net == pytest.approx((0.8 + 0.4 + 1.0 + 0.3) / 4, abs=1e-6) and found.accuracy == 0.5
    assert list(found.spectrum()) == [2, 0, 1]  # truck .3, cat .6, dog 1
    assert list(found.spectrum()[0]) == [pytest.approx(0.6), 2]
    assert list(found.matrix()[0, 1]) == [pytest.approx(0.4), 1]
    assert list(found.matrix()[2, 0]) == [pytest.approx(0.3), 1]
    assert "truck taken for cat, 1 times" in found.lines()[4]


@pytest.mark.parametrize(("right", "score"), [(True, 1.0), (False, 0.0)])
def test_always_right_or_wrong_and_sure(right: bool, score: float) -> None:
    sure = np.tile(np.array([1.0, 0.0, 0.0], np.float32), (6, 1))
    found = trust_of_scores(LABELS, np.full(6, 0 if right else 1), sure)
    assert found.net == score and found.net_interval == (score, score)


def test_exponents() -> None:
    assert question_answer_trust(np.array([0.5, 0.5]), np.array([True, False]), 2, 3).tolist() == [0.25, 0.125]


def test_a_density_has_the_integral_one() -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(3), 200).astype(np.float32)
    found = trust_of_scores(LABELS, np.zeros(200, np.int64), scores)
    density = found.density(0)
    assert float(((density[1:] + density[:-1]) / 2).mean()) == pytest.approx(1, abs=0.02) and density.min() >= 0


def test_the_command(card_model: Path, card_images: Path, tmp_path: Path) -> None:
    done = here("evaluate", "trust", card_model, "--images", card_images, "--output", tmp_path / "t")
    assert done.returncode == 0 and done.stdout.startswith("NetTrustScore 0."), done.stderr
    told = json.loads((tmp_path / "t" / "trust.json").read_text())
    assert sum(cell["n"] for cell in told["matrix"]) == told["n"] == sum(c["n"] for c in told["spectrum"])
    assert 0.5 < told["net_trust_score"] <= 1
