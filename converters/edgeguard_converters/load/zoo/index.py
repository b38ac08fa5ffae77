"""The index of known architectures: which of them a state_dict's names and shapes belong to.

`benchmarks/zoo_index.py` makes it. It holds hashes of names and of shapes, the number of classes left open.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

INDEX = Path(__file__).with_name("families.json")
_COUNTER = "num_batches_tracked"  # older files lack it, and it changes nothing


@dataclass(frozen=True)
class Known:
    """An architecture whose names and shapes a state_dict has.

    Attributes:
        name: `torchvision:resnet18`, as `--arch` takes it.
        function: equal for architectures of these names and shapes that compute the same.
        classes: the number of outputs that the state_dict holds.
    """

    name: str
    function: int
    classes: int


def known_architectures(shapes: Mapping[str, tuple[int, ...]]) -> list[Known]:
    """Architectures that a state_dict of these tensors fits, the head's size free.

    Args:
        shapes: of the tensors by their names.
    """
    found = []
    for name, wanted, function, head in _families().get(names_hash(shapes), []):
        sides = {shapes[tensor][0] for tensor in head if shapes.get(tensor)}
        if len(sides) == 1 and shapes_hash(shapes, head) == wanted:
            found.append(Known(name, function, sides.pop()))
    return found


def same_names(names: Iterable[str]) -> list[str]:
    """Architectures whose tensors have these names, whatever their shapes; for messages."""
    return [name for name, *_ in _families().get(names_hash(names), [])]


def known_classes() -> frozenset[str]:
    """Classes that the known architectures are made of, as a pickle names them: `torch.nn.modules.conv Conv2d`."""
    return frozenset(f"{module} {name}" for module, names in _document()["classes"].items() for name in names)


def names_hash(names: Iterable[str]) -> str:
    """Of a state_dict's names, in any order."""
    return _hash(sorted(name for name in names if not name.endswith(_COUNTER)))


def shapes_hash(shapes: Mapping[str, tuple[int, ...]], head: Iterable[str]) -> str:
    """Of a state_dict's shapes, without the number of classes that the tensors of `head` begin with."""
    free = set(head)
    lines = [
        f"{name}:{('*', *shape[1:]) if name in free else shape}"
        for name, shape in sorted(shapes.items())
        if not name.endswith(_COUNTER)
    ]
    return _hash(lines)


def _hash(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _families() -> dict[str, list[list[Any]]]:
    families: dict[str, list[list[Any]]] = _document()["families"]
    return families


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(INDEX.read_text(encoding="utf-8"))
    return document
