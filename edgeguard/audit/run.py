"""The audit: all checks in their order, each one's outcome kept, so that an interrupted audit goes on."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.audit.availability import compression_gap, shortcut, transfer_gap
from edgeguard.audit.color import color_outliers
from edgeguard.audit.duplicates import exact_duplicates, near_duplicates
from edgeguard.audit.features import out_of_sample_scores, patch_features, probabilities
from edgeguard.audit.files import broken_files, coding_by_class
from edgeguard.audit.findings import Audit, Finding
from edgeguard.audit.images import Progress, Sample, balanced, sample_of, track_numbers
from edgeguard.audit.label_noise import label_noise
from edgeguard.audit.report import report_page
from edgeguard.audit.targeted import targeted
from edgeguard.errors import InputError
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, read_bounded
from edgeguard.system.outputs import into_folder
from edgeguard_converters.training_data.merkle import data_root
from edgeguard_converters.training_data.scan import ScannedImage, scan

_log = logging.getLogger(__name__)

SCHEMA = 1
_LARGEST = 64 << 20  # bytes of what is kept
RESULTS, EXCLUDE, PAGE, _KEPT = "audit.json", "exclude.txt", "report.html", "checks.json"
#: Checks that fit a classifier take at most so many images, classes balanced.
MOST_FITTED = 5000
#: Changes when a check does: outcomes of another version are made anew.
_VERSION = 1


class _Data:
    """The data, read when a check first needs them."""

    def __init__(self, path: Path, trusted: Path | None, most: int, progress: Progress) -> None:
        self._path, self._trusted, self._most, self._progress = path, trusted, most, progress

    @cached_property
    def images(self) -> list[ScannedImage]:
        return scan(self._path, progress=self._progress)

    @cached_property
    def sample(self) -> Sample:
        return sample_of(self._path, self.images, progress=self._progress)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        known = {image.name: image.facts.phash for image in self.images}
        return np.array([int(known[name] or "0", 16) for name in self.sample.names], np.uint64)

    @cached_property
    def fitted(self) -> Sample:
        return balanced(self.sample, self._most)

    @cached_property
    def trusted(self) -> Sample | None:
        if self._trusted is None:
            return None
        return balanced(sample_of(self._trusted, scan(self._trusted, progress=self._progress)), self._most)

    @cached_property
    def features(self) -> NDArray[np.float32]:
        pixels = self.fitted.pixels
        return patch_features(pixels).features(pixels)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        targets, classes = self.fitted.targets, len(self.fitted.labels)
        scores = out_of_sample_scores(self.features, targets, classes, tracks=track_numbers(self.fitted))
        return probabilities(scores, targets)


@into_folder("output")
def audit(
    path: Path,
    output: Path,
    limits: Mapping[str, float],
    *,
    trusted: Path | None = None,
    most: int = MOST_FITTED,
    progress: Progress = lambda what, done, total: None,
) -> Audit:
    """Make every check, and write audit.json, exclude.txt and report.html.

    Args:
        path: class folders, or a .zip of them; may be a stranger's.
        output: folder; what is there of an audit of the same data with the same settings is not made again.
        limits: threshold by check.
        trusted: images that are known to be clean, for the compression gap.
        most: images that the checks see which fit a classifier.
        progress: called with what, units done, units in all.

    Raises:
        InputError: the data cannot be read.
        DeviceError: the folder cannot be written.
    """
    data = _Data(path, trusted, most, progress)
    root = data_root({image.name: image.digest for image in data.images})
    sample = data.sample  # refuses data without classes before anything is written
    kept = _kept(output / _KEPT, _key(root, limits, data, most))
    findings: list[Finding] = []
    steps = list(_checks(data, limits))
    for number, (name, check) in enumerate(steps):
        progress(f"check {name}", number, len(steps))
        if name not in kept.found:
            kept.add(name, check())
        findings += kept.found[name]
    found = Audit(root, len(data.images), min(most, len(sample)), tuple(findings))
    write_bytes(output / RESULTS, (json.dumps(_plain(found), indent=1) + "\n").encode())
    write_bytes(
        output / EXCLUDE, "\n".join(("# files that failed checks of an audit point at", *found.excluded, "")).encode()
    )
    write_bytes(output / PAGE, report_page(found, sample).encode())
    return found


def _checks(data: _Data, limits: Mapping[str, float]) -> Iterator[tuple[str, Callable[[], list[Finding]]]]:
    wide = dict(limits)
    yield (
        "files",
        lambda: [
            broken_files(data.images, wide["broken"]),
            coding_by_class(data.images, wide["coding-by-class"]),
        ],
    )
    yield "duplicates", lambda: exact_duplicates(data.images, wide)
    yield "near-duplicates", lambda: [near_duplicates(data.sample, data.hashes, wide["near-duplicates"])]
    yield "label-noise", lambda: [label_noise(data.fitted, data.probabilities)]
    yield "shortcut", lambda: [shortcut(data.fitted, wide["shortcut"])]
    yield "transfer-gap", lambda: [transfer_gap(data.fitted, data.trusted, wide["transfer-gap"])]
    yield "compression-gap", lambda: [compression_gap(data.fitted, data.trusted, wide["compression-gap"])]
    yield "targeted", lambda: targeted(data.fitted, data.features, data.probabilities)
    yield "color", lambda: [color_outliers(data.sample, wide["color"])]


class _Kept:
    """The outcomes that are there already."""

    def __init__(self, path: Path, key: str, found: dict[str, list[Finding]]) -> None:
        self._path, self._key, self.found = path, key, found

    def add(self, name: str, findings: list[Finding]) -> None:
        self.found[name] = findings
        checks = {name: [finding.to_dict() for finding in found] for name, found in self.found.items()}
        write_bytes(self._path, (json.dumps({"key": self._key, "checks": checks}) + "\n").encode())


def _kept(path: Path, key: str) -> _Kept:
    if not path.is_file():
        return _Kept(path, key, {})
    try:
        data = foreign_json(read_bounded(path, _LARGEST, "the checks"), with_nan=True)
        if data["key"] != key:
            _log.warning("%s is of other data or other settings: every check is made anew", path)
            return _Kept(path, key, {})
        found = {name: [Finding.from_dict(one) for one in findings] for name, findings in data["checks"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: delete it") from error
    if found:
        _log.info("going on: %d checks are made already", len(found))
    return _Kept(path, key, found)


def _key(root: str, limits: Mapping[str, float], data: _Data, most: int) -> str:
    trusted = None if data.trusted is None else hashlib.sha256(data.trusted.pixels.tobytes()).hexdigest()
    return hashlib.sha256(json.dumps([_VERSION, root, sorted(limits.items()), trusted, most]).encode()).hexdigest()


def _plain(found: Audit) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "threat": "training",
        "root": found.root,
        "images": found.images,
        "fitted": found.fitted,
        "failed": found.failed,
        "findings": [finding.to_dict() for finding in found.findings],
    }
