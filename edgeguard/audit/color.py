"""Check 6: tracks whose red and blue are swapped, told by what the rest of their class looks like."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.audit.findings import Finding, Suspect, ranked
from edgeguard.audit.images import Sample, tracks_of

_GRID = 6
_SHRINKAGE = 0.5
#: A score above this points at a track; on clean traffic signs 1.3 % are above it.
SUSPECT_ABOVE = 0.1
_SPREAD = 1.4826  # from a median absolute deviation to a standard deviation


def color_outliers(sample: Sample, threshold: float) -> Finding:
    """Tracks that fit their class better with red and blue exchanged.

    A track is the images of one folder whose names share what stands before the last `_` (frames of one thing seen);
    where names have none, an image. Its color is its chroma on a 6x6 grid, its class's the median over the other
    tracks, and distances are Mahalanobis distances by what varies within classes. Score: the logarithm of the ratio
    of both distances; above 0 the exchanged one is nearer.

    The other orders of the channels are not tried: with them a track in fifty of a clean set looks wrong before two
    thirds of the wrong ones do.
    """
    tracks = tracks_of(sample)
    grids = np.stack([mean_grid(sample.pixels[rows]) for rows in tracks.values()])
    targets = np.array([sample.targets[rows[0]] for rows in tracks.values()])
    scores = swap_scores(grids, targets)
    odd = int((scores > SUSPECT_ABOVE).sum())
    suspects = [
        Suspect(sample.names[image], float(score),
                f"fits class {sample.labels[target]} better with red and blue exchanged")
        for rows, score, target in zip(tracks.values(), scores, targets, strict=True)
        if score > SUSPECT_ABOVE
        for image in rows
    ]  # fmt: skip
    says = f"{odd} of {len(tracks)} tracks fit their class better with red and blue exchanged"
    return Finding("color", says, odd / len(tracks), threshold, ranked(suspects), len(suspects))


def swap_scores(grids: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) log ratio of a track's distance to its class and that of the track with red and blue exchanged.

    Args:
        grids: (n, side, side, 3) of each track.
        targets: (n,) their classes. A class of one track scores 0.
    """
    colors, exchanged = chroma(grids), chroma(grids[..., ::-1])
    middle = _medians_of_others(colors, targets)
    off = colors - middle
    spread = np.maximum(_SPREAD * np.median(np.abs(off), axis=0), 1e-4)
    within = np.clip(off, -2 * spread, 2 * spread)  # the wrong ones must not set the measure
    covariance = within.T @ within / len(within)
    diagonal = np.diag(np.diag(covariance))
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * diagonal + 1e-4 * np.eye(len(diagonal))
    precision = np.linalg.inv(shrunk)
    near, far = (np.einsum("ij,jk,ik->i", x, precision, x) for x in (exchanged - middle, off))
    return np.asarray(np.log((far + 1e-9) / (near + 1e-9)))


def mean_grid(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The mean picture of a track, (n, h, w, 3), at 6x6 pixels."""
    mean = pixels.astype(np.float64).mean(0)
    return np.asarray(cv2.resize(mean, (_GRID, _GRID), interpolation=cv2.INTER_AREA), np.float64)


def chroma(grids: NDArray[np.float64]) -> NDArray[np.float64]:
    """Color without brightness, (n, side, side, 3) to (n, 2 side side): red against blue, and green against both."""
    r, g, b = np.moveaxis(grids / np.maximum(grids.mean(-1, keepdims=True), 8), -1, 0)
    return np.concatenate([r - b, g - (r + b) / 2], axis=1).reshape(len(grids), -1)


def _medians_of_others(colors: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    found = np.array(colors)
    for target in np.unique(targets):
        rows = np.flatnonzero(targets == target)
        if len(rows) > 50:  # one of many moves the median by nothing that matters
            found[rows] = np.median(colors[rows], axis=0)
        elif len(rows) > 1:
            for place, row in enumerate(rows):
                found[row] = np.median(colors[np.delete(rows, place)], axis=0)
        else:
            found[rows] = (colors[rows] + chroma_exchanged(colors[rows])) / 2
    return found


def chroma_exchanged(colors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chroma of the same pictures with red and blue exchanged: red against blue changes its sign."""
    half = colors.shape[1] // 2
    return np.concatenate([-colors[:, :half], colors[:, half:]], axis=1)
