"""The table of a certification: rows by size of patch, from lines that each tell of one image."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.datasets.images import read_labeled_folder
from edgeguard.datasets.readable import readable
from edgeguard.errors import CheckFailed, DeviceError, InputError
from edgeguard.evaluate.certify.methods import Judge, Method, check_method, loaded, sides_of
from edgeguard.evaluate.engine.executors import local_executor
from edgeguard.model.patch_footprint import Footprint
from edgeguard.statistics import wilson
from edgeguard.system.files import check_writable, sha256_file, write_bytes
from edgeguard.system.foreign import LARGEST_PICTURE, foreign_json, lines_of, of_type, read_bounded
from edgeguard.system.outputs import output_folder

SCHEMA = 1
_LARGEST = 256 << 20  # bytes of an output
_MOST_LINES = 200_000  # each of an image
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """One size of patch.

    Attributes:
        method: see `methods.Method`.
        patch_px: side, pixels of the model's input; patch_share: of the input's area, 0..1.
        n: images.
        plain: right answers of the file without any method; clean: with it; certified: right and proven.
        inferences, ms: medians of one answer, certificate included, on one core.
    """

    method: str
    patch_px: int
    patch_share: float
    n: int
    plain: int
    clean: int
    certified: int
    inferences: float
    ms: float

    def to_dict(self) -> dict[str, Any]:
        """With 95 % intervals (Wilson) of the shares."""
        intervals = {f"{name}_interval": list(wilson(getattr(self, name), self.n)) for name in ("clean", "certified")}
        return {**asdict(self), **intervals}

    def line(self) -> str:
        """For the terminal."""

        def share(count: int) -> str:
            low, high = wilson(count, self.n)
            return f"{100 * count / self.n:5.1f} [{100 * low:.1f}, {100 * high:.1f}] %"

        return (
            f"{self.method:9} {self.patch_px:3} px ({100 * self.patch_share:.1f} %)  clean {share(self.clean)}  "
            f"certified {share(self.certified)}  {self.inferences:g} inferences, {self.ms:.2f} ms, n {self.n}"
        )


@dataclass(frozen=True)
class Table:
    """Rows, and lines that have to stand beside them."""

    rows: tuple[Row, ...]
    said: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One image to be judged."""

    judge: Judge
    name: str
    path: str
    label: int


