"""Where pages and links are in the site, what Python-Markdown wants of a page, and what the style sheet wants."""

import posixpath
import re
from pathlib import Path

#: Pages from the top of the checkout, by their place in the site.
FROM_THE_TOP = {
    "readme.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "conduct.md": "CODE_OF_CONDUCT.md",
    "reporting.md": "SECURITY.md",
}
_OPTIONS = re.compile(
    r"<table>(?=\s*<thead>\s*<tr>\s*<th>(?:(?!</th>).)*</th>\s*<th>values</th>\s*<th>default</th>)", re.S
)
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


def with_titles(markdown: str, folder: Path) -> str:
    """Links whose text is the name of a page's file get the page's title as their text.

    Args:
        markdown: of a page.
        folder: with the pages.

    Example:
        >>> with_titles("see [run.md](run.md#tracks)", Path("docs"))
        'see [Running a model](run.md#tracks)'
    """

    def title(found: re.Match[str]) -> str:
        page = folder / found[1]
        first = page.read_text(encoding="utf-8").partition("\n")[0] if page.exists() else ""
        return f"[{first.removeprefix('# ') or found[1]}]"

    return re.sub(r"\[([\w-]+\.md)\](?=\()", title, markdown)


def with_options_marked(html: str) -> str:
    """Tables with the columns name, values, default and text get an attribute: a phone shows their rows as paragraphs.

    Example:
        >>> row = "<thead><tr><th>key</th><th>values</th><th>default</th><th></th></tr></thead>"
        >>> with_options_marked(f"<table>{row}")[:20]
        '<table data-options>'
    """
    return _OPTIONS.sub("<table data-options>", html).replace("<td>required</td>", "<td data-required>required</td>")


def _in_list(lines: list[str]) -> bool:
    """Whether the paragraph before belongs to an item."""
    for line in reversed(lines):
        if not line.strip():
            return False
        if _LIST.match(line):
            return True
    return False
