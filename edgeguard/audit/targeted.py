"""Checks 5: rankings of single files that somebody may have made for one purpose. None of them fails an audit.

A clean set has a top of each ranking as well: what stands there is to be looked at.
"""

import numpy as np
from numpy.typing import NDArray

from edgeguard.audit.findings import Finding, Suspect, ranked
from edgeguard.audit.images import Sample

_NEIGHBORS = 25
_COMPONENTS = 10
_BLOCK = 1000
_SHOWN = 200


def targeted(sample: Sample, features: NDArray[np.float32], probabilities: NDArray[np.float64]) -> list[Finding]:
    """All four rankings.

    Args:
        sample: the images.
        features: (n, d) of each.
        probabilities: (n, classes), out of sample.
    """
    scores = {
        "deep-knn": deep_knn(features, sample.targets),
        "spectral-signature": spectral_signature(features, sample.targets),
        "gradient-isolation": gradient_isolation(features, probabilities, sample.targets),
    }
    whys = {
        "deep-knn": "its nearest neighbors have other labels",
        "spectral-signature": "far out along its class's first direction",
        "gradient-isolation": "no other image of its class pulls the last layer the same way",
    }
    found = [_ranking(sample, check, values, whys[check]) for check, values in scores.items()]
    return [*found, _clusters(sample, features)]


def deep_knn(
    features: NDArray[np.float32], targets: NDArray[np.int64], neighbors: int = _NEIGHBORS
) -> NDArray[np.float64]:
    """Share of an image's nearest neighbors (cosine) that have another label (Peri et al. 2020)."""
    unit = _unit(_standardized(features))
    found = np.empty(len(unit))
    k = min(neighbors, len(unit) - 1)
    for start in range(0, len(unit), _BLOCK):
        alike = unit[start : start + _BLOCK] @ unit.T
        rows = np.arange(len(alike))
        alike[rows, start + rows] = -2
        near = np.argpartition(-alike, k - 1, axis=1)[:, :k]
        found[start : start + _BLOCK] = (targets[near] != targets[start : start + _BLOCK, None]).mean(1)
    return found


def spectral_signature(features: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Squared projection onto the first right singular vector of the class's centered features (Tran et al. 2018)."""
    found = np.zeros(len(features))
    for target in np.unique(targets):
        rows = np.flatnonzero(targets == target)
        centered = features[rows].astype(np.float64) - features[rows].mean(0)
        if len(rows) > 1:
            vectors = np.linalg.svd(centered, full_matrices=False)[2]
            found[rows] = np.square(centered @ vectors[0])
    return found


def gradient_isolation(
    features: NDArray[np.float32], probabilities: NDArray[np.float64], targets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """1 less the highest cosine between an image's last-layer gradient and another's of its class.

    The gradient of cross-entropy by the last layer is (p - y) times the features; its products are those of the two
    factors. What is isolated there drives the training alone (after Yang et al., ICML 2022).
    """
    residual = probabilities.copy()
    residual[np.arange(len(targets)), targets] -= 1
    unit_r, unit_f = _unit(residual.astype(np.float32)), _unit(_standardized(features))
    found = np.ones(len(targets))
    for target in np.unique(targets):
        rows = np.flatnonzero(targets == target)
        if len(rows) > 1:
            alike = (unit_r[rows] @ unit_r[rows].T) * (unit_f[rows] @ unit_f[rows].T)
            np.fill_diagonal(alike, -1)
            found[rows] = 1 - alike.max(1)
    return found


def activation_clusters(features: NDArray[np.float32]) -> tuple[NDArray[np.int64], float]:
    """Two clusters of one class's features on 10 independent components, and their silhouette (Chen et al. 2018)."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.decomposition import FastICA
    from sklearn.metrics import silhouette_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # components that do not converge are used as they are
        parts = FastICA(min(_COMPONENTS, len(features) - 1), random_state=0, max_iter=200).fit_transform(features)
    clusters = KMeans(2, n_init=4, random_state=0).fit_predict(parts)
    if len(set(clusters.tolist())) < 2:
        return clusters.astype(np.int64), 0.0
    return clusters.astype(np.int64), float(silhouette_score(parts, clusters, sample_size=1000, random_state=0))


def _clusters(sample: Sample, features: NDArray[np.float32]) -> Finding:
    suspects, best = [], (0.0, "none")
    for target, label in enumerate(sample.labels):
        rows = np.flatnonzero(sample.targets == target)
        if len(rows) <= 2 * _COMPONENTS:
            continue
        clusters, silhouette = activation_clusters(features[rows])
        best = max(best, (silhouette, label))
        small = int(np.bincount(clusters, minlength=2).argmin())
        share = float((clusters == small).mean())
        suspects += [
            Suspect(sample.names[row], silhouette * (1 - share), f"in the smaller cluster ({share:.0%}) of {label}")
            for row in rows[clusters == small]
        ]
    says = f"the class that falls most clearly into two is {best[1]}, silhouette {best[0]:.2f}"
    return Finding("activation-clusters", says, best[0], None, ranked(suspects))


def _ranking(sample: Sample, check: str, scores: NDArray[np.float64], why: str) -> Finding:
    order = np.argsort(-scores, kind="stable")[:_SHOWN]
    suspects = ranked([Suspect(sample.names[row], float(scores[row]), why) for row in order])
    top = float(scores[order[0]]) if len(order) else 0.0
    return Finding(check, f"a ranking: the first has {top:.3g}, the median {float(np.median(scores)):.3g}", top, None,
                   suspects)  # fmt: skip


def _standardized(features: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = (features - features.mean(0)) / (features.std(0) + 1e-3)
    return found


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return found
