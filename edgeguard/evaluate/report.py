"""Placeholder until the report is written."""

from pathlib import Path
from typing import Any


def write_report(output: Path, plan: Any, cells: Any) -> None:
    """Nothing yet."""
