"""labels.csv: which file is of which class, as spreadsheets, scripts and other systems write it."""

import csv
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeguard.datasets.classes import Classes
from edgeguard.errors import InputError
from edgeguard.system.foreign import read_bounded
from edgeguard.system.names import file_inside, is_plain_name
from edgeguard.system.text import decoded_text

_LARGEST = 64 << 20
_MOST_CELLS = 64
_MOST_ROWS = 5_000_000
_LONGEST_ROW = 1 << 20  # characters
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_FILE_HEADS = ("file", "filename", "file_name", "path", "image", "image_path", "name", "img")
_CLASS_HEADS = ("class_index", "class", "index", "label", "target", "class_id", "label_index", "category", "y")
_INDEX = re.compile(r"[0-9]{1,9}(?:\.0+)?")  # a spreadsheet or pandas may write 3.0
_SHOWN = 40


@dataclass(frozen=True)
class LabeledFile:
    """One line of a table."""

    name: str
    path: Path
    index: int


def read_label_table(folder: Path, classes: Classes) -> list[LabeledFile]:
    """The files that `labels.csv` of a folder names, with their class indices.

    Columns are told by the head line where its names are known, else they are file and class. A class is an index, or
    one of the model's labels. Comma, semicolon or tab; quotes; any end of line; see `decoded_text` for encodings.

    Raises:
        InputError: what is wrong, and in which line.
    """
    table = folder / "labels.csv"
    try:
        text, encoding = decoded_text(read_bounded(table, _LARGEST, "the label file"))
    except InputError as error:
        raise InputError(str(error) if str(table) in str(error) else f"{table} {error}") from error
    found: dict[Path, tuple[int, LabeledFile]] = {}
    paths: dict[str, Path] = {}  # a name may come a million times; looking for its file takes 50 us
    columns = (0, 1)
    for place, (line, cells) in enumerate(_rows(text, table)):
        if place > _MOST_ROWS:
            raise InputError(f"{table} has more than {_MOST_ROWS} lines: split it")
        if place == 0 and _is_head(folder, cells, classes):
            columns = _columns(cells)
            continue
        if len(cells) <= max(columns) or not cells[columns[0]]:
            raise InputError(f"{table}:{line}: wanted file,class_index")
        name, said = cells[columns[0]], cells[columns[1]]
        index = _index(said, classes, f"{table}:{line}")
        try:
            path = paths[name] = paths.get(name) or _file(folder, name)
        except InputError as error:
            read_as = "" if name.isascii() or encoding == "UTF-8" else f" (the file was read as {encoding})"
            hint = ": put it there, or take its line out" if str(error).endswith(" is not there") else ""
            raise InputError(f"{table}:{line}: {error}{read_as}{hint}") from error
        earlier = found.get(path)
        if earlier is not None and earlier[1].index != index:
            raise InputError(
                f"{table}:{line}: {name} is class {index} here and {earlier[1].index} in line {earlier[0]}"
            )
        found.setdefault(path, (line, LabeledFile(name, path, index)))
    if not found:
        raise InputError(f"{table} lists no images")
    return [one for _, one in found.values()]


def _rows(text: str, table: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells of all lines that are not empty, one after the other: a table may have millions."""
    first = re.match(r"\s*sep=(.)[\r\n]+", text)  # a spreadsheet's hint to itself
    skipped = 0 if first is None else first[0].count("\n") or 1
    start = 0 if first is None else first.end()
    taken, begins = 0, skipped + 1

    def lines() -> Iterator[str]:
        nonlocal taken
        for found in _LINE.finditer(text, start):
            taken += found.end() - found.start()
            if taken > _LONGEST_ROW:
                raise InputError(f"{table}:{begins}: is longer than {_LONGEST_ROW} characters (is a quote left open?)")
            yield found[0]

    reader = csv.reader(lines(), delimiter=_delimiter(text, start), strict=True, skipinitialspace=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row[:_MOST_CELLS]]
            if any(cells):
                yield begins, cells
            begins, taken = skipped + reader.line_num + 1, 0
    except csv.Error as error:
        raise InputError(f"{table}:{begins}: {error} (is a quote left open?)") from error


def _delimiter(text: str, start: int) -> str:
    line = next((one[0] for one in _LINE.finditer(text, start) if one[0].strip()), "")
    bare = re.sub(r'"[^"]*"', "", line)
    return next((sign for sign in ("\t", ";", ",") if sign in bare), ",")


def _is_head(folder: Path, cells: list[str], classes: Classes) -> bool:
    if len(cells) < 2 or _INDEX.fullmatch(cells[1]):
        return False
    known = classes.index_of(cells[1]) is not None
    return not (known and _is_there(folder, cells[0]))


def _columns(head: list[str]) -> tuple[int, int]:
    names = [cell.lower() for cell in head]
    files = next((names.index(name) for name in _FILE_HEADS if name in names), None)
    indices = next((names.index(name) for name in _CLASS_HEADS if name in names), None)
    return (0, 1) if files is None or indices is None or files == indices else (files, indices)


def _index(said: str, classes: Classes, where: str) -> int:
    if _INDEX.fullmatch(said):
        index = int(said.partition(".")[0])
        if not classes.has(index):
            raise InputError(
                f"{where}: there is no class {index}: the model has {classes.count} classes, 0 to "
                f"{(classes.count or 1) - 1}"
            )
        return index
    by_name = classes.index_of(said)
    if by_name is None:
        why = "and no label of the model" if classes.names else "and the model has no labels to look it up in"
        raise InputError(f"{where}: {said[:_SHOWN]!r} is no class index {why}: wanted file,class_index")
    return by_name


def _file(folder: Path, name: str) -> Path:
    """A file by its name, also where the name comes from a system with other separators or another form of letters."""
    forward = name.replace("\\", "/").removeprefix("./")
    for form in (forward, unicodedata.normalize("NFC", forward), unicodedata.normalize("NFD", forward)):
        if _is_there(folder, form):
            return file_inside(folder, form)
    return file_inside(folder, forward)


def _is_there(folder: Path, name: str) -> bool:
    try:
        return is_plain_name(name) and (folder / name).is_file()
    except OSError:  # a name that is too long
        return False
