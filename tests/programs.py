"""Programs that tests need: in CI a missing one is a failure, elsewhere the test is skipped with the reason."""

import os
import shutil
from typing import NoReturn

import pytest


def needed(*names: str) -> str:
    """The path of the first of these programs that is installed (administrators' folders included)."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    found = next((place for name in names if (place := shutil.which(name, path=path)) is not None), None)
    return found if found is not None else missing(names[0])


def missing(what: str) -> NoReturn:
    """End the test: what it needs is not here."""
    if os.environ.get("CI"):
        pytest.fail(f"no {what} on this machine")
    pytest.skip(f"needs {what}")
