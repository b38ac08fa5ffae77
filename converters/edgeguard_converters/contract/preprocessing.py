"""Which mean and std a model wants: given, read from the file, or guessed from how the model behaves."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.prediction import softmax
from edgeguard.statistics import bootstrap_difference, mutual_information
from edgeguard_converters.graph.normalization import PRESETS, Normalization, Triple, explained_presets
from edgeguard_converters.load.source import FileFacts

_GUESS_IMAGES = 200
_DOUBT_IMAGES = 32  # each costs four passes of the trained model


def explicit(mean: Triple | None, std: Triple | None) -> Normalization:
    """From `--mean` and `--std`, in 0..255 units.

    Raises:
        InputError: only one of the two, a std of zero, or values that are evidently in 0..1 units.
    """
    if mean is None or std is None:
        raise InputError("--mean and --std go together")
    if min(std) <= 0:
        raise InputError("--std must be above 0")
    if max(*mean, *std) <= 1:
        scaled = [",".join(f"{v * 255:g}" for v in values) for values in (mean, std)]
        raise InputError(f"--mean and --std are in 0..255 units here; you mean --mean {scaled[0]} --std {scaled[1]}")
    return Normalization(mean, std, "flags")


def from_facts(facts: FileFacts) -> Normalization | None:
    """What the model file says, or None.

    Raises:
        InputError: values in 0..1 units.
    """
    if facts.mean is None or facts.std is None:
        return None
    if max(*facts.mean, *facts.std) <= 1 and (facts.mean, facts.std) != PRESETS["none"]:
        raise InputError("the model file gives mean and std in 0..1 units; they must be in 0..255 units")
    return Normalization(facts.mean, facts.std, facts.stated_by or "file")


def guess(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64] | None,
    presets: dict[str, tuple[Triple, Triple]] = PRESETS,
) -> Normalization:
    """Try the presets and keep the best one, if the images tell the best two apart.

    With labels the best accuracy wins, otherwise the highest mutual information between image and predicted label.

    Args:
        run: normalized pixels (n, h, w, 3) to raw outputs (n, classes).
        pixels: what the model would see, uint8.
        labels: raw output indices of the images, or None.
        presets: what is tried.

    Raises:
        InputError: a bootstrap over the images does not separate the best two.
    """
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), _GUESS_IMAGES)).astype(int)
    evidence: dict[str, NDArray[np.float64]] = {}
    for name, (mean, std) in presets.items():
        outputs = run(Normalization(mean, std, "preset").apply(pixels[chosen]))
        if labels is None:
            evidence[name] = softmax(outputs).astype(np.float64)
        else:
            evidence[name] = (outputs.argmax(axis=1) == labels[chosen]).astype(np.float64)[:, None]
    statistic = mutual_information if labels is None else _mean
    what = "mutual information" if labels is None else "accuracy"
    values = {name: statistic(rows) for name, rows in evidence.items()}
    best, second = sorted(values, key=lambda name: -values[name])[:2]
    low, _ = bootstrap_difference(evidence[best], evidence[second], statistic)
    shown = ", ".join(f"{name} {values[name]:.2f}" for name in sorted(values, key=lambda n: -values[n]))
    if low <= 0:
        more = "" if labels is not None else "; labeled images (--eval) may tell"
        raise InputError(
            f"the preprocessing cannot be told from {_looked_at(len(chosen), len(pixels), labels is not None)} "
            f"({what}: {shown}): give --preprocess {'|'.join(presets)} or --mean and --std "
            f"({explained_presets(presets)}){more}"
        )
    mean, std = PRESETS[best]
    return Normalization(mean, std, f"guessed {best} by {what} on {len(chosen)} images ({shown})", guessed=True)


def doubted(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]], pixels: NDArray[np.uint8], stated: Normalization
) -> str | None:
    """A line where pictures without labels speak against a family's preprocessing, beyond chance; else None.

    A preset under which the answers tell far more of the pictures is probably what the model was trained with. That
    is no proof, so nothing is changed.

    Args:
        run, pixels: as in `guess`.
        stated: what the family's metadata says.
    """
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), _DOUBT_IMAGES)).astype(int)

    def told(normalization: Normalization) -> NDArray[np.float64]:
        return softmax(run(normalization.apply(pixels[chosen]))).astype(np.float64)

    own = told(stated)
    best, most, name = own, mutual_information(own), ""
    for preset, (mean, std) in PRESETS.items():
        if (mean, std) != (stated.mean, stated.std):
            rows = told(Normalization(mean, std, preset))
            if (value := mutual_information(rows)) > most:
                best, most, name = rows, value, preset
    if not name or bootstrap_difference(best, own, mutual_information)[0] <= 0:
        return None
    return (
        f"THE FAMILY'S PREPROCESSING MAY NOT BE THIS MODEL'S: on {len(chosen)} pictures its answers tell more with "
        f"--preprocess {name} (mutual information {most:.2f}, {stated.origin} {mutual_information(own):.2f}); labelled "
        "images (--eval) decide, or say --preprocess"
    )


def checked_by_labels(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    stated: Normalization,
) -> Normalization:
    """What a family's metadata says, unless a preset gives more right answers than chance explains.

    A network is often trained anew with other preprocessing than the published weights'.

    Args:
        run, pixels: as in `guess`.
        labels: raw output indices of the images.
        stated: what the family's metadata says.
    """
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), _GUESS_IMAGES)).astype(int)

    def right(normalization: Normalization) -> NDArray[np.float64]:
        outputs = run(normalization.apply(pixels[chosen]))
        return (outputs.argmax(axis=1) == labels[chosen]).astype(np.float64)[:, None]

    own = right(stated)
    best, most = stated, own
    for name, (mean, std) in PRESETS.items():
        other = Normalization(mean, std, name, guessed=True)
        if _mean(rows := right(other)) > _mean(most):
            best, most = other, rows
    if best is stated or bootstrap_difference(most, own, _mean)[0] <= 0:
        return stated
    said = f"guessed {best.origin} by accuracy on {len(chosen)} images ({best.origin} {_mean(most):.2f}, "
    return Normalization(best.mean, best.std, f"{said}{stated.origin} {_mean(own):.2f})", guessed=True)


def _looked_at(chosen: int, given: int, labeled: bool) -> str:
    """The images of a guess in words, by the flag that brought them.

    Example:
        >>> _looked_at(200, 400, True)
        '200 of the 400 --eval images, evenly chosen'
        >>> _looked_at(75, 75, False)
        '75 --calibrate images'
    """
    flag = "--eval" if labeled else "--calibrate"
    if chosen == given:
        return f"{given} {flag} images"
    return f"{chosen} of the {given} {flag} images, evenly chosen"


def _mean(rows: NDArray[np.float64]) -> float:
    return float(rows.mean())
