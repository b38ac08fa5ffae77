"""Reading a file of torch.save that may be somebody else's: tensors in plain containers, in memory that is bounded."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from edgeguard.errors import DeviceError, EdgeGuardError, InputError
from edgeguard.system.archives import ForeignZip
from edgeguard.system.files import write_bytes
from edgeguard_converters.load.archive import MOST_MEMBERS, fresh_archive, read_archive, read_file
from edgeguard_converters.load.pickle_words import check_objects

_PICKLES = 5  # of the format before zips: a number, a version, a machine, the values, the order of the storages


def save_tensors(path: Path, value: Any) -> None:
    """What `load_tensors` reads, all of it or nothing. torch itself says of a full disk that its own file is odd.

    Raises:
        DeviceError: the disk is full or cannot be written; what was there is kept.
    """
    stream = io.BytesIO()
    torch.save(value, stream)
    write_bytes(path, stream.getvalue())


def load_tensors(path: Path) -> Any:
    """What `torch.save` wrote, by torch's safe loader, from an archive that is written anew in memory.

    Args:
        path: of the file; no code of it runs.

    Raises:
        InputError: it cannot be read, it would grow while it is unpacked, holds more than tensors and containers, or
            containers that hold each other too often.

    Example:
        >>> torch.save({"step": 3}, "state.pt")
        >>> load_tensors(Path("state.pt"))
        {'step': 3}
    """
    data = read_file(path)
    stream = io.BytesIO(data)
    if zipfile.is_zipfile(stream):
        with _readable(path), ForeignZip(data, most_members=MOST_MEMBERS) as archive:
            packed = [entry.filename for entry in archive.entries if entry.compress_type != zipfile.ZIP_STORED]
        if packed:  # torch.save packs nothing, and its reader has no bound for what is packed
            raise InputError(f"{path} holds packed members, which torch.save never writes; refused")
        members = read_archive(data, path.name)
        for name, member in members.items():
            if name.endswith(".pkl"):
                check_objects(member, path.name)
        stream = fresh_archive(members)
    else:
        end = 0
        for _ in range(_PICKLES):
            end += check_objects(data[end:], path.name)
    stream.seek(0)
    with _readable(path):
        return torch.load(stream, weights_only=True, map_location="cpu")


def not_finite(state: Mapping[str, Any]) -> str | None:
    """The name of the first tensor that holds a number that is not finite; None where there is none."""
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            return str(name)
    return None


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Whatever a network or an optimizer says to a state that is not its own becomes one line.

    Raises:
        InputError: naming the file.
    """
    try:
        yield
    except EdgeGuardError:
        raise
    except Exception as error:
        raise InputError(f"{path} does not fit what is trained ({type(error).__name__}): delete it") from error


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (EdgeGuardError, MemoryError):
        raise
    except OSError as error:
        raise DeviceError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # torch and pickle raise many kinds
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path} is damaged: it holds no tensors ({type(error).__name__} {reason})") from error
