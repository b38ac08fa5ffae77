"""Features that need no training, and a linear classifier with a closed form: the audit's small net.

Filters are whitened patches of the images themselves, rectified and pooled over quarters (Coates, Ng and Lee, AISTATS
2011, which takes random patches nearly as good as learned filters). A linear classifier on them is fitted in seconds,
the same bytes for the same images, also five times over for probabilities that did not see their own label.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

_PATCH, _STRIDE, _FILTERS = 6, 2, 320
_PATCHES = 20_000  # that the whitening is estimated from
_BATCH = 250
_RIDGE = 0.03  # of the mean eigenvalue
_TEMPERATURES = np.geomspace(0.02, 2, 25)


@dataclass(frozen=True, eq=False)
class PatchFeatures:
    """Filters of one set of images; `features` applies them to any.

    Attributes:
        filters: (108, filters) whitened patches.
        mean: (108,) of the normalized patches.
        floor: what is taken off a filter's answer.
    """

    filters: torch.Tensor
    mean: torch.Tensor
    floor: float

    def features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, 32, 32, 3) to (n, 4 * filters): mean answers over the four quarters."""
        found = []
        for start in range(0, len(pixels), _BATCH):
            patches = _patches(pixels[start : start + _BATCH])
            n, places, _ = patches.shape
            answers = torch.relu((patches - self.mean) @ self.filters - self.floor)
            side = round(places**0.5)
            maps = answers.transpose(1, 2).reshape(n, -1, side, side)
            found.append(F.adaptive_avg_pool2d(maps, 2).flatten(1))
        return torch.cat(found).numpy()


def patch_features(pixels: NDArray[np.uint8], seed: int = 0) -> PatchFeatures:
    """Filters drawn from images, (n, 32, 32, 3)."""
    rng = np.random.default_rng([seed, 6])
    chosen = rng.permutation(len(pixels))[: max(_PATCHES // 196, 64)]
    patches = _patches(pixels[np.sort(chosen)]).flatten(0, 1)
    mean = patches.mean(0)
    centered = patches - mean
    values, vectors = torch.linalg.eigh(centered.T @ centered / len(patches))
    whiten = vectors @ torch.diag((values.clamp(min=0) + 0.1).rsqrt()) @ vectors.T
    white = centered @ whiten
    strong = torch.argsort(white.norm(dim=1), descending=True)[: len(white) // 2]  # flat patches say nothing
    rows = strong[torch.from_numpy(rng.permutation(len(strong))[:_FILTERS])]
    filters = F.normalize(white[rows], dim=1)
    answers = (white[:4000] @ filters.T).flatten()
    return PatchFeatures(whiten @ filters.T, mean, float(answers.std()) * 0.5)


def _patches(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """(n, places, 108): each patch with mean 0 and deviation 1 (Coates et al., section 3.1.1)."""
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
    patches = F.unfold(x, _PATCH, stride=_STRIDE).transpose(1, 2)
    patches = patches - patches.mean(2, keepdim=True)
    return patches / (patches.var(2, keepdim=True, unbiased=False) + 10).sqrt()


@dataclass(frozen=True, eq=False)
class Linear:
    """A one-against-rest linear classifier.

    Attributes:
        mean, scale: of the features, (d,).
        weights: (d + 1, classes); the last row is the bias.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, classes), about 1 for the class and 0 for others."""
        x = (features - self.mean) / self.scale
        return np.asarray(x @ self.weights[:-1] + self.weights[-1], np.float32)


def fit_linear(features: NDArray[np.float32], targets: NDArray[np.int64], classes: int) -> Linear:
    """Ridge regression onto one-hot targets, by the smaller of both Gram matrices."""
    mean, scale = features.mean(0), features.std(0) + 1e-3
    x = ((features - mean) / scale).astype(np.float32)
    y = np.eye(classes, dtype=np.float32)[targets]
    bias = y.mean(0)
    n, d = x.shape
    ridge = _RIDGE * float(np.square(x).sum()) / min(n, d) + 1e-3
    if d <= n:
        weights = np.linalg.solve(x.T @ x + ridge * np.eye(d, dtype=np.float32), x.T @ (y - bias))
    else:
        weights = x.T @ np.linalg.solve(x @ x.T + ridge * np.eye(n, dtype=np.float32), y - bias)
    return Linear(mean, scale, np.vstack([weights, bias]).astype(np.float32))


def out_of_sample_scores(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    classes: int,
    *,
    tracks: NDArray[np.int64] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Scores (n, classes) of each image by a classifier that was fitted without its fold.

    Args:
        features: (n, d).
        targets: (n,).
        classes: how many there are.
        tracks: (n,) images of one number show one thing, and stand in the same fold; None: each its own.
        folds: balanced over each class's tracks.
        seed: of the folds.
    """
    fold = np.empty(len(targets), np.int64)
    tracks = np.arange(len(targets)) if tracks is None else tracks
    rng = np.random.default_rng([seed, 7])
    for target in range(classes):
        rows = np.flatnonzero(targets == target)
        own, place = np.unique(tracks[rows], return_inverse=True)
        fold[rows] = (rng.permutation(len(own)) % folds)[place]
    scores = np.empty((len(targets), classes), np.float32)
    for number in range(folds):
        test = fold == number
        scores[test] = fit_linear(features[~test], targets[~test], classes).scores(features[test])
    return scores


def probabilities(scores: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Softmax of scores at the temperature whose likelihood of the labels is the highest (Guo et al. 2017)."""
    rows = np.arange(len(targets))
    likelihood = [
        float(np.log(_softmax(scores / temperature)[rows, targets] + 1e-12).mean()) for temperature in _TEMPERATURES
    ]  # one after the other: together they were 25 times the scores
    return _softmax(scores / _TEMPERATURES[int(np.argmax(likelihood))])


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    x = scores.astype(np.float64)
    e = np.exp(x - x.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True), np.float64)
