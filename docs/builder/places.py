"""Where pages and links are in the site, and what Python-Markdown wants of a page."""

import posixpath
import re

#: Pages from the top of the checkout, by their place in the site.
FROM_THE_TOP = {
    "readme.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "conduct.md": "CODE_OF_CONDUCT.md",
    "reporting.md": "SECURITY.md",
}
_LIST = re.compile(r"^(?:[-*]|\d+\.) ")


def site_link(target: str, place: str) -> str:
    """Where a link of a page leads in the site.

    Args:
        target: as the page has it, relative to its own file in the checkout.
        place: of the page in the site.

    Example:
        >>> site_link("../README.md", "run.md"), site_link("docs/run.md", "readme.md")
        ('readme.md', 'run.md')
        >>> site_link("../python.md", "reference/api.md")
        '../python.md'
    """
    if ":" in target:
        return target
    folder = "" if place in FROM_THE_TOP else posixpath.join("docs", posixpath.dirname(place))
    inside = posixpath.normpath(posixpath.join(folder, target))
    places = {name: place for place, name in FROM_THE_TOP.items()}
    found = places.get(inside, inside.removeprefix("docs/"))
    return posixpath.relpath(found, posixpath.dirname(place) or ".")


def with_lists_apart(markdown: str) -> str:
    r"""An empty line before a list or a table that follows a paragraph at once, outside of code.

    Example:
        >>> with_lists_apart("Three things:\n- one")
        'Three things:\n\n- one'
    """
    lines: list[str] = []
    in_code = False
    for line in markdown.splitlines():
        before = lines[-1] if lines else ""
        if line.startswith("```"):
            in_code = not in_code
        begins = (_LIST.match(line) and not _in_list(lines)) or (line.startswith("|") and not before.startswith("|"))
        if begins and before.strip() and not in_code:
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def _in_list(lines: list[str]) -> bool:
    """Whether the paragraph before belongs to an item."""
    for line in reversed(lines):
        if not line.strip():
            return False
        if _LIST.match(line):
            return True
    return False
