"""How long a matrix takes at most, before it starts."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgeguard.evaluate.engine.trained_target import TrainedTarget  # noqa: E402
from edgeguard.evaluate.experiments import matrix_forecast  # noqa: E402
from edgeguard.evaluate.experiments.matrix_forecast import seconds_ahead  # noqa: E402
from edgeguard.evaluate.experiments.matrix_jobs import WHITE, AttackCosts, MatrixJob, MatrixTask  # noqa: E402


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> MatrixJob:
    """Ten clean images; a query takes 1 s and a gradient 2 s behind any codec."""
    monkeypatch.setattr(matrix_forecast, "_timed", lambda target, codec, job: matrix_forecast._Seconds(1.0, 2.0))
    target = TrainedTarget("a", torch.nn.Identity(), "0")
    return MatrixJob(
        target=target, maker=target, task=MatrixTask("a", "fd", "clean"),
        costs=AttackCosts(steps=4, queries=20, seed=0, batch=10), start=0,
        pixels=np.zeros((10, 8, 8, 3), np.uint8), labels=np.zeros(10, np.int64), images="i",
    )  # fmt: skip


def test_images_times_what_an_attack_asks(job: MatrixJob) -> None:
    fgsm = replace(job, task=MatrixTask("a", "fd", "fgsm", 4.0))
    assert seconds_ahead([], 2) == 0
    assert seconds_ahead([job], 1) == pytest.approx(10)
    assert seconds_ahead([fgsm], 1) == pytest.approx(30), "a gradient without the codec, a query behind it"
    assert seconds_ahead([job, fgsm], 1) == pytest.approx(40)
    assert seconds_ahead([job, fgsm], 2) == pytest.approx(20 + 15), "a job is not shared between cores"


def test_adaptive_attacks_are_the_sum_of_all(job: MatrixJob) -> None:
    known = replace(job, task=MatrixTask("a", "fd", WHITE, 4.0, True))
    bare = replace(job, task=MatrixTask("a", "none", WHITE, 4.0, True))
    harder = replace(known, costs=replace(job.costs, steps=8))
    assert seconds_ahead([known], 1) > seconds_ahead([bare], 1) > 100
    more = seconds_ahead([harder], 1) - seconds_ahead([known], 1)
    assert more == pytest.approx(10 * 2 * 4 * (4 + 4 + 1)), "PGD four ways, the lattice attack's restarts, DCT-PGD"


def test_networks_are_timed(job: MatrixJob) -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 3))
    found = matrix_forecast._timed(TrainedTarget("n", net, "1"), "none", job)
    assert found.query >= 0 and found.gradient >= 0
