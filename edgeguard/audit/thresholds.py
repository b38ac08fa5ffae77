"""What fails an audit where nothing else is said. `data audit --threshold NAME=VALUE` sets another."""

from collections.abc import Mapping, Sequence

from edgeguard.errors import InputError

#: By check: the highest value that passes. Checks that only rank have none.
THRESHOLDS: Mapping[str, float] = {
    "broken": 0.01,  # share of the files
    "coding-by-class": 0.1,  # bias-corrected Cramer's V: 0 is independent, 1 tells the class
    "duplicates": 0.01,  # share of the files that are copies of another of their class
    "label-conflicts": 0.0,  # images that stand in two classes
    "leaks": 0.0,  # test images that stand in the training part
    "near-duplicates": 0.05,  # share
    "shortcut": 0.15,  # accuracy on fine detail above that on the picture
    "transfer-gap": 0.2,  # accuracy of a probe on the data above that on trusted images
    "compression-gap": 0.01,  # accuracy behind jpeg:10 above that without
    "color": 0.02,  # share
}


def thresholds(settings: Sequence[str]) -> dict[str, float]:
    """The thresholds with `NAME=VALUE` settings in front of them.

    Raises:
        InputError: no such check, or no number.

    Example:
        >>> thresholds(["leaks=3"])["leaks"]
        3.0
    """
    found = dict(THRESHOLDS)
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or name not in found:
            raise InputError(f"--threshold wants NAME=VALUE, NAME one of {', '.join(found)}; got {text!r}")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise InputError(f"--threshold {name} wants a number, got {value!r}") from error
        if not 0 <= found[name] < float("inf"):
            raise InputError(f"--threshold {name} wants a number from 0 up, got {value!r}")
    return found
