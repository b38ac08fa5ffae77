"""Which class a folder or a name of a label file stands for; whatever does not fit the model's labels is refused."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from edgeguard.errors import InputError

#: Folders that systems and tools leave behind, besides those whose names begin with a dot.
_OF_SYSTEMS = frozenset(
    {"__macosx", "__pycache__", "@eadir", "lost+found", "$recycle.bin", "system volume information"}
)
_PARTS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
_SHOWN, _LONG = 6, 24
How = Literal["names", "numbers", "order", "table"]


@dataclass(frozen=True)
class Classes:
    """The classes that a model knows. Indices count classes: a background output is none.

    Attributes:
        names: of the classes, the background's left out; empty where the model does not say.
        count: how many there are; None where that is not known yet.
    """

    names: tuple[str, ...] = ()
    count: int | None = None

    @classmethod
    def of(cls, labels: Sequence[str], outputs: int | None = None, background: bool | None = None) -> "Classes":
        """The classes of a model's outputs.

        Args:
            labels: of the outputs, as the contract has them.
            outputs: how many there are; None where that is not known.
            background: whether output 0 is none of the classes; None: it is where its label says so.
        """
        if background is None:
            background = len(labels) > 0 and labels[0].strip().lower() == "background"
        names = tuple(labels[1:] if background else labels)
        if outputs is not None and labels and len(labels) != outputs:
            names = ()  # labels that do not fit the outputs name nothing
        return cls(names, len(names) or None if outputs is None else outputs - int(background))

    def index_of(self, name: str) -> int | None:
        """The class of that name: exactly so, else where case, `_` and `-` do not count; None for none or several."""
        for places, key in ((self._exactly, name), (self._loosely, _plain(name))):
            if key in places:
                return places[key]
        return None

    @cached_property
    def _exactly(self) -> dict[str, int | None]:
        return _places(self.names)

    @cached_property
    def _loosely(self) -> dict[str, int | None]:
        return _places(map(_plain, self.names))

    def has(self, index: int) -> bool:
        """Whether there is such a class, as far as is known."""
        return self.count is None or index < self.count


@dataclass(frozen=True)
class ClassMapping:
    """How folders or a table became class indices.

    Attributes:
        how: by the model's labels, by numbers that are the folders' names, by the order of the folders' names, or from
            labels.csv.
        pairs: name and index, in the order of the indices.
        left_out: what was there and is no class.
    """

    how: How
    pairs: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """In words, for terminal and report."""
        how = {
            "names": "folders by the model's labels",
            "numbers": "folders whose names are class indices",
            "order": "folders by the order of their names (the model has no labels: check it)",
            "table": "labels.csv",
        }[self.how]
        said = [f"{name if len(name) <= _LONG else name[:_LONG] + '...'} = {index}" for name, index in self.pairs]
        shown = ", ".join(said[:_SHOWN]) + (f", ... {said[-1]}" if len(said) > _SHOWN else "")
        left = f"; left out: {', '.join(self.left_out[:_SHOWN])}" if self.left_out else ""
        classes = f"{len(self.pairs)} class{'' if len(self.pairs) == 1 else 'es'}"
        return f"classes: {how}: {classes}: {shown}{left}"


def is_left_out(name: str) -> bool:
    """True for files and folders that are hidden or a system's own.

    Example:
        >>> [is_left_out(name) for name in (".ipynb_checkpoints", "__MACOSX", "cat")]
        [True, True, False]
    """
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def map_folders(folder: Path, names: Sequence[str], classes: Classes) -> ClassMapping:
    """The class of each class folder, by its name.

    Args:
        folder: that they are in, for errors.
        names: of the class folders.
        classes: of the model.

    Raises:
        InputError: a name fits none of the classes or several, or what the names mean cannot be told.
    """
    if {name.lower() for name in names} <= _PARTS:
        raise InputError(f"{folder} holds the parts {', '.join(names)} of a data set, not classes: give one of them")
    numbered = _numbered(names)
    by_name = {name: classes.index_of(name) for name in names}
    if classes.names and None not in by_name.values():
        found = {name: index for name, index in by_name.items() if index is not None}
        if numbered and numbered != found and all(classes.has(index) for index in numbered.values()):
            name = next(name for name in names if numbered[name] != found[name])
            raise InputError(
                f"{folder}: the folder {name} is class {found[name]} by the model's labels and class {numbered[name]} "
                "by its number: say which in a labels.csv (file,class_index)"
            )
        return _mapping("names", found)
    if numbered:
        beyond = [name for name, index in numbered.items() if not classes.has(index)]
        if beyond:
            raise InputError(
                f"{folder}: there is no class {beyond[0]}: the model has {classes.count} classes, 0 to "
                f"{(classes.count or 1) - 1}"
            )
        return _mapping("numbers", numbered)
    if classes.names:
        raise InputError(_misfit(folder, [name for name in names if by_name[name] is None], classes))
    if classes.count is not None and len(names) != classes.count:
        raise InputError(
            f"{folder} has {len(names)} class folders, the model {classes.count} classes and no labels: call the "
            "folders by class index (0, 1, ...), or give a labels.csv (file,class_index)"
        )
    return _mapping("order", {name: index for index, name in enumerate(names)})


def _misfit(folder: Path, names: Sequence[str], classes: Classes) -> str:
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    times = Counter(map(_plain, classes.names))
    twice = [name for name in names if times[_plain(name)] > 1]
    if twice:
        return f"{folder}: several of the model's classes are called {twice[0]}: name the folders by class index"
    known = ", ".join(classes.names[:_SHOWN]) + (", ..." if len(classes.names) > _SHOWN else "")
    return (
        f"{folder}: no label of the model fits the folder{'s' if len(names) > 1 else ''} {shown}; its labels are "
        f"{known}: rename them, name all folders by class index, or give a labels.csv (file,class_index)"
    )


def _mapping(how: How, found: dict[str, int]) -> ClassMapping:
    return ClassMapping(how, tuple(sorted(found.items(), key=lambda pair: pair[1])))


def _numbered(names: Sequence[str]) -> dict[str, int]:
    """Folders' numbers where all names are some and no two are the same; else nothing."""
    if not all(re.fullmatch(r"[0-9]{1,9}", name) for name in names):
        return {}
    found = {name: int(name) for name in names}
    return found if len(set(found.values())) == len(found) else {}


def _places(names: Iterable[str]) -> dict[str, int | None]:
    """Where each name stands; None for one that stands in several places."""
    found: dict[str, int | None] = {}
    for place, name in enumerate(names):
        found[name] = None if name in found else place
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
