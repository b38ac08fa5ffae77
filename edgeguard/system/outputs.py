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
_IS_FILE = "it is a file, and a folder is wanted"
_MOST_LOOKED_AT = 20_000  # files, or folders that wait: some 50 ms


@contextmanager
def output_folder(folder: Path, *begun: str) -> Iterator[None]:
    """A folder of results, made with its parents where it is not there: one that cannot be is refused before the work.

    Where the body fails and nothing but what is `begun` was written, that goes again, and so do the folders that were
    made for it. Where more was written or changed, at any depth, work was done: everything stays, and the next command
    goes on with it. So it does in a folder of more than `_MOST_LOOKED_AT` files, which are not looked at. What was
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
    before, known = _files(folder), set(_matching(folder, begun))
    try:
        yield
    except Exception:
        ours, after = _matching(folder, begun), _files(folder)
        if before is not None and after is not None and _changed(before, after) <= set(ours):
            _remove([path for path in ours if path not in known])
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
        raise DeviceError(f"cannot write in {folder}: {why_no_folder(folder, error)}") from error
    return missing


def refuse_file(folder: Path) -> None:
    """Refuse a file in the place of a folder at once, where seconds of imports go before `output_folder`.

    Raises:
        DeviceError: it is a file.
    """
    if folder.is_file():
        raise DeviceError(f"cannot write in {folder}: {_IS_FILE}")


def why_no_folder(folder: Path, error: OSError) -> str:
    """Why a folder could not be made, in words."""
    return _IS_FILE if folder.is_file() else str(error.strerror or error)


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def _files(folder: Path) -> dict[Path, tuple[int, int, int]] | None:
    """Whatever is no folder, at any depth, with what changes when it is written; None where it is too much to look."""
    found: dict[Path, tuple[int, int, int]] = {}
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        continue
                    about = entry.stat(follow_symlinks=False)
                    found[Path(entry.path)] = about.st_ino, about.st_size, about.st_mtime_ns
                    if len(found) > _MOST_LOOKED_AT:
                        return None
        except OSError:  # it went, or is somebody else's
            continue
        if len(waiting) > _MOST_LOOKED_AT:
            return None
    return found


def _changed(before: dict[Path, tuple[int, int, int]], after: dict[Path, tuple[int, int, int]]) -> set[Path]:
    """What was written, whether it was there or not."""
    return {path for path, about in after.items() if before.get(path) != about}


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
