"""Codewords for blocks of features: mini-batch k-means, and the order in which its words are numbered.

The bits of a codeword's number are what a network of codes sees. In the order that k-means happens to give them they
mean nothing. Numbered along a tour of nearest neighbors and Gray-coded, words that follow each other differ in one bit.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio.codebook import Codebook

Order = Literal["tour", "kmeans"]
Words = NDArray[np.float64]

_FIRST = 100_000  # blocks for the first words
_BATCH = 4096
_LEAST_CHANGE = 1e-4  # of the words' energy, between two rounds of batches
_MOST_STEPS = 300
_MOST_ROUNDS = 40
_DRAWS = 5  # candidates for each word of the start
_CHECK_EVERY = 10  # steps
_IDLE = 0.01  # of an even share: a word that gets less is put elsewhere


def fit_codebook(blocks: NDArray[np.uint8], count: int, *, order: Order = "tour", seed: int = 0) -> Codebook:
    """A codebook for blocks.

    Args:
        blocks: uint8 (n, 4), at least as many different ones as words.
        count: of words, a power of two up to 256.
        order: how they are numbered.
        seed: of everything random.
    """
    words = k_means(blocks, count, seed)
    if order == "tour":
        words = along_gray_codes(words[tour(words)])
    return Codebook(np.clip(np.rint(words), 0, 255).astype(np.uint8))


def k_means(blocks: NDArray[np.uint8], count: int, seed: int) -> Words:
    """Words that hold blocks with little distortion, float64 (count, d).

    Mini-batch k-means (Sculley 2010) from a k-means++ start (Arthur and Vassilvitskii 2007, the best of a few draws for
    each word), then whole rounds over the first 100,000 blocks until they change nothing worth a round.
    """
    rng = np.random.default_rng(seed)
    some = blocks[rng.permutation(len(blocks))[:_FIRST]].astype(np.float64)
    words = _spread(some, count, rng)
    seen = np.zeros(count)
    before = words.copy()
    for step in range(1, _MOST_STEPS + 1):
        batch = blocks[rng.integers(0, len(blocks), min(_BATCH, len(blocks)))].astype(np.float64)
        nearest = _distances(batch, words).argmin(1)
        hits = np.bincount(nearest, minlength=count)
        sums = np.zeros_like(words)
        np.add.at(sums, nearest, batch)
        seen += hits
        moved = hits > 0
        words[moved] += (sums[moved] - hits[moved, None] * words[moved]) / seen[moved, None]
        if step % _CHECK_EVERY == 0:
            change = float(((words - before) ** 2).sum() / max((words**2).sum(), 1e-12))
            idle = seen < _IDLE * seen.sum() / count
            if change < _LEAST_CHANGE and not idle.any():
                break
            words[idle] = batch[rng.integers(0, len(batch), int(idle.sum()))]
            seen[idle] = 0
            before = words.copy()
    return _settled(some, words)


def _settled(blocks: Words, words: Words) -> Words:
    """Lloyd's rounds: each word becomes the mean of its blocks. One without blocks stays where it is."""
    last = np.inf
    for _ in range(_MOST_ROUNDS):
        distances = _distances(blocks, words)
        nearest = distances.argmin(1)
        now = float(distances[np.arange(len(blocks)), nearest].mean())
        if not now < last * (1 - _LEAST_CHANGE):
            break
        last = now
        hits = np.bincount(nearest, minlength=len(words))
        sums = np.stack([np.bincount(nearest, axis, len(words)) for axis in blocks.T], 1)
        words = np.where(hits[:, None] > 0, sums / np.maximum(hits, 1)[:, None], words)
    return words


def distortion(blocks: NDArray[np.uint8], words: Words) -> float:
    """Mean squared distance of a block from its nearest word."""
    return float(np.mean([_distances(part.astype(np.float64), words).min(1).mean() for part in _parts(blocks)]))


def tour(words: Words) -> NDArray[np.int64]:
    """An order of words in which neighbors are near: always to the nearest one left, then 2-opt.

    It begins at the word with the least sum and is a path, not a circle.
    """
    between = np.sqrt(np.maximum(_distances(words, words), 0))
    path, left = [int(words.sum(1).argmin())], set(range(len(words)))
    left.discard(path[0])
    while left:
        there = sorted(left)
        path.append(there[int(between[path[-1], there].argmin())])
        left.discard(path[-1])
    order = np.array(path)
    improved = True
    while improved:
        improved = False
        for first in range(1, len(order) - 1):
            for last in range(first + 1, len(order)):
                behind = order[last + 1] if last + 1 < len(order) else None
                old = between[order[first - 1], order[first]] + (0 if behind is None else between[order[last], behind])
                new = between[order[first - 1], order[last]] + (0 if behind is None else between[order[first], behind])
                if new < old - 1e-9:
                    order[first : last + 1] = order[first : last + 1][::-1].copy()
                    improved = True
    return order


def along_gray_codes(words: Words) -> Words:
    """Words in the order of a tour, each at the place r ^ (r >> 1) of its rank r: next to each other, one bit apart."""
    placed = np.empty_like(words)
    ranks = np.arange(len(words))
    placed[ranks ^ (ranks >> 1)] = words
    return placed


def _spread(blocks: Words, count: int, rng: np.random.Generator) -> Words:
    """k-means++: each next word is a block, the best of a few drawn by their squared distance from the words so far."""
    words = blocks[rng.integers(len(blocks))][None].copy()
    nearest = _distances(blocks, words)[:, 0]
    while len(words) < count:
        total = nearest.sum()
        if total > 0:
            drawn = np.searchsorted(np.cumsum(nearest), rng.uniform(0, total, _DRAWS)).clip(0, len(blocks) - 1)
        else:
            drawn = rng.integers(0, len(blocks), 1)
        left = np.minimum(nearest[:, None], _distances(blocks, blocks[drawn]))
        best = int(left.sum(0).argmin())
        words, nearest = np.concatenate([words, blocks[drawn[best]][None]]), left[:, best]
    return words


def _distances(blocks: Words, words: Words) -> NDArray[np.float64]:
    """Squared distances (n, k)."""
    return np.maximum((blocks**2).sum(1)[:, None] + (words**2).sum(1) - 2 * blocks @ words.T, 0)


def _parts(blocks: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return np.array_split(blocks, max(len(blocks) // 500_000, 1))
