"""What hostile files of torch are made of: good ones, their members, and a pickle that creates a file."""

import functools
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from converters.models import SIDE, Residual

Make = Callable[[Path, Path], Path]
#: Name, kind of attack, and what makes the file in a folder (flag: the file that must not appear).
Hostile = tuple[str, str, Make]


class Bomb:
    """Unpickling this creates a file."""

    def __init__(self, flag: Path) -> None:
        self.flag = str(flag)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.flag, "w")


def saved(value: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def program() -> dict[str, bytes]:
    """The members of a good .pt2, the caller's own."""
    return members(_exported())


def script() -> dict[str, bytes]:
    """The members of a good TorchScript file, the caller's own."""
    return members(_traced())


@functools.cache
def _exported() -> bytes:
    stream = io.BytesIO()
    torch.export.save(torch.export.export(Residual().eval(), (torch.zeros(1, 3, SIDE, SIDE),)), stream)
    return stream.getvalue()


@functools.cache
def _traced() -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(Residual().eval(), torch.zeros(1, 3, SIDE, SIDE)), stream)
    return stream.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, found: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in found.items():
            archive.writestr(name, data)
    return path
