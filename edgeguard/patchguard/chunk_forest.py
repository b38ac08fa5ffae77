"""Chunks that an isolation forest finds odd, after the idea of PatchBlock (arXiv 2601.00367)."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.patchguard.base import Guarded, Image
from edgeguard.patchguard.entropy import filled

_EULER = 0.5772156649


@dataclass(frozen=True, kw_only=True)
class ChunkForest:
    """An isolation forest over an image's own chunks; the odd ones among the busy ones are filled.

    PatchBlock cuts the frame into chunks, isolates the outliers with an isolation forest and takes the detail out of
    them (dimensionality reduction). Here each chunk is described by the means and deviations of its colours and of its
    gradients; outliers are filled from their surroundings.

    Attributes:
        chunk: side in pixels.
        trees, sample: of the forest (Liu, Ting and Zhou 2008).
        score: anomaly score 0..1 above which a chunk is odd.
        largest: share of chunks that may be odd; where more are, none is.
        seed: of the forest: same image, same result.

    Limits: it looks for what differs from the rest of the picture: a small sign in a plain wall is odd as well; a patch
    among patches is not.
    """

    chunk: int = 16
    trees: int = 60
    sample: int = 64
    score: float = 0.55
    largest: float = 0.3
    seed: int = 0
    name: str = "chunks"

    def __call__(self, image: Image) -> Guarded:
        """See `PatchGuard`."""
        features = self._features(image)
        rows, columns = features.shape[:2]
        scores = isolation_scores(features.reshape(rows * columns, -1), self.trees, self.sample, self.seed)
        activity = features[:, :, -1]
        odd = (scores.reshape(rows, columns) > self.score) & (activity > np.median(activity))
        if odd.mean() > self.largest:
            odd[:] = False
        suspect = np.kron(odd, np.ones((self.chunk, self.chunk), bool))[: image.shape[0], : image.shape[1]]
        return Guarded(filled(image, suspect) if suspect.any() else image, suspect)

    def _features(self, image: Image) -> NDArray[np.float32]:
        """(rows, columns, 7): of each chunk mean and deviation of each colour, and the mean gradient."""
        height, width = image.shape[:2]
        padded = cv2.copyMakeBorder(image, 0, -height % self.chunk, 0, -width % self.chunk, cv2.BORDER_REFLECT).astype(
            np.float32
        )
        gray = padded.mean(2)
        gradient = np.abs(np.gradient(gray, axis=0)) + np.abs(np.gradient(gray, axis=1))
        stack = np.concatenate([padded, gradient[:, :, None]], 2)
        rows, columns = stack.shape[0] // self.chunk, stack.shape[1] // self.chunk
        blocks = stack.reshape(rows, self.chunk, columns, self.chunk, 4)
        means, deviations = blocks.mean((1, 3)), blocks.std((1, 3))
        return np.asarray(np.concatenate([means[:, :, :3], deviations[:, :, :3], means[:, :, 3:]], 2), np.float32)


def isolation_scores(points: NDArray[np.float32], trees: int, sample: int, seed: int) -> NDArray[np.float64]:
    """Anomaly scores of an isolation forest, (n,), near 1 for outliers (Liu, Ting and Zhou 2008, equation 2).

    All trees grow together, one level at a time, on arrays: a node of a level is a number.
    """
    if len(points) < 2:
        return np.zeros(len(points))
    rng = np.random.default_rng(seed)
    sample = min(sample, len(points))
    depth_limit = int(np.ceil(np.log2(max(sample, 2))))
    drawn = np.argsort(rng.random((trees, len(points))), axis=1)[:, :sample]
    of_sample, of_all = np.zeros((trees, sample), np.int64), np.zeros((trees, len(points)), np.int64)
    depth = np.zeros((trees, len(points)))
    open_ = np.ones((trees, len(points)), bool)
    tree = np.arange(trees)[:, None]
    for level in range(depth_limit):
        nodes = 1 << level
        feature = rng.integers(0, points.shape[1], (trees, nodes))
        at = rng.random((trees, nodes))
        values = points[drawn, feature[tree, of_sample]]
        low, high = np.full((trees, nodes), np.inf), np.full((trees, nodes), -np.inf)
        np.minimum.at(low, (tree, of_sample), values)
        np.maximum.at(high, (tree, of_sample), values)
        splits = high > low
        cut = np.where(splits, low + at * (np.where(splits, high, 0) - np.where(splits, low, 0)), np.inf)
        counts = np.zeros((trees, nodes))
        np.add.at(counts, (tree, of_sample), 1)
        ends = open_ & ~splits[tree, of_all]
        depth[ends] = level + _average_path(counts[tree, of_all][ends])
        open_ &= ~ends
        of_sample = 2 * of_sample + (values >= cut[tree, of_sample])
        of_all = 2 * of_all + (points[np.arange(len(points))[None], feature[tree, of_all]] >= cut[tree, of_all])
    counts = np.zeros((trees, 1 << depth_limit))
    np.add.at(counts, (tree, of_sample), 1)
    depth[open_] = depth_limit + _average_path(counts[tree, of_all][open_])
    return np.asarray(2.0 ** (-depth.mean(0) / _average_path(np.array([sample]))[0]))


@cache
def _paths(most: int) -> NDArray[np.float64]:
    n = np.arange(most + 1, dtype=np.float64)
    paths = np.zeros(most + 1)
    paths[2:] = 2 * (np.log(n[2:] - 1) + _EULER) - 2 * (n[2:] - 1) / n[2:]
    return paths


def _average_path(counts: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Average length of an unsuccessful search in a tree of so many points (equation 1)."""
    return _paths(4096)[np.minimum(counts.astype(np.int64), 4096)]
