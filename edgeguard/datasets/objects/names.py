"""The classes of annotated boxes in a model's own numbers: by name, else by number."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.system.foreign import parsing, read_regular

_LARGEST = 1 << 20  # bytes
_LONG = 40  # characters of a name in a message


def class_numbers(names: Mapping[int, str], labels: Sequence[str], origin: str) -> tuple[dict[int, int] | None, str]:
    """From the annotations' class numbers to the model's, and how in words; None: they are the model's already.

    A class that the model lacks has no entry. Capitals, `_` and `-` do not count in names.

    Args:
        names: of the annotations' classes, by number; empty where none are known.
        labels: of the model; empty where it has none.
        origin: of the names, for messages.

    Raises:
        InputError: not one name is one of the model's.

    Example:
        >>> class_numbers({3: "Stop", 5: "cow"}, ("person", "stop"), "a.json")[0]
        {3: 1}
    """
    if not names or not labels:
        return None, "classes by number: one side has no names"
    known = {_plain(label): index for index, label in enumerate(labels)}
    found = {number: known[_plain(name)] for number, name in names.items() if _plain(name) in known}
    if not found:
        theirs, ours = (", ".join(name[:_LONG] for name in list(some)[:3]) for some in (names.values(), labels))
        raise InputError(f"{origin}: no class has a name that the model knows: {theirs}, ... there, {ours}, ... here")
    return found, f"classes by name: {len(found)} of {len(names)} are the model's"


def yolo_names(folder: Path) -> tuple[dict[int, str], str | None]:
    """Class names of a YOLO-style folder, from its data.yaml or classes.txt, and that file's name; empty without.

    Raises:
        InputError: the file is damaged.
    """
    for path in (*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.yml"))):
        with parsing(path.name):
            found = _names_in(read_regular(path, _LARGEST, "the classes").decode("utf-8"))
        if found:
            return found, path.name
    for name in ("classes.txt", "labels/classes.txt", "obj.names"):
        path = folder / name
        if path.is_file():
            with parsing(name):
                text = read_regular(path, _LARGEST, "the classes").decode("utf-8")
            lines = [line.strip() for line in text.splitlines()]
            return {number: line for number, line in enumerate(lines) if line}, name
    return {}, None


def _names_in(text: str) -> dict[int, str]:
    """The `names` of a data.yaml: a list in brackets, a list of lines, or number: name on lines.

    A reader of this one key: the base installation has no YAML library.
    """
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("names:")), None)
    if start is None:
        return {}
    rest = lines[start].partition(":")[2].split(" #")[0].strip()
    if rest.startswith(("[", "{")):
        inside = " ".join([rest, *(line.strip() for line in lines[start + 1 :])])
        closing = inside.find("]" if rest[0] == "[" else "}")
        if closing < 0:
            raise ValueError("names: the list does not end")
        words = [word.strip() for word in inside[1:closing].split(",") if word.strip()]
        if rest[0] == "[":
            return {number: _unquoted(word) for number, word in enumerate(words)}
        return {int(word.partition(":")[0]): _unquoted(word.partition(":")[2]) for word in words}
    found: dict[int, str] = {}
    for line in lines[start + 1 :]:
        word = line.split(" #")[0].strip()
        if word.startswith("- "):
            found[len(found)] = _unquoted(word[2:])
        elif ":" in word and line[:1] in (" ", "\t"):
            found[int(word.partition(":")[0])] = _unquoted(word.partition(":")[2])
        elif word:
            break
    return found


def _unquoted(text: str) -> str:
    return text.strip().strip("'\"")


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
