"""Checks 1: files that are broken or odd, and a coding that tells the class."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from edgeguard.audit.findings import Finding, Suspect, not_made, ranked
from edgeguard_converters.training_data.scan import ScannedImage

_TINY = 8  # pixels


def broken_files(images: Sequence[ScannedImage], threshold: float) -> Finding:
    """Files that do not decode, are tiny, or differ from most others in their channels.

    The figure is the share of broken and tiny ones; other channels are listed below them.
    """
    common = Counter(image.facts.channels for image in images if image.facts.fault is None).most_common(1)
    usual = common[0][0] if common else None
    suspects, bad = [], 0
    for image in images:
        facts = image.facts
        if facts.fault is not None:
            suspects.append(Suspect(image.name, 3.0, facts.fault))
            bad += 1
        elif min(facts.width or 0, facts.height or 0) < _TINY:
            suspects.append(Suspect(image.name, 2.0, f"tiny: {facts.width}x{facts.height}"))
            bad += 1
        elif facts.channels != usual:
            suspects.append(Suspect(image.name, 1.0, f"channels {facts.channels}, most have {usual}"))
    says = f"{bad} of {len(images)} files are broken or tiny, {len(suspects) - bad} have other channels"
    return Finding("broken", says, bad / len(images), threshold, ranked(suspects), bad)


def coding_by_class(images: Sequence[ScannedImage], threshold: float) -> Finding:
    """Whether format and JPEG quality go with the class: a net can learn the codec instead of the picture.

    The figure is Cramer's V of the table coding x class with Bergsma's bias correction (2013), which is near 0 for
    independent ones however many classes there are; chi-square stands in the sentence.
    """
    known = [image for image in images if image.facts.fault is None and image.label is not None]
    labels = sorted({str(image.label) for image in known})
    codings = Counter(image.facts.coding for image in known)
    if len(labels) < 2:
        return not_made("coding-by-class", "there are not two classes")
    if len(codings) < 2:
        return Finding("coding-by-class", f"all images are {next(iter(codings))}", 0.0, threshold)
    rows = {coding: row for row, coding in enumerate(codings)}
    columns = {label: column for column, label in enumerate(labels)}
    table = np.zeros((len(rows), len(columns)))
    for image in known:
        table[rows[image.facts.coding], columns[str(image.label)]] += 1
    chi2, v = association(table)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    excess = (table - expected) / np.sqrt(expected)
    suspects = [
        Suspect(image.name, float(excess[rows[image.facts.coding], columns[str(image.label)]]),
                f"{image.facts.coding} in class {image.label}")
        for image in known
        if excess[rows[image.facts.coding], columns[str(image.label)]] > 3
    ]  # fmt: skip
    freedom = (len(rows) - 1) * (len(columns) - 1)
    says = f"{len(rows)} codings over {len(columns)} classes: V {v:.2f}, chi-square {chi2:.0f} at {freedom} degrees"
    return Finding("coding-by-class", says, v, threshold, ranked(suspects))


def association(table: "np.typing.NDArray[np.float64]") -> tuple[float, float]:
    """Chi-square of a table of counts, and Cramer's V with the bias correction of Bergsma (2013).

    Example:
        >>> tuple(round(value, 2) for value in association(np.array([[50.0, 0.0], [0.0, 50.0]])))
        (100.0, 1.0)
    """
    n = table.sum()
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / n
    chi2 = float((np.square(table - expected)[expected > 0] / expected[expected > 0]).sum())
    r, k = table.shape
    phi2 = max(chi2 / n - (r - 1) * (k - 1) / (n - 1), 0.0)
    r_, k_ = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    smaller = min(r_, k_) - 1
    return chi2, float(np.sqrt(phi2 / smaller)) if smaller > 0 else 0.0
