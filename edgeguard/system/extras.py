"""How a user gets the packages of an extra: never by a name on the package index that is not ours.

The index has another project called edgeguard. A line such as `pip install 'NAME[web]'` would fetch that one where ours
was installed from a wheel or a checkout.
"""

import re
import sys
from pathlib import Path

from edgeguard.errors import InputError

_FEW = 3  # packages: so many fit into a line
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def how_to_install(extra: str) -> str:
    """The command that installs what an extra holds, for a line that says what is missing.

    Args:
        extra: its name in pyproject.toml, such as `web`.

    Example:
        >>> how_to_install("web").endswith("pip install jinja2")
        True
    """
    names = packages_of(extra)
    pip = Path(sys.prefix, "bin", "pip")
    if 0 < len(names) <= _FEW:
        return f"{pip} install {' '.join(names)}"
    return f"{pip} install 'WHEEL[{extra}]', where WHEEL is EdgeGuard's own file or checkout (see docs/install.md)"


def missing_part(error: ImportError, part: str, extra: str) -> InputError:
    """One line for a part that cannot be imported: its extra is not installed, or this wheel is a board's.

    Args:
        error: of the import.
        part: what the user wanted: "the converter".
        extra: whose packages it needs.
    """
    if (error.name or "").split(".")[0] in ("edgeguard", "edgeguard_converters"):
        return InputError(f"this wheel is a board's and leaves {part} out: use EdgeGuard on a workstation for it")
    return InputError(f"{part} is not installed ({error.name}): {how_to_install(extra)}")


def packages_of(extra: str) -> list[str]:
    """The names of the packages in an extra; none where one of them is an extra itself, or nothing is known of it."""
    from importlib import metadata  # slow, and nothing is missing as a rule

    try:
        lines = metadata.requires("edgeguard") or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        named, name = _EXTRA.search(marker), _NAME.match(requirement)
        if named is None or name is None or named[1] != extra:
            continue
        if name[0] == "edgeguard":
            return []
        found.append(name[0])
    return found
