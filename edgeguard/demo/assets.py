"""The files that come with the package, and pictures that stand in for a user's own."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.system.files import replaced

ASSETS = Path(__file__).parent / "assets"


def bundled_model() -> Path:
    """The card model, converted: int8 .tflite with its contract."""
    return ASSETS / "cards.tflite"


def bundled_program() -> Path:
    """The card model before conversion: torch.export."""
    return ASSETS / "cards.pt2"


def bundled_detector() -> Path:
    """The card detector, converted: int8 .tflite with its contract.

    Raises:
        InputError: this installation has none.
    """
    return _made(ASSETS / "detector.tflite")


def bundled_detector_patch() -> Path:
    """A folder of `patch make --mode vanish` for the stop card and the card detector.

    Raises:
        InputError: this installation has none.
    """
    return _made(ASSETS / "vanish-stop")


def _made(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path.name} is not part of this installation: `make detector` in a checkout makes it")
    return path


def bundled_clip() -> Path:
    """A short lossless clip of three cards."""
    return ASSETS / "clip.avi"


def stand_in_images() -> list[NDArray[np.uint8]]:
    """Rendered views of the cards: for calibration when a user gives no images."""
    from edgeguard.scene.views import render, stand_in_views

    return [render(view) for view in stand_in_views()]


@dataclass(frozen=True, eq=False)
class AlteredFrame:
    """A frame of the clip, and what three attackers in transit make of it.

    Attributes:
        clip_index: which frame of the clip.
        eps_8bit, adaptive_eps_8bit: the largest change of a level by the first two and by the adaptive one.
        undefended: the raw frame, altered by an attacker of the undefended path.
        two_pass: pass 1's output, altered by an attacker who does not know of the guard.
        adaptive: pass 1's output, altered by one who does.
    """

    clip_index: int
    eps_8bit: int
    adaptive_eps_8bit: int
    undefended: NDArray[np.uint8]
    two_pass: NDArray[np.uint8]
    adaptive: NDArray[np.uint8]


def save_altered(frames: list[AlteredFrame], raw: list[NDArray[np.uint8]], passed: list[NDArray[np.uint8]]) -> None:
    """Store altered frames as small changes of the clip's frames (`raw`) and of pass 1's output (`passed`)."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for number, (frame, before, after) in enumerate(zip(frames, raw, passed, strict=True)):
        arrays[f"info{number}"] = np.array([frame.clip_index, frame.eps_8bit, frame.adaptive_eps_8bit])
        arrays[f"undefended{number}"] = _delta(frame.undefended, before)
        arrays[f"two_pass{number}"] = _delta(frame.two_pass, after)
        arrays[f"adaptive{number}"] = _delta(frame.adaptive, after)
    # LZMA, which numpy reads and does not write: a tenth smaller, and a board's wheel is short of room.
    with replaced(ASSETS / "transit.npz") as partial, zipfile.ZipFile(partial, "w") as packed:
        for name, array in arrays.items():
            place = zipfile.ZipInfo(f"{name}.npy")  # without the time of day
            place.compress_type = zipfile.ZIP_LZMA
            with packed.open(place, "w") as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def load_altered(clip: list[NDArray[np.uint8]]) -> list[AlteredFrame]:
    """The bundled altered frames, for machines without torch."""
    from edgeguard.guard import GuardProfile, Sanitizer

    sanitizer = Sanitizer(GuardProfile.preset("fd"))
    frames = []
    with np.load(ASSETS / "transit.npz") as arrays:
        for number in range(sum(name.startswith("info") for name in arrays.files)):
            index, eps, adaptive_eps = (int(v) for v in arrays[f"info{number}"])
            raw, passed = clip[index], sanitizer(clip[index])
            parts = (arrays[f"{name}{number}"] for name in ("undefended", "two_pass", "adaptive"))
            pictures = [_apply(base, delta) for base, delta in zip((raw, passed, passed), parts, strict=True)]
            frames.append(AlteredFrame(index, eps, adaptive_eps, *pictures))
    return frames


def _delta(altered: NDArray[np.uint8], base: NDArray[np.uint8]) -> NDArray[np.int8]:
    return (altered.astype(np.int16) - base).astype(np.int8)


def _apply(base: NDArray[np.uint8], delta: NDArray[np.int8]) -> NDArray[np.uint8]:
    return (base.astype(np.int16) + delta).astype(np.uint8)
