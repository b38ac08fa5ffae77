"""Which clips calibrate and which judge."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio.clips import SUFFIXES, BrokenClipError, OtherRateError, read_clip
from edgeguard.audio.path import SoundPath
from edgeguard.audio.spec import AudioInput
from edgeguard.datasets.entries import Entry, entries
from edgeguard.datasets.images import LabeledImage
from edgeguard.errors import InputError
from edgeguard_converters.contract.image_sets import GateImages
from edgeguard_converters.notes import Notes

MOST_CALIBRATING = 400  # clips: more change the ranges by little, and each costs a run of the float graph
_PARTS = ("train", "training", "test", "val", "valid", "validation")
_AT_MOST = 0.01  # of them may be broken


def labeled_clips(path: Path, labels: tuple[str, ...], part: str, notes: Notes) -> list[LabeledImage]:
    """The clips of a folder or a .zip: those below the part where there is one, with the index of their folder's label.

    Args:
        path: clips, in class folders or not.
        labels: of the model.
        part: `train` or `test`.
        notes: gets a line where only a part is taken.

    Raises:
        InputError: no clips, or a folder that is no label of the model while others are.
    """
    found = list(entries(path, SUFFIXES))
    if not found:
        raise InputError(f"{path} holds no clips ({', '.join(sorted(SUFFIXES))})")
    of_part = [entry for entry in found if part in PurePosixPath(entry.name).parts[:-2]]
    if of_part and len(of_part) < len(found):
        notes.add(f"{len(of_part)} clips below {part}/ of {path.name} are taken")
        found = of_part
    folders = {_folder(entry) for entry in found}
    named = folders & set(labels)
    if named and folders - set(labels) - set(_PARTS) - {""}:
        raise InputError(f"{path}: the folder {min(folders - set(labels))!r} is none of the model's labels")
    return [
        LabeledImage(entry.name, entry.read(), labels.index(_folder(entry)) if _folder(entry) in named else None)
        for entry in found
    ]


def prepared_clips(
    calibration: list[LabeledImage], evaluation: list[LabeledImage], spec: AudioInput, notes: Notes
) -> tuple[GateImages, tuple[list[LabeledImage], list[LabeledImage]]]:
    """Both sets through the device's own path, and the clips that could be read.

    Raises:
        InputError: a clip of another rate, or too many that are broken.
    """
    path = SoundPath(spec)
    kept: list[list[LabeledImage]] = []
    levels: list[NDArray[np.uint8]] = []
    for clips in (calibration, evaluation):
        pairs = list(_heard(clips, path, notes))
        kept.append([clip for clip, _ in pairs])
        levels.append(np.stack([seen for _, seen in pairs]))
    labels = [clip.label for clip in kept[1]]
    return GateImages(levels[0], levels[1], levels[1], labels, False), (kept[0], kept[1])


def thinned(clips: list[LabeledImage], most: int = MOST_CALIBRATING) -> list[LabeledImage]:
    """At most so many, evenly spread over all."""
    if len(clips) <= most:
        return clips
    return [clips[i * len(clips) // most] for i in range(most)]


def _heard(
    clips: list[LabeledImage], path: SoundPath, notes: Notes
) -> Iterator[tuple[LabeledImage, NDArray[np.uint8]]]:
    broken: list[str] = []
    for clip in clips:
        content = clip.content()
        assert isinstance(content, bytes)
        try:
            samples = read_clip(content, path.spec.rate_hz).samples
        except OtherRateError as error:
            raise InputError(f"{clip.name}: {str(error).partition(':')[0]}: convert the clips first") from error
        except BrokenClipError as error:
            broken.append(f"{clip.name} ({error})")
            continue
        yield clip, path(path.placed(samples)[0])
    if len(broken) > _AT_MOST * len(clips):
        raise InputError(f"{len(broken)} of {len(clips)} clips cannot be read, the first: {broken[0]}")
    if broken:
        notes.add(f"{len(broken)} of {len(clips)} clips cannot be read and are left out, the first: {broken[0]}")


def _folder(entry: Entry) -> str:
    parts = PurePosixPath(entry.name).parts
    return parts[-2] if len(parts) > 1 else ""
