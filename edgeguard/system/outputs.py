"""An output folder: there from the beginning, and gone again where a command is refused before it did work."""

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from edgeguard.errors import DeviceError

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


@contextmanager
def output_folder(folder: Path, *begun: str) -> Iterator[None]:
    """A folder of results, made with its parents where it is not there: one that cannot be is refused before the work.

    Where the body fails and nothing but what is `begun` was written, that goes again, and so do the folders that were
    made for it. Where more was written, work was done: everything stays, and the next command goes on with it. What was
    there before always stays. An interruption (Ctrl-C) is no failure.

    Args:
        folder: of the results.
        begun: patterns (as of `Path.glob`) of what is written before any work is done: files, and after their files the
            folders that they lie in.

    Raises:
        DeviceError: the folder cannot be made.

    Example:
        >>> with output_folder(Path("audit/"), "evaluation.json"):  # doctest: +SKIP
        ...     evaluate_into("audit/")
    """
    made = _make(folder)
    before, known = _names(folder), set(_matching(folder, begun))
    try:
        yield
    except Exception:
        ours = [path for path in _matching(folder, begun) if path not in known]
        if all(path in ours for path in _files(folder, _names(folder) - before)):
            _remove(ours)
            _remove_folders(made)
        raise


def into_folder(name: str, *begun: str) -> Callable[[Callable[_Given, _Result]], Callable[_Given, _Result]]:
    """A function whose parameter of that name is its `output_folder`, which is there as long as it runs.

    Args:
        name: of the parameter, a path.
        begun: see `output_folder`.
    """

    def with_folder(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
        signature = inspect.signature(function)

        @wraps(function)
        def called(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
            with output_folder(Path(signature.bind(*args, **kwargs).arguments[name]), *begun):
                return function(*args, **kwargs)

        return called

    return with_folder


def _make(folder: Path) -> list[Path]:
    """Make a folder and what is missing above it; returns these, the innermost first."""
    missing = []
    try:
        for path in (folder, *folder.parents):
            if os.path.lexists(path):  # a link that leads nowhere is somebody's
                break
            missing.append(path)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_folders(missing)
        raise DeviceError(f"cannot write in {folder}: {error.strerror}") from error
    return missing


def _names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def _files(folder: Path, names: set[str]) -> Iterator[Path]:
    """Whatever is no folder, of these names and below them."""
    for name in names:
        path = folder / name
        if not path.is_dir() or path.is_symlink():
            yield path
        else:
            for inside, _, files in os.walk(path):
                yield from (Path(inside, file) for file in files)


def _remove(paths: Sequence[Path]) -> None:
    """Remove files and empty folders, one after the other; what cannot be removed stays."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            _remove_folders([path])
        else:
            with suppress(OSError):
                path.unlink()


def _remove_folders(paths: Sequence[Path]) -> None:
    for path in paths:
        with suppress(OSError):  # something lies in it, or it is a link
            path.rmdir()
