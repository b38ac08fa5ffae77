import itertools

import numpy as np
import pytest

from edgeguard.audio_training.kmeans import along_gray_codes, distortion, fit_codebook, k_means, tour


def _blocks(n: int = 4_000) -> np.ndarray:
    """Blocks as features give them: correlated levels around a middle, a few loud ones."""
    rng = np.random.default_rng(5)
    mean = 128 + 40 * rng.standard_t(3, (n, 1))
    return np.clip(np.rint(mean + rng.normal(0, 15, (n, 4))), 0, 255).astype(np.uint8)


@pytest.mark.full
def test_the_distortion_is_that_of_scikit_learn() -> None:
    from sklearn.cluster import MiniBatchKMeans

    blocks = _blocks(20_000)
    ours = min(distortion(blocks, k_means(blocks, 16, seed)) for seed in range(3))
    theirs = min(
        MiniBatchKMeans(16, batch_size=4096, n_init=3, random_state=seed).fit(blocks.astype(float)).inertia_
        / len(blocks)
        for seed in range(3)
    )
    assert ours <= 1.02 * theirs


def test_words_that_follow_each_other_on_the_tour_differ_in_one_bit() -> None:
    words = np.random.default_rng(0).uniform(0, 255, (16, 4))
    placed = along_gray_codes(words)
    ranks = [int(np.flatnonzero((placed == word).all(1))[0]) for word in words]
    assert all(bin(a ^ b).count("1") == 1 for a, b in itertools.pairwise(ranks))


def test_the_tour_is_shorter_than_the_order_that_k_means_gives() -> None:
    words = k_means(_blocks(), 16, 0)

    def length(order: np.ndarray) -> float:
        return float(np.linalg.norm(np.diff(words[order], axis=0), axis=1).sum())

    order = tour(words)
    assert sorted(order.tolist()) == list(range(16))
    assert order[0] == words.sum(1).argmin() or length(order) < length(np.arange(16))
    assert length(order) < 0.8 * length(np.arange(16))


def test_both_orders_hold_the_same_words() -> None:
    blocks = _blocks()
    by_tour, by_chance = (fit_codebook(blocks, 16, order=order, seed=1) for order in ("tour", "kmeans"))
    assert sorted(map(tuple, by_tour.words)) == sorted(map(tuple, by_chance.words))
    assert by_tour != by_chance


def test_the_same_seed_gives_the_same_codebook() -> None:
    blocks = _blocks(3000)
    assert fit_codebook(blocks, 8, seed=3) == fit_codebook(blocks, 8, seed=3)
    assert fit_codebook(blocks, 8, seed=3) != fit_codebook(blocks, 8, seed=4)


def test_few_different_blocks_are_no_trouble() -> None:
    blocks = np.zeros((100, 4), np.uint8)
    assert fit_codebook(blocks, 4).words.shape == (4, 4)
