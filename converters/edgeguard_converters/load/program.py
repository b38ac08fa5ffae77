"""A torch.export program of a stranger's .pt2, and what the archive says of itself."""

import logging
from pathlib import Path
from typing import Any

import torch

from edgeguard.errors import InputError
from edgeguard_converters.load.archive import read_archive, read_file
from edgeguard_converters.load.exported_archive import facts_of_archive, fresh_program
from edgeguard_converters.load.pickle_guard import doors_shut


def read_program(path: Path, data: bytes | None = None) -> tuple[torch.export.ExportedProgram, dict[str, Any]]:
    """Load a .pt2 without ever unpickling code; call `.module(check_guards=False)` of it, since guards are source.

    Args:
        path: of the file.
        data: its bytes, where they were read already.

    Returns:
        The program, and the archive's `edgeguard.json` (empty where it has none).

    Raises:
        PickleRefused: a pickle or another way to run code hides in the archive.
        InputError: the archive is damaged.
    """
    members = read_archive(read_file(path) if data is None else data, path.name)
    facts = facts_of_archive(members)
    fresh = fresh_program(members)
    logging.getLogger("torch.export").setLevel(logging.ERROR)
    try:
        with doors_shut():
            return torch.export.load(fresh), facts
    except InputError:
        raise
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"torch cannot load the exported program: {first}") from error
