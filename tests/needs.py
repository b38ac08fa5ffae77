"""Packages of extras that a test module needs."""

import importlib.util
import os

import pytest


def needs(*packages: str, extras: str) -> None:
    """Skip the module where one is not installed, and fail there with CI=true. Nothing is imported: the import of a
    converter takes seconds in each worker, whether or not it has a test of this module.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing and os.environ.get("CI"):
        raise ImportError(f"{', '.join(missing)}: of {extras}, and not installed")
    if missing:
        pytest.skip(f"{extras} not installed: {', '.join(missing)}", allow_module_level=True)
