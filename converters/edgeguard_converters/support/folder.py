"""Files between the steps of a conversion."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeguard.system.leftovers import new_held_folder


@contextmanager
def work_folder() -> Iterator[Path]:
    """A temporary folder for the length of some work; its name tells which process it belongs to."""
    folder, held = new_held_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)
