import hashlib
from collections import Counter
from typing import cast

import numpy as np
import pytest

from edgeguard.smoothing.integer_noise import IntegerNoise, weights

ALL = 1 << 64


@pytest.mark.parametrize("sigma", [0.005, 0.25, 1.0])
def test_weights_are_the_normals_probabilities(sigma: float) -> None:
    normal = pytest.importorskip("scipy.stats").norm(0, 255 * sigma)
    found = weights(sigma)
    assert len(found) == 511 and sum(found) == ALL and found == found[::-1]
    edges = np.arange(-254.5, 255)
    wanted = np.diff(np.concatenate([[0.0], normal.cdf(edges[edges < 0]), normal.cdf(edges[edges > 0]), [1.0]]))
    assert np.abs(np.array([weight / ALL for weight in found]) - wanted).max() < 1e-15


@pytest.mark.parametrize("sigma", [0.02, 0.25])
def test_the_table_holds_exactly_the_weights(sigma: float) -> None:
    noise = IntegerNoise(sigma)
    held: Counter[int] = Counter()
    for column, (limit, other) in enumerate(zip(noise._limits.tolist(), noise._alias.tolist(), strict=True)):
        held[column] += limit
        held[cast(int, other)] += ALL // 512 - limit
    assert [held[column] for column in range(511)] == weights(sigma)
    assert held[511] == 0


def test_draws_follow_the_weights() -> None:
    chi2 = pytest.importorskip("scipy.stats").chi2
    count, sigma = 1_000_000, 0.1
    drawn = IntegerNoise(sigma)(count, np.random.default_rng(1))
    expected = np.array([weight / ALL for weight in weights(sigma)]) * count
    seen = np.bincount(drawn.astype(int) + 255, minlength=511)
    often = expected > 5
    statistic = float((((seen - expected) ** 2) / np.maximum(expected, 1e-9))[often].sum())
    assert chi2.sf(statistic, int(often.sum()) - 1) > 1e-3


def test_noise_on_an_image_is_clipped_and_the_same_everywhere() -> None:
    image = np.full((16, 16, 3), 250, np.uint8)
    noisy = IntegerNoise(0.25).on(image, np.random.default_rng(3))
    assert noisy.dtype == np.uint8 and noisy.max() == 255 and (noisy == 255).mean() > 0.4
    digest = hashlib.sha256(noisy.tobytes()).hexdigest()
    assert digest == hashlib.sha256(IntegerNoise(0.25).on(image, np.random.default_rng(3)).tobytes()).hexdigest()
