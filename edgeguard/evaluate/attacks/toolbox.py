"""The Adversarial Robustness Toolbox (ART), imported without a trace in the user's home."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any


def toolbox(module: str) -> Any:
    """`art.MODULE`.

    At its first import ART writes a configuration into the home folder, and fails in one of two processes that do so
    at the same moment: it gets a home of its own for that long.

    Raises:
        ImportError: it is not installed.

    Example:
        >>> toolbox("attacks.evasion").FastGradientMethod.__name__
        'FastGradientMethod'
    """
    if "art" in sys.modules:
        return importlib.import_module(f"art.{module}")
    with TemporaryDirectory(prefix="edgeguard-") as home, _home(home):
        return importlib.import_module(f"art.{module}")


@contextmanager
def _home(folder: str) -> Iterator[None]:
    before = os.environ.get("HOME")
    os.environ["HOME"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = before
