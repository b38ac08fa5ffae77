"""Names of the user's come out as text: on every page, wherever such a name can stand."""

import json
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest
from programs import needed
from reporting.pages import MAKERS, PLACES
from reporting.served import OPERATOR_PLACES, RUN_PLACES, operator, run_status

from edgeguard.fieldtest.session.web import GuidePage

_ATTACK = "<script>alert(1)</script>\"'&"
_ATTRIBUTES = {
    "alt", "aria-label", "charset", "class", "color", "content", "cx", "cy", "fill", "height", "href", "id", "lang",
    "name", "points", "r", "rel", "role", "src", "stroke", "stroke-opacity", "stroke-width", "style", "text-anchor",
    "title", "transform", "viewbox", "width", "x", "x1", "x2", "y", "y1", "y2", "hidden", "data-now",
    "preserveaspectratio", "type", "download", "data-id", "data-frame",
}  # fmt: skip


def _named(place: str) -> str:
    return f"{place.replace(' ', '-')}{_ATTACK}"


@dataclass
class _Parsed(HTMLParser):
    """The texts, scripts and attributes of a page, as a browser would see them."""

    texts: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        raw = self.cdata_elem in ("script", "style")
        (self.scripts if raw else self.texts).append(data)


def _parsed(page: str) -> _Parsed:
    found = _Parsed()
    found.feed(page)
    found.close()
    return found


def _is_harmless(found: _Parsed, scripts: int) -> None:
    assert [tag for tag, _ in found.tags].count("script") == scripts
    assert not any("alert(" in text for text in found.scripts)
    for tag, attributes in found.tags:
        assert set(attributes) <= _ATTRIBUTES, f"an attribute broke out of {tag}: {attributes}"
        for name, value in attributes.items():
            assert name in ("alt", "aria-label", "title", "data-now") or "alert(" not in (value or ""), (tag, name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], _Parsed]:
    """Each page once, with an attack in every place."""
    pages: dict[str, _Parsed] = {}

    def make(name: str) -> _Parsed:
        if name not in pages:
            pages[name] = _parsed(MAKERS[name](_named, tmp_path_factory.mktemp("page")))
        return pages[name]

    return make


@pytest.mark.parametrize(("page", "place"), [(page, place) for page, places in PLACES.items() for place in places])
def test_a_name_in_a_report_is_text(made: Callable[[str], _Parsed], page: str, place: str) -> None:
    found = made(page)
    said = _named(place)
    # a sentence may begin with it
    assert any(said in text or said[0].upper() + said[1:] in text for text in found.texts), f"{place} is not shown"
    _is_harmless(found, scripts=0)


@pytest.mark.parametrize("page", MAKERS)
def test_a_report_is_one_file_and_the_same_each_time(page: str, tmp_path: Path) -> None:
    if page == "field test":  # a plan has a random name
        first = second = MAKERS[page](_named, tmp_path)
    else:
        first, second = (MAKERS[page](_named, tmp_path) for _ in range(2))
    assert first == second and first.startswith("<!doctype html>") and "http" not in first
    for tag, attributes in _parsed(first).tags:
        assert tag not in ("link", "script", "iframe", "object", "embed", "base")
        assert (attributes.get("src") or "data:").startswith("data:image/") or "src" not in attributes
        assert "href" not in attributes


def _rendered(url: str, folder: Path) -> _Parsed:
    browser = needed("chromium", "google-chrome", "chromium-browser")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=4000", "--dump-dom", url,
    ]  # fmt: skip
    return _parsed(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)


def _served(url: str, data: str) -> tuple[_Parsed, object]:
    """The page before any name reached it, and the names as data that no browser takes for a page."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        page = _parsed(answer.read().decode())
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy and "unsafe" not in policy
    with urllib.request.urlopen(url + data, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        return page, json.loads(answer.read())


def _strings(data: object) -> list[str]:
    if isinstance(data, dict):
        return [text for value in data.values() for text in _strings(value)]
    if isinstance(data, list):
        return [text for value in data for text in _strings(value)]
    return [data] if isinstance(data, str) else []


@pytest.mark.parametrize("place", OPERATOR_PLACES)
def test_names_reach_the_operator_as_data(place: str, tmp_path: Path) -> None:
    with GuidePage(*operator(_named, tmp_path), port=0) as page:
        found, data = _served(page.url, "status.json")
    _is_harmless(found, scripts=1)
    assert any(_named(place) in text for text in _strings(data))


@pytest.mark.parametrize("place", RUN_PLACES)
def test_names_reach_the_page_of_a_run_as_data(place: str) -> None:
    from edgeguard.sinks.web import WebPage

    with WebPage("127.0.0.1", 0, status=run_status(_named), stale_after_s=10.0, token=None) as page:
        found, data = _served(page.url, "state.json")
    _is_harmless(found, scripts=1)
    assert any(_named(place) in text for text in _strings(data))


@pytest.mark.full
def test_a_browser_shows_the_operator_every_name_as_text(tmp_path: Path) -> None:
    with GuidePage(*operator(_named, tmp_path), port=0) as page:
        found = _rendered(page.url, tmp_path)
    _is_harmless(found, scripts=1)
    for place in OPERATOR_PLACES:
        assert any(_named(place) in text for text in found.texts), place


@pytest.mark.full
def test_a_browser_shows_every_name_of_a_run_as_text(tmp_path: Path) -> None:
    from edgeguard.sinks.web import WebPage

    with WebPage("127.0.0.1", 0, status=run_status(_named), stale_after_s=10.0, token=None) as page:
        found = _rendered(page.url, tmp_path)
    _is_harmless(found, scripts=1)
    for place in RUN_PLACES:
        shown = _named(place)[:12] if place == "model" else _named(place)  # twelve digits of the hash
        assert any(shown in text for text in found.texts), place
