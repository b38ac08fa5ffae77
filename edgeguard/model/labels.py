"""Names of a model's outputs: from the file itself, or from a label file."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.system.archives import ForeignZip
from edgeguard.system.foreign import parsing, read_bounded
from edgeguard.system.text import decoded_text

#: Bytes of a label file.
LARGEST = 1 << 20
_MOST_CLASSES = 65536
_MOST_MEMBERS = 4096  # of an appended archive


def read_label_file(path: str | Path) -> tuple[str, ...]:
    """`parse_labels` of a file.

    Raises:
        InputError: it cannot be read, has more than a megabyte, or holds no label.
    """
    labels = parse_labels(read_bounded(path, LARGEST, "the labels"))
    if not any(labels):
        raise InputError(f"{path} holds no labels: it wants one a line, in the order of the model's outputs")
    return labels


@dataclass(frozen=True)
class Exported:
    """What an exporter packed beside the graph: labels, and what the model is for (`detect`, `segment`, `pose`, ...);
    empty where it is silent."""

    labels: tuple[str, ...] = ()
    task: str = ""


def read_labels(model: ModelFile) -> tuple[str, ...]:
    """Labels from the zip that the metadata tools append to a .tflite; empty when there are none, or none to read."""
    return read_exported(model).labels


def read_exported(model: ModelFile) -> Exported:
    """What the zip that exporters append to a .tflite says; nothing when there is none, or none to read.

    TensorFlow's and Coral's tools pack a label file, YOLO's exporter a JSON (or the text of a Python dictionary).
    """
    labels = _member(model.data, lambda name: name.endswith(".txt") and "label" in name)
    if labels is not None:
        return Exported(parse_labels(labels))
    facts = _member(model.data, lambda name: name in _YOLO_FACTS)
    return Exported() if facts is None else _from_yolo(facts)


_YOLO_FACTS = ("metadata.json", "temp_meta.txt", "meta.txt")


def _from_yolo(data: bytes) -> Exported:
    text = data.decode("utf-8", "replace")
    try:
        with parsing("the model's metadata"):
            facts = json.loads(text)
            names, task = facts.get("names", {}), facts.get("task", "")
            listed = names if isinstance(names, list) else [names[key] for key in sorted(names, key=int)]
            return Exported(tuple(str(name) for name in listed), task if isinstance(task, str) else "")
    except InputError:  # older exporters wrote a Python dictionary's text
        task = re.search(r"'task': '(\w+)'", text)
        found = [(int(number), one or other) for number, one, other in _PYTHON_NAME.findall(text)]
        listed = [name for at, (number, name) in enumerate(found) if number == at]
        complete = listed if len(listed) == len(found) else []
        return Exported(tuple(complete), "" if task is None else task.group(1))


_PYTHON_NAME = re.compile(r"""\b(\d{1,5}): (?:'([^']*)'|"([^"]*)")""")


def _member(data: bytes, wanted: Callable[[str], bool]) -> bytes | None:
    """The first member of the appended zip whose name, in lower case, is wanted."""
    try:
        with ForeignZip(data, most_members=_MOST_MEMBERS) as archive:
            found = [entry for entry in archive.entries if wanted(entry.filename.lower())]
            return archive.read(found[0], LARGEST) if found else None
    except InputError:
        return None


def parse_labels(data: bytes) -> tuple[str, ...]:
    r"""One label a line. Lines of the form `3  goldfinch` (Coral's) give the label for that index.

    JSON is read as well: a list of names, or an object of index and name (`id2label` too). See `decoded_text` for
    encodings.

    Where such numbers leave some out, as Coral's list for COCO does, those classes are called by their number.

    Raises:
        InputError: the bytes are no text, or JSON that names no classes.

    Example:
        >>> parse_labels(b"0  background\n1  tench\n")
        ('background', 'tench')
        >>> parse_labels(b"0  person\n2  car\n")
        ('person', '1', 'car')
    """
    try:
        text = decoded_text(data)[0]
        if text.lstrip()[:1] in ("{", "["):
            return _from_json(text)
    except InputError as error:
        raise InputError(f"the label file {error}") from error
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
    while lines and not lines[-1]:
        lines.pop()
    numbered = [line.split(maxsplit=1) for line in lines if line]
    if not numbered or not all(len(parts) == 2 and _is_number(parts[0]) for parts in numbered):
        return tuple(lines)
    numbers = [int(parts[0]) for parts in numbered]
    if numbers[0] > 1 or numbers != sorted(set(numbers)) or numbers[-1] > _MOST_CLASSES:
        return tuple(lines)
    names = dict(zip(numbers, (parts[1] for parts in numbered), strict=True))
    return tuple(names.get(i, str(i)) for i in range(numbers[-1] + 1))


def _from_json(text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"begins like JSON and is none: {error}") from error
    if isinstance(found, dict):
        found = found.get("id2label", found)
    if isinstance(found, dict):
        if not all(str(index) in found for index in range(len(found))):
            raise InputError('is JSON, but no object of index and name ({"0": "cat", "1": "dog"})')
        found = [found[str(index)] for index in range(len(found))]
    if not isinstance(found, list):
        raise InputError("is JSON, but no list of names")
    names = [entry[-1] if isinstance(entry, list) and entry else entry for entry in found]  # ["n01440764", "tench"]
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError("is JSON, but no list of names")
    return tuple(names)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10
