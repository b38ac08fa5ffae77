"""Checks 2: the same picture twice: in a class, in two classes, in training and test."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.audit.findings import Finding, Suspect, ranked
from edgeguard.audit.images import Sample
from edgeguard_converters.training_data.scan import ScannedImage, is_test

#: Bits of 64 in which perceptual hashes of one picture differ at most.
RADIUS = 6
#: Up to so many bits a pair is a candidate, and the pictures themselves decide.
WIDE_RADIUS = 18
_CORRELATION = 0.95
_SHIFTS = 2  # pixels of 32
_BLOCK = 512
_COMPARED = 1 << 24  # pairs of hashes at a time
_MOST_CANDIDATES = 2_000_000
_MOST_OF_ONE = 20  # earlier pictures that one is compared with, where the candidates are more
_NAMED = 5


@dataclass(frozen=True)
class Pair:
    """Two images that look alike; `second` is the later name."""

    first: int
    second: int
    alike: float


def exact_duplicates(images: Sequence[ScannedImage], limits: dict[str, float]) -> list[Finding]:
    """Images of equal pixels, whatever their files: within a class, across classes, across training and test."""
    groups: dict[str, list[ScannedImage]] = defaultdict(list)
    for image in images:
        if image.facts.pixels_sha256 is not None:
            groups[image.facts.pixels_sha256].append(image)
    copies, conflicts, leaks = [], [], []
    for same in groups.values():
        if len(same) == 1:
            continue
        first = same[0]
        if len({image.label for image in same}) > 1:
            others = _named(sorted({str(image.label) for image in same}))
            conflicts += [Suspect(image.name, 1.0, f"the same picture in classes {others}") for image in same]
        if len({image.is_test for image in same}) > 1:
            trained = next(image for image in same if not image.is_test)
            leaks += [Suspect(image.name, 1.0, f"is {trained.name}") for image in same if image.is_test]
        copies += [Suspect(image.name, 1.0, f"is {first.name}") for image in same[1:] if image.label == first.label]
    return [
        _counted("duplicates", "are copies of another one", copies, len(images), limits["duplicates"], share=True),
        _counted("label-conflicts", "stand in two classes", conflicts, len(images), limits["label-conflicts"]),
        _counted("leaks", "of the test part stand in the training part", leaks, len(images), limits["leaks"]),
    ]


def near_duplicates(sample: Sample, hashes: NDArray[np.uint64], threshold: float) -> Finding:
    """Pictures that look alike without being equal: coded anew, moved by a pixel, a little lighter.

    Perceptual hashes within `RADIUS` bits, or within `WIDE_RADIUS` where the pictures, moved against each other by up
    to two pixels, correlate at 0.95 as well.

    Args:
        sample: the images.
        hashes: (n,) perceptual hash of each.
        threshold: share that passes.
    """
    pairs = near_pairs(sample.pixels, hashes)
    suspects: dict[int, Suspect] = {}
    conflicts = leaks = 0
    for pair in pairs:
        one, other = sample.names[pair.first], sample.names[pair.second]
        across = sample.targets[pair.first] != sample.targets[pair.second]
        leak = is_test(one) != is_test(other)
        conflicts += int(across)
        leaks += int(leak)
        where = " in another class" if across else ""
        where += " (training and test)" if leak else ""
        if pair.second not in suspects or suspects[pair.second].score < pair.alike:
            suspects[pair.second] = Suspect(other, pair.alike, f"looks like {one}{where}")
    share = len(suspects) / max(len(sample), 1)
    says = (
        f"{len(suspects)} of {len(sample)} images look like an earlier one; {conflicts} pairs across classes, "
        f"{leaks} across training and test"
    )
    return Finding("near-duplicates", says, share, threshold, ranked(list(suspects.values())))


def near_pairs(pixels: NDArray[np.uint8], hashes: NDArray[np.uint64]) -> list[Pair]:
    """Pairs of pictures that look alike and are not equal; see `near_duplicates`."""
    thumbs = _standardized(pixels)
    flat = pixels.reshape(len(pixels), -1)
    found: list[Pair] = []
    seen, taken = 0, np.zeros(len(hashes), np.int64)
    rows = max(min(_BLOCK, _COMPARED // max(len(hashes), 1)), 1)
    for start in range(0, len(hashes), rows):
        others = np.arange(start, len(hashes))
        if seen > _MOST_CANDIDATES:
            others = others[taken[start:] < _MOST_OF_ONE]
        apart = np.bitwise_count(hashes[start : start + rows, None] ^ hashes[None, others])
        first, place = np.nonzero(apart <= WIDE_RADIUS)
        close = apart[first, place] <= RADIUS
        first, second = first + start, others[place]
        keep = second > first
        seen += int(keep.sum())
        if seen > _MOST_CANDIDATES:  # pictures that all look alike: only the hash decides, and few are looked at
            keep &= close
            keep[keep] = taken[second[keep]] + _place_among_equals(second[keep]) < _MOST_OF_ONE
        first, second, close = first[keep], second[keep], close[keep]
        taken += np.bincount(second, minlength=len(hashes))
        for low in range(0, len(first), 4096):
            a, b = first[low : low + 4096], second[low : low + 4096]
            alike = _best_correlation(thumbs, a, b)
            same = (flat[a] == flat[b]).all(1)
            good = ((alike >= _CORRELATION) | close[low : low + 4096]) & ~same
            found += [Pair(int(a[i]), int(b[i]), float(alike[i])) for i in np.flatnonzero(good)]
    return found


def _named(labels: list[str]) -> str:
    """Some classes; all of them may be thousands."""
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return ", ".join(labels[:_NAMED]) + more


def _place_among_equals(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each value: how many equal ones stand before it.

    Example:
        >>> _place_among_equals(np.array([7, 5, 7, 7])).tolist()
        [0, 0, 1, 2]
    """
    order = np.argsort(values, kind="stable")
    begins = np.flatnonzero(np.diff(values[order], prepend=-1))
    lengths = np.diff(begins, append=len(values))
    found = np.empty(len(values), np.int64)
    found[order] = np.arange(len(values)) - np.repeat(begins, lengths)
    return found


def _standardized(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    luma = np.empty(pixels.shape[:3], np.float32)
    for start in range(0, len(pixels), _BLOCK):  # all at once as numbers with a point would be twelve times the pixels
        luma[start : start + _BLOCK] = pixels[start : start + _BLOCK].astype(np.float32) @ weights
    return luma - luma.mean((1, 2), keepdims=True)


def _best_correlation(
    thumbs: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The highest correlation over shifts, of the pictures without the border that a shift would need."""
    s = _SHIFTS
    side = thumbs.shape[1]
    inner = _unit(thumbs[first][:, s : side - s, s : side - s])
    others = thumbs[second]
    best = np.full(len(first), -1.0, np.float32)
    for down in range(2 * s + 1):
        for right in range(2 * s + 1):
            moved = _unit(others[:, down : side - 2 * s + down, right : side - 2 * s + right])
            best = np.maximum(best, np.einsum("nij,nij->n", inner, moved))
    return best


def _unit(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    centered = pictures - pictures.mean((1, 2), keepdims=True)
    length = np.sqrt(np.square(centered).sum((1, 2), keepdims=True))
    found: NDArray[np.float32] = centered / np.maximum(length, 1e-6)
    return found


def _counted(
    check: str, what: str, suspects: list[Suspect], total: int, threshold: float, share: bool = False
) -> Finding:
    value = len(suspects) / total if share else float(len(suspects))
    return Finding(
        check, f"{len(suspects)} of {total} images {what}", value, threshold, ranked(suspects), len(suspects)
    )
