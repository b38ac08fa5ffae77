"""Where work is kept that an interrupted conversion need not do again."""

import os
from pathlib import Path


def cache_file(name: str) -> Path:
    """A path in EdgeGuard's cache folder, which is made: $XDG_CACHE_HOME/edgeguard, else ~/.cache/edgeguard.

    Where it cannot be made the path leads nowhere: callers go on without keeping anything.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeguard"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        pass  # a home that cannot be written: nothing is kept, conversions still run
    return folder / name
