"""Files between the steps of a conversion."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def work_folder() -> Iterator[Path]:
    """A temporary folder for the length of some work; its name tells which process it belongs to."""
    folder = Path(tempfile.mkdtemp(prefix=f"edgeguard-{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
