"""Links of all pages lead somewhere, and the reference pages miss no flag, key or public name. Without the generator:
`make docs` builds the site itself, strictly."""

import importlib
import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import edgeguard
from docs.builder.cli_page import cli_page
from docs.builder.examples_page import examples_page
from docs.builder.places import with_options_marked, with_titles
from edgeguard.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
#: Pages that only the site has, made from the code: their headings are not in a file.
MADE = {"docs/reference/cli.md", "docs/reference/configuration.md", "docs/examples.md", "docs/contributing.md"}
_FENCED = re.compile(r"^```.*?^```", re.M | re.S)
_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")


@cache
def _anchors(page: Path) -> set[str]:
    """As a host of Markdown makes them: lower case, spaces to hyphens, no punctuation, later ones numbered."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ +(.+?)\s*$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.M):
        text = unicodedata.normalize("NFC", re.sub(r"[`*]|\]\([^)]*\)|!?\[", "", heading)).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.add(slug if not seen[slug] else f"{slug}-{seen[slug]}")
        seen[slug] += 1
    return found


def _broken(page: Path) -> list[str]:
    broken = []
    for link in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        inside = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else ""
        if inside in MADE:
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert _broken(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_of_a_page_end_before_column_121(page: Path) -> None:
    """Tables, code, and lines that hold nothing but a link or a picture are as long as they are."""
    lines = _FENCED.sub("", page.read_text(encoding="utf-8")).splitlines()
    free = re.compile(r"\||    |!?\[[^\]]*\]\([^)]*\)$")
    assert [line for line in lines if len(line) > 120 and not free.match(line)] == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One thing\n[a](#one-thing) [b](#another) [c](gone.md) [d](https://example.org)\n")
    assert _broken(page) == ["#another", "gone.md"]


def test_pages_of_the_navigation_are_there() -> None:
    text = re.sub(r"!!python\S+ *", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    from docs.builder.places import FROM_THE_TOP

    named = set(_leaves(yaml.safe_load(text)["nav"]))
    made = {one.removeprefix("docs/") for one in MADE} | set(FROM_THE_TOP)
    assert [one for one in named if one not in made and not (ROOT / "docs" / one).exists()] == []
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert pages <= named, "a page that the navigation of mkdocs.yml does not name is not found by readers"


def _leaves(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part]
    return [leaf for one in (part.values() if isinstance(part, dict) else part) for leaf in _leaves(one)]


def _flags(command: Any) -> list[str]:
    if hasattr(command, "commands"):
        return [flag for one in command.commands.values() for flag in _flags(one)]
    return [opt for one in command.params if one.param_type_name == "option" for opt in one.opts]


def test_every_flag_is_on_the_page_of_the_command_line() -> None:
    page, flags = cli_page(app), _flags(typer.main.get_command(app))
    assert len(flags) > 100
    assert {flag for flag in flags if f"`{flag}`" not in page} <= {"--help"}


def test_tables_of_the_command_line_have_four_cells() -> None:
    rows = [line for line in cli_page(app).splitlines() if line.startswith("|")]
    assert rows and {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


@pytest.mark.convert
def test_every_key_is_on_the_page_of_configuration_files() -> None:
    from docs.builder.configuration_page import configuration_page
    from edgeguard.cli.config import Kind, declared

    page = configuration_page()
    for kind in Kind:
        keys = declared(kind)
        own = [name for name, key in keys.items() if key.table is None]
        inner = [one.name for key in keys.values() for one in (key.table or {}).values() if not one.rest]
        names = own + inner
        assert [name for name in names if f"`{name}`" not in page and f"[{name}]" not in page] == []


def test_every_public_name_is_on_the_page_of_the_python_interface() -> None:
    assert set(edgeguard.__all__) - {"__version__"} <= _shown()


def _api_page() -> str:
    return (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")


def _shown() -> set[str]:
    return {line.rpartition(".")[2] for line in _api_page().splitlines() if line.startswith("::: ")}


#: Packages whose names the page promises, and those that only other packages of ours import from.
_PROMISED = ("evaluate", "evaluate.attacks", "guard", "model", "pipeline")
_OURS_ALONE = ("camera", "datasets.objects", "patchguard", "sinks.web", "system.http")


def test_each_package_that_exports_names_promises_them_or_is_known_not_to() -> None:
    code = ROOT / "edgeguard"
    found = [path.parent for path in code.rglob("__init__.py") if "\n__all__ = " in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(code).parts) for path in found]
    assert sorted(name for name in names if name) == sorted((*_PROMISED, *_OURS_ALONE))


@pytest.mark.parametrize("package", _PROMISED)
def test_every_name_that_a_package_exports_is_on_the_page(package: str) -> None:
    if package.startswith("evaluate"):
        pytest.importorskip("torch", reason="attacks need PyTorch")
    exported = set(importlib.import_module(f"edgeguard.{package}").__all__) - {"KINDS"}  # a table, not an interface
    assert exported and exported <= _shown()


def test_every_name_of_the_converter_is_on_the_page() -> None:
    import edgeguard_converters

    assert set(edgeguard_converters.__all__) <= _shown()


def test_every_name_on_the_page_is_there() -> None:
    named = re.findall(r"^::: (edgeguard\.[\w.]+)$", _api_page(), re.M)
    light = [name for name in named if not name.startswith(("edgeguard.evaluate", "edgeguard.train"))]
    assert len(light) > 20 and [name for name in light if _found(name) is None] == []


def _found(name: str) -> object:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last, None)


def test_tables_of_options_are_marked_for_the_style_sheet() -> None:
    head = "<thead>\n<tr>\n<th><code>{}</code></th>\n<th>{}</th>\n<th>default</th>\n<th></th>\n</tr>\n</thead>"
    options, other = head.format("[camera]", "values"), head.format("system", "Python")
    html = f"<table>\n{other}</table><table>\n{options}<td>required</td></table>"
    marked = with_options_marked(html)
    assert marked.count("<table data-options>") == 1 and marked.index("data-options") > marked.index("Python")
    assert "<td data-required>" in marked


def test_a_link_with_the_name_of_a_file_gets_its_title() -> None:
    assert with_titles("[run.md](run.md#tracks), [gone.md](gone.md)", ROOT / "docs") == (
        "[Running a model](run.md#tracks), [gone.md](gone.md)"
    )


def test_every_example_is_on_the_page_of_examples() -> None:
    page = examples_page(ROOT / "examples")
    assert all(f"`examples/{path.name}`" in page for path in (ROOT / "examples").glob("*.py"))
