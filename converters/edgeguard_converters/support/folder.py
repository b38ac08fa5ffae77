"""Files between the steps of a conversion."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeguard.system.leftovers import clear_folders, hold

_NAME = re.compile(r"edgeguard-[0-9]+-[0-9a-z_]{8}")


@contextmanager
def work_folder() -> Iterator[Path]:
    """A temporary folder for the length of some work; its name tells which process it belongs to.

    Those of conversions that were killed are cleared first.
    """
    clear_folders(Path(tempfile.gettempdir()), _NAME)
    folder, held = _new()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _new() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"edgeguard-{os.getpid()}-"))
        held = hold(folder)
        if held is not None:
            return folder, held
