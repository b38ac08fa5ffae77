"""Where work is kept that an interrupted conversion need not do again."""

import os
import tempfile
from pathlib import Path


def cache_file(name: str) -> Path:
    """A path in EdgeGuard's cache folder, which is made: $XDG_CACHE_HOME/edgeguard, else ~/.cache/edgeguard.

    Where neither can be written a temporary folder serves.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeguard"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written: conversions still run
        folder = Path(tempfile.mkdtemp(prefix="edgeguard-cache-"))
    return folder / name
