"""Results as data: one cell for each attack, budget and defence, with its interval."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard.statistics import wilson
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, lines_of, of_type, read_bounded

_LARGEST = 256 << 20  # bytes of results.jsonl
_MOST_LINES = 100_000
_MOST_IMAGES = 10_000_000  # of a cell; a protocol has a million at most
SCHEMA = 1


@dataclass(frozen=True)
class Cell:
    """Accuracy of the deployed model under one attack behind one defence.

    Attributes:
        attack: `clean`, an attack's name, or `worst case` over all attacks of that budget.
        eps_8bit: budget in levels, None where the attack has none.
        correct, n: images that kept their right label, of how many.
        images: a hash of which images they were.
        paper: the published figure in percent, where there is one.
        note: `capped` and other things that a reader must know.
        certified_share, violations: share of blocks that the budget (+-1 level where there is none) cannot change, and
            how many of them changed.
        proven: images in which it can change no block that the model's crop reads, so that no attack can change their
            label. A line of results.jsonl has this key only where it was counted.
        left_before: images that the attacks before this one had left, where each gets what those left (`budgets =
            "smallest"`); a line has this key only there.
        correct_images: which images stayed right, by their place in the run.
        confidence: the mean of the model's largest probability, counted negative where the label is wrong.
        ms_ssim, psnr_db: means, of what the model is shown against the image before the attack (equal pictures count
            as 99 dB). A line has these three keys only where they were measured.
        spectrum: 64 numbers, row by row: the mean absolute DCT coefficient of the change over blocks, channels and
            images, levels. A line has this key only in gray-box rows, of attacks on the images as they are.
        goal: of an attack on a detector; None for classifiers. Then `n` counts objects, and pictures where the goal is
            `create`; `correct` are those that kept their right box, or in which nothing was invented.
        ap50, ap: of a detector on these pictures, 0..1: at IoU .5 and over .5 to .95; `ap50_low`, `ap50_high`: 95 %.
        gradient_free: the attack only asks the deployed file for outputs. A line of results.jsonl has this key only
            where it is true.
    """

    protocol: str
    box: str
    threat: str
    place: str
    attack: str
    eps_8bit: float | None
    defence: str
    passes: int
    n: int
    correct: int
    images: str = ""
    paper: float | None = None
    note: str = ""
    mean_l2: float | None = None
    certified_share: float | None = None
    violations: int | None = None
    correct_images: tuple[int, ...] = ()
    gradient_free: bool = False
    proven: int | None = None
    left_before: int | None = None
    confidence: float | None = None
    ms_ssim: float | None = None
    psnr_db: float | None = None
    spectrum: tuple[float, ...] | None = None
    goal: str | None = None
    ap50: float | None = None
    ap: float | None = None
    ap50_low: float | None = None
    ap50_high: float | None = None

    @property
    def accuracy(self) -> float:
        """0..1."""
        return self.correct / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson(self.correct, self.n)

    def to_dict(self) -> dict[str, Any]:
        """One line of results.jsonl."""
        low, high = self.interval
        told = {"schema": SCHEMA, **asdict(self), "accuracy": self.accuracy, "low": low, "high": high}
        if not self.gradient_free:
            del told["gradient_free"]
        for name in (
            "proven", "left_before", "confidence", "ms_ssim", "psnr_db", "spectrum", "goal", "ap50", "ap", "ap50_low",
            "ap50_high",
        ):  # fmt: skip
            if told[name] is None:
                del told[name]
        return told


def write_results(path: Path, cells: Iterable[Cell]) -> None:
    """JSON lines, all or nothing."""
    write_bytes(path, "".join(json.dumps(cell.to_dict()) + "\n" for cell in cells).encode())


def read_results(path: Path) -> list[Cell]:
    """The cells of a results.jsonl, or of the folder that holds one.

    Raises:
        InputError: no such file, or a line that is not one of ours.
    """
    path = path / "results.jsonl" if path.is_dir() else path
    raw, cells = read_bounded(path, _LARGEST, "the results"), []
    if raw.count(b"\n") > _MOST_LINES:
        raise InputError(f"{path} has more than {_MOST_LINES} lines: it holds no results of ours")
    for number, line in enumerate(lines_of(raw, _MOST_LINES + 1), start=1):
        try:
            data = foreign_json(line, with_nan=True)
            if data.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            for derived in ("accuracy", "low", "high"):
                del data[derived]
            cell = of_type(Cell, data, with_nan=True)
            if set(data) - set(Cell.__dataclass_fields__) or not 0 <= cell.correct <= cell.n <= _MOST_IMAGES:
                raise ValueError("keys of another version, or more right answers than images")
            if not all(0 <= image < cell.n for image in cell.correct_images):
                raise ValueError("it names an image that is not there")
            cells.append(cell)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}:{number}: not a result: {error}") from error
    return cells
