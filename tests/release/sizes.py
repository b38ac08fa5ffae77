"""How much of an installation is whose."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from release.steps import ReleaseError

#: MB on the device, pip not counted.
LIMIT_MB = 250.0


def installed_sizes(site: Path) -> dict[str, int]:
    """Bytes of each distribution in a site-packages, bytecode included, largest first; pip is left out."""
    sizes = {}
    for record in site.glob("*.dist-info/RECORD"):
        name = record.parent.name.split("-")[0]
        if name != "pip":
            files = [site / row[0] for row in csv.reader(io.StringIO(record.read_text())) if row]
            sizes[name] = sum(_size_with_bytecode(file) for file in files if "__pycache__" not in file.parts)
    return dict(sorted(sizes.items(), key=lambda pair: -pair[1]))


def _size_with_bytecode(file: Path) -> int:
    size = file.stat().st_size if file.is_file() else 0
    if file.suffix == ".py":
        size += sum(code.stat().st_size for code in (file.parent / "__pycache__").glob(f"{file.stem}.cpython-*.pyc"))
    return size


def check_sizes(site: Path) -> Iterator[str]:
    """A table of the distributions' sizes.

    Raises:
        ReleaseError: together they are larger than the device may be asked for, or files belong to nobody.
    """
    sizes = installed_sizes(site)
    for name, size in sizes.items():
        yield f"{size / 1e6:8.1f} MB  {name}"
    total = sum(sizes.values())
    yield f"{total / 1e6:8.1f} MB  together, of at most {LIMIT_MB:.0f}"
    there = sum(file.stat().st_size for file in site.rglob("*") if file.is_file() and not file.is_symlink())
    if there - total > 0.01 * there:
        raise ReleaseError(f"{site} holds {there / 1e6:.1f} MB, its distributions account for {total / 1e6:.1f}")
    if total > LIMIT_MB * 1e6:
        raise ReleaseError(f"installed size {total / 1e6:.1f} MB, at most {LIMIT_MB:.0f} MB are allowed")
