"""What mkdocs calls while it builds the site (mkdocs.yml names this file).

Pages in `docs` are read on the project's host as well, where lists need no empty line before them and links may leave
the folder. Here they get what Python-Markdown and the site want; the files themselves stay as they are.
"""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from docs.builder.cli_page import cli_page  # noqa: E402
from docs.builder.configuration_page import configuration_page  # noqa: E402
from docs.builder.examples_page import examples_page  # noqa: E402
from docs.builder.places import (  # noqa: E402
    FROM_THE_TOP,
    site_link,
    with_lists_apart,
    with_options_marked,
    with_titles,
)

#: What explains comes before what records, where both have the words of a search.
_BOOST = {"glossary.md": 4, "concepts.md": 3, "start.md": 2, "troubleshooting.md": 2, "decisions.md": 0.3}
_BOOST |= {"changelog.md": 0.3, "readme.md": 0.3}
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code, and those that lie outside `docs`."""
    from edgeguard.cli.main import app

    made = {
        "reference/cli.md": cli_page(app),
        "reference/configuration.md": configuration_page(),
        "examples.md": examples_page(ROOT / "examples"),
    }
    made |= {place: (ROOT / name).read_text(encoding="utf-8") for place, name in FROM_THE_TOP.items()}
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    for path in sorted((ROOT / "examples").glob("*.toml")):
        files.append(File.generated(config, f"examples/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """A page as the site wants it."""
    place = page.file.src_uri
    page.meta.setdefault("search", {"boost": _BOOST.get(place, 1)})

    def link(found: re.Match[str]) -> str:
        return f"]({site_link(found[1], place)}{found[2] or ''})"

    return with_lists_apart(_LINK.sub(link, with_titles(markdown, ROOT / "docs")))


def on_page_content(html: str, **_: Any) -> str:
    """A page after Markdown: its tables of options are marked for the style sheet."""
    return with_options_marked(html)
