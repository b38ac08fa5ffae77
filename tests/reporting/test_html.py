"""What pages are made of: escaping, missing values, the one stylesheet, and what is imported when."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from edgeguard.errors import InputError
from edgeguard.reporting import html
from edgeguard.reporting.charts import Bar, Point, Series, Svg, bars, chart, histogram
from edgeguard.reporting.html import TEMPLATES, Entry, Figure, Table, data_uri, page
from edgeguard.reporting.served import page_files
from edgeguard.system.http.message import SAFE_HEADERS

_SEARCH = {
    "title": "T & <T>", "eps": 2, "threat": "t", "frontier_chart": histogram([0.1], "<x>"),
    "candidates": Table([("<a>", "1")], ("n", "v"), numbers=1),
}  # fmt: skip


def _macro(name: str, value: object) -> str:
    from edgeguard.reporting.html import _environment

    template = _environment().from_string(f'{{% from "parts.html" import {name} %}}{{{{ {name}(value) }}}}')
    return re.sub(r"\n", "", template.render(value=value))


def test_texts_are_escaped_and_charts_are_not() -> None:
    text = page("search.html", **_SEARCH)
    assert "<title>T &amp; &lt;T&gt;</title>" in text and "<td>&lt;a&gt;</td>" in text
    assert '<svg viewBox="0 0 760 200"' in text and "&lt;x&gt;" in text and "<x>" not in text


def test_markup_that_is_no_chart_is_text() -> None:
    text = page("search.html", **{**_SEARCH, "frontier_chart": "<svg onload='x'>"})
    assert "&lt;svg onload" in text and "<svg" not in text


def test_the_same_values_give_the_same_bytes() -> None:
    assert page("search.html", **_SEARCH).encode() == page("search.html", **_SEARCH).encode()


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="threat"):
        page("search.html", **{key: value for key, value in _SEARCH.items() if key != "threat"})


def test_tables() -> None:
    headed = _macro("table", Table([("<a>", Entry("1", "s<")), ("b", "2")], ("n", Entry("v", "w")), 1, frozenset({1})))
    assert headed == (
        '<div class="wide"><table><tr><th>n</th><th class="n">v<br><span class="dim">w</span></th></tr>'
        '<tr><td>&lt;a&gt;</td><td class="n">1<br><span class="dim">s&lt;</span></td></tr>'
        '<tr class="marked"><td>b</td><td class="n">2</td></tr></table></div>'
    )
    pairs = _macro("table", Table([("k", Entry("c", look="code")), ("g", Entry("x", look="good"))]))
    assert "<tr><th>k</th><td><code>c</code></td></tr>" in pairs
    assert '<tr><th>g</th><td><span class="good">x</span></td></tr>' in pairs


def test_figures() -> None:
    found = _macro("figure", Figure(data_uri(b"abc", "image/png"), 'a"b', ("one", Entry("two", look="strong"))))
    assert found == (
        '<figure><img src="data:image/png;base64,YWJj" alt="a&#34;b">'
        "<figcaption>one<br><b>two</b></figcaption></figure>"
    )


def test_charts_escape_every_text() -> None:
    line = Series("<s>&\"'", (Point(0, 1, 0, 2, "<p>"), Point(1, 2, 1, 3)))
    drawn = (
        chart([line], "<x>", '<y>"', [0, 1], (0, 4), "<u>"),
        histogram([0.5], '<h>"'),
        bars([Bar(3.0, "weak", "<tip>")], 30.0, ("<in>", "<out>"), '<t>"'),
    )
    for svg in drawn:
        assert isinstance(svg, Svg) and svg.__html__() is svg
        assert not re.search(r'<(s|p|x|y|u|h|tip|in|out|t)>|label="<|>""', svg)
    assert drawn[0].count("&lt;s&gt;&amp;&quot;&#x27;") == 3 and "&lt;u&gt;" in drawn[0]
    assert "&lt;tip&gt;" in drawn[2] and "&lt;in&gt;" in drawn[2] and "&lt;out&gt;" in drawn[2]


def test_lines_that_coincide_stay_visible() -> None:
    one = tuple(Point(x, 50, 40, 60) for x in (1, 2, 3))
    other = (*one[:2], Point(3, 90, 80, 95))
    apart = tuple(Point(x, 10, 5, 15) for x in (1, 2, 3))
    drawn = chart([Series("a", one), Series("b", other), Series("c", one), Series("d", apart)], "x", "y", [1, 2, 3])
    assert re.findall(r'stroke-width="(\d+)"', drawn) == ["10", "6", "2", "2"], "the lower ones show at the sides"
    assert re.findall(r' r="([\d.]+)"', drawn)[:3] == ["9.5", "9.5", "6.5"]
    alone = chart([Series("a", one), Series("d", apart)], "x", "y", [1, 2, 3])
    assert set(re.findall(r'stroke-width="(\d+)"', alone)) == {"2"}


def test_a_row_of_bars_stays_in_its_frame() -> None:
    svg = bars([Bar(99.0, "held", ""), Bar(-5.0, "lost", "")], 30.0, ("", ""), "")
    assert 'y="0.0" width="431.5" height="202.0" class="held"' in svg
    assert 'y="202.0" width="431.5" height="0.0" class="lost"' in svg


def test_there_is_one_stylesheet_and_every_page_has_it_whole() -> None:
    style = (TEMPLATES / "style.css").read_text().strip()
    assert list(TEMPLATES.glob("*.css")) == [TEMPLATES / "style.css"]
    assert page("search.html", **_SEARCH).count(style) == 1
    assert page_files("run", "R")["/page.css"][0].decode().strip() == style
    for path in TEMPLATES.glob("*.html"):
        inline = "style=" in path.read_text().replace('style="background:rgba(200,85,61,', "")
        assert not inline and ("<style>" in path.read_text()) == (path.name == "base.html")


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*")), ids=lambda path: path.name)
def test_nothing_gets_around_the_escaping(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\|\s*safe|autoescape|Markup|https?:", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|\bsrcdoc\b", text)
    assert not re.search(r"\son\w+=", text)  # a policy without inline scripts would stop them


def test_served_pages_need_only_their_own_server() -> None:
    for name in ("run", "operator"):
        files = page_files(name, "<t>")
        html, kind = files["/"]
        assert kind == "text/html; charset=utf-8" and b"<title>&lt;t&gt;</title>" in html and b"<style" not in html
        assert re.findall(rb'(?:src|href)="([^"]*)"', html) == [b"page.css", b"page.js"]
        assert html.count(b"<script") == 1 and files["/page.js"][0].startswith(b'"use strict";')
    policy = SAFE_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy


def test_jinja_is_imported_when_the_first_page_is_made() -> None:
    code = (
        "import sys, edgeguard.reporting.charts, edgeguard.reporting.html, edgeguard.reporting.served\n"
        "import edgeguard.fieldtest.analysis.report, edgeguard.fieldtest.session.web\n"
        "sys.argv = ['edgeguard', '--help']\n"
        "from edgeguard.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "before = 'jinja2' in sys.modules or 'markupsafe' in sys.modules\n"
        "edgeguard.reporting.served.page_files('run', '')\n"
        "print(before, 'jinja2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False True"


def test_without_jinja2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    html._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(InputError, match="pip install jinja2"):
        page("search.html")
    monkeypatch.undo()
    html._environment.cache_clear()


def test_half_a_pair_is_written_as_an_escape() -> None:
    """A text of a stranger's JSON ended a report with exit code 70."""
    assert "\\ud800" in page("search.html", **{**_SEARCH, "threat": "a\ud800"}).encode().decode()