def certify_patches(
    model: Path,
    images: Path,
    *,
    method: Method,
    shares: Sequence[float],
    per_axis: int = 6,
    limit: int = 200,
    workers: int | None = None,
    output: Path | None = None,
    attacked: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> Table:
    """Certify labelled photographs against one square patch anywhere; the first `limit` of a fixed order.

    Args:
        model: the .tflite.
        images: labelled photographs.
        method: how.
        shares: areas of patches, % of the model's input.
        per_axis: masks along each axis, of `masking`.
        limit: photographs at most.
        workers: processes; one for each core by default.
        attacked: how many of the images are attacked as well, where the file has a map of votes.
        output: JSON lines, one an image behind a first one that says what was measured; what stands there already is
            not measured again.
        progress: called with what is being done, photographs done and photographs in all.

    Raises:
        InputError: no such model or images, a method that the file cannot do, or an output of another measurement.
        DeviceError: a worker was killed, or the output cannot be written.
    """
    deployed = loaded(str(model))
    contract = deployed.contract
    size = min(contract.input.width, contract.input.height)
    judge = Judge(str(model), method, sides_of(shares, size), per_axis)
    check_method(deployed, judge)
    known = read_labeled_folder(images, contract.labels, outputs=deployed.classes, background=contract.background)
    order = np.random.default_rng(0).permutation(len(known))[:limit]
    chosen = readable([known[k] for k in order], images)
    tasks = [
        Task(judge, image.name, str(image.data), int(image.label or 0) + int(contract.background)) for image in chosen
    ]
    head = {
        "schema": SCHEMA, "model": deployed.sha256, "method": method, "patch_px": list(judge.sides),
        "masks": per_axis if method == "masking" else None,
    }  # fmt: skip
    lines = _judged(tasks, head, output, workers, progress)
    said = [] if method == "masking" else _in_the_frame(deployed.contract, chosen[0].receive(contract).size(), judge)
    rows = tuple(_row(lines, judge, k, size) for k in range(len(judge.sides)))
    return Table(rows, (*said, *_attacked(tasks[:attacked], judge, progress)))


def run_task(task: Task) -> dict[str, Any]:
    """The line of one image."""
    plain, judged, largest = task.judge(task.path, task.label)
    return {
        "image": task.name,
        "label": task.label,
        "plain": plain,
        "found": [[one.label, one.certified, one.inferences, round(one.ms, 3)] for one in judged],
        "largest": largest,
        "sha256": sha256_file(Path(task.path)),
    }


def _attacked(tasks: list[Task], judge: Judge, progress: Progress) -> list[str]:
    """What white-box patches make of the first images, for each size."""
    if not tasks:
        return []
    from edgeguard.evaluate.certify.attack import PatchAttack, attack_pictures  # not on a board

    model = loaded(judge.model)
    way = model.input_path
    data = [read_bounded(task.path, LARGEST_PICTURE, "the picture") for task in tasks]
    pictures = np.stack([way.levels(way.capture(one))[0] for one in data])
    truths = np.array([task.label for task in tasks])
    said = []
    for side in judge.sides:
        attack = PatchAttack(side)
        found = attack_pictures(judge.model, model, pictures, truths, attack, progress)
        if found.violations:
            raise CheckFailed(f"{found.violations} proven labels fell to a patch of {side} px: the proof is wrong")
        most = 100 * wilson(0, max(found.certified, 1))[1]
        said.append(
            f"attacked, {side} px, {attack.places} places, {attack.steps} steps, {attack.restarts} restarts: 0 of "
            f"{found.certified} proven labels fell (95 %: at most {most:.1f} %), {found.fallen} of {found.uncertified} "
            "that are right and not proven"
        )
    return said


def _judged(
    tasks: list[Task], head: dict[str, Any], output: Path | None, workers: int | None, progress: Progress
) -> list[dict[str, Any]]:
    with _written_to(output):
        return _lines_of(tasks, head, output, workers, progress)


@contextmanager
def _written_to(output: Path | None) -> Iterator[None]:
    """Says before any work that results cannot be written; a refusal leaves no folder that was made for them."""
    if output is None or os.path.lexists(output):  # whoever reads it says what is wrong with it
        yield
        return
    with output_folder(output.parent):
        check_writable(output)
        yield


def _lines_of(
    tasks: list[Task], head: dict[str, Any], output: Path | None, workers: int | None, progress: Progress
) -> list[dict[str, Any]]:
    kept = {} if output is None else _read(output, head)
    known = {task.name: line for task in tasks if (line := kept.get(task.name)) is not None and _is_of(line, task)}
    missing = [task for task in tasks if task.name not in known]
    progress("certifying", len(tasks) - len(missing), len(tasks))
    executor = local_executor(workers)
    try:
        for done, (_, line) in enumerate(executor.map(run_task, missing), start=len(tasks) - len(missing) + 1):
            known[line["image"]] = line
            if output is not None:
                if not output.exists():  # with the first image that is done: a refusal leaves no file
                    _append(output, head)
                _append(output, line)
            progress("certifying", done, len(tasks))
    finally:
        executor.close()
    return [known[task.name] for task in tasks]


def _read(output: Path, head: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Lines of an earlier run, by image; a last line that was cut off is measured again."""
    if not output.exists():
        return {}
    raw = read_bounded(output, _LARGEST, "the results")
    if raw.count(b"\n") > _MOST_LINES + 1:  # and the head
        raise InputError(f"{output} has more than {_MOST_LINES} lines: another --output, or delete it")
    found = _whole_lines(raw, output)
    if next(found, None) != head:
        raise InputError(f"{output} holds another measurement: another --output, or delete it")
    lines = []
    for line in found:
        if not _is_line(line, len(head["patch_px"])):
            raise InputError(f"{output} holds a line that is none of ours: another --output, or delete it")
        lines.append(line)
    kept = "".join(json.dumps(line) + "\n" for line in (head, *lines)).encode()
    if kept != raw:
        write_bytes(output, kept)
    return {str(line["image"]): line for line in lines}


@dataclass(frozen=True)
class _Line:
    """What a line of results has to hold."""

    image: str
    label: int
    plain: int
    found: list[tuple[int | None, bool, float, float]]
    largest: int | None = None
    sha256: str = ""


def _is_of(line: dict[str, Any], task: Task) -> bool:
    """Whether a line is of this very image and label; both may have changed since."""
    return line["label"] == task.label and line.get("sha256") == sha256_file(Path(task.path))


def _is_line(line: object, sizes: int) -> bool:
    """Whether a line is one that `run_task` writes for so many sizes of patches."""
    try:
        is_known = isinstance(line, dict) and line.keys() <= _Line.__dataclass_fields__.keys()
        return is_known and len(of_type(_Line, line).found) == sizes
    except ValueError:
        return False


def _whole_lines(raw: bytes, output: Path) -> Iterator[dict[str, Any]]:
    last = raw.count(b"\n")
    for number, line in enumerate(lines_of(raw, _MOST_LINES + 2)):
        try:
            found = of_type(dict[str, Any], foreign_json(line))
        except (ValueError, RecursionError) as error:
            if number == last:  # it has no end: its run was ended
                return
            raise InputError(f"{output}:{number + 1} is damaged: repair the line, or give another --output") from error
        yield found


def _append(output: Path, line: dict[str, Any]) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with open(output, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
    except OSError as error:
        raise DeviceError(f"cannot write {output}: {error.strerror}") from error


def _row(lines: list[dict[str, Any]], judge: Judge, place: int, size: int) -> Row:
    found = [line["found"][place] for line in lines]
    right = [one[0] == line["label"] for one, line in zip(found, lines, strict=True)]
    return Row(
        method=judge.method,
        patch_px=judge.sides[place],
        patch_share=round((judge.sides[place] / size) ** 2, 4),
        n=len(lines),
        plain=sum(line["plain"] == line["label"] for line in lines),
        clean=sum(right),
        certified=sum(bool(one[1]) for one in found),
        inferences=float(np.median([one[2] for one in found])),
        ms=float(np.median([one[3] for one in found])),
    )


def _in_the_frame(contract: Any, size: tuple[int, int], judge: Judge) -> list[str]:
    """What the sizes are in frames as large as the first image: through guard, crop and resize."""
    try:
        footprint = Footprint.of(contract, *size)
    except InputError as error:
        return [str(error)]
    said = []
    for side in judge.sides:
        largest = footprint.largest(side)
        if largest:
            said.append(f"{side} px of the input hold any patch of {largest} px of a frame of {size[0]}x{size[1]}")
        else:
            said.append(
                f"a single pixel of a frame of {size[0]}x{size[1]} may change {footprint.side(1)} px of the input "
                f"through guard, crop and resize: {side} px prove nothing in the frame"
            )
    return said
