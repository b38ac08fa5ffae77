"""Small SVG charts for reports: lines and points with error bars, a histogram, and bars in a row.

A chart stands alone and inside a page; there the page's stylesheet gives the colors, for light and for dark.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Literal

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _LEGEND = 760, 300, 48, 40, 270
#: The stylesheet has the same, and others for dark pages, as s0..s7 and by grade.
_COLORS = ("#1b6ca8", "#c8553d", "#3d8b5f", "#8458a8", "#b98a1f", "#4a4a4a", "#d06aa0", "#2aa5a5")
_GRADES = {"held": "#3a6ea5", "weak": "#c98a1b", "lost": "#b3261e"}
_Scale = Callable[[float], float]


class Svg(str):
    """A chart's markup, in which every text is escaped already: the only text that a page takes as it is.

    Example:
        >>> histogram([0.2], "<share>").__html__().count("&lt;share&gt;")
        2
    """

    __slots__ = ()

    def __html__(self) -> "Svg":
        """How a template asks for markup."""
        return self


@dataclass(frozen=True)
class Point:
    """A value with its interval."""

    x: float
    y: float
    low: float
    high: float
    label: str = ""


@dataclass(frozen=True)
class Series:
    """Points of one name; joined by lines where `joined`."""

    name: str
    points: tuple[Point, ...]
    joined: bool = True


@dataclass(frozen=True)
class Bar:
    """A bar of a height, graded by its color, with a text that shows when it is pointed at."""

    height: float
    grade: Literal["held", "weak", "lost"]
    tip: str


def chart(
    series: Sequence[Series],
    x_title: str,
    y_title: str,
    x_ticks: Sequence[float],
    y_range: tuple[float, float] = (0, 100),
    unit: str = " %",
    *,
    marks: Sequence[tuple[float, str]] = (),
) -> Svg:
    """An SVG over the given ticks; its title texts stand for it where it is not seen.

    `marks` are dashed lines across, at an x, with a text; those beyond the ticks are left out.
    """
    low, high = min(x_ticks), max(x_ticks)
    bottom, top = y_range

    def across(x: float) -> float:
        return _LEFT + 12 + (x - low) / ((high - low) or 1) * (_WIDTH - _LEFT - _LEGEND - 24)

    def down(y: float) -> float:
        return 12 + (top - y) / (top - bottom) * (_HEIGHT - _BOTTOM - 12)

    y_ticks = [bottom + (top - bottom) * i / 4 for i in range(5)]
    parts = [_axes(across, down, x_title, y_title, x_ticks, y_ticks)]
    parts += [_mark(across(x), text) for x, text in marks if low <= x <= high]
    parts += [_drawn(line, index, across, down, unit, above=series[index + 1 :]) for index, line in enumerate(series)]
    return Svg(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(y_title)}">{"".join(parts)}</svg>'
    )


def _mark(x: float, text: str) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="12" y2="{_HEIGHT - _BOTTOM}" stroke="currentColor" '
        f'stroke-opacity=".6" stroke-dasharray="5 4"><title>{escape(text)}</title></line>'
        f'<text x="{x + 3:.1f}" y="22" class="small">{escape(text)}</text>'
    )


def _drawn(line: Series, index: int, across: _Scale, down: _Scale, unit: str, above: Sequence[Series]) -> str:
    """One series and its line of the legend; where another one lies `above` it, it is wider and shows at its sides."""
    parts = []
    if line.joined and len(line.points) > 1:
        path = " ".join(f"{across(p.x):.1f},{down(p.y):.1f}" for p in line.points)
        width = 2 + 4 * sum(bool(_segments(line) & _segments(other)) for other in above)
        parts.append(f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="{width}"/>')
    for p in line.points:
        x, y = across(p.x), down(p.y)
        radius = 3.5 + 3 * sum((p.x, p.y) in {(q.x, q.y) for q in other.points} for other in above)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{down(p.low):.1f}" y2="{down(p.high):.1f}" stroke="currentColor" '
            f'stroke-opacity=".45"/><circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="currentColor">'
            f"<title>{escape(f'{line.name}: {p.y:.0f}{unit} [{p.low:.0f}, {p.high:.0f}]')}</title></circle>"
        )
        if p.label:
            parts.append(f'<text x="{x + 6:.1f}" y="{y - 5:.1f}" class="small">{escape(p.label)}</text>')
    parts.append(
        f'<rect x="{_WIDTH - _LEGEND + 14}" y="{16 + 18 * index}" width="10" height="10" fill="currentColor"/>'
        f'<text x="{_WIDTH - _LEGEND + 30}" y="{25 + 18 * index}" class="small">{escape(line.name)}</text>'
    )
    color = index % len(_COLORS)
    return f'<g class="s{color}" color="{_COLORS[color]}">{"".join(parts)}</g>'


def _segments(line: Series) -> set[tuple[float, float, float, float]]:
    """From point to point."""
    return {(p.x, p.y, q.x, q.y) for p, q in pairwise(line.points)} if line.joined else set()


def histogram(shares: Sequence[float], x_title: str, bins: int = 20) -> Svg:
    """An SVG histogram of shares 0..1."""
    counts = [0] * bins
    for share in shares:
        counts[min(int(share * bins), bins - 1)] += 1
    tallest, width = max(counts) or 1, (_WIDTH - _LEFT - 20) / bins
    columns = "".join(
        f'<rect x="{_LEFT + i * width:.1f}" y="{160 - 140 * count / tallest:.1f}" width="{width - 2:.1f}" '
        f'height="{140 * count / tallest:.1f}" fill="currentColor"><title>{count}</title></rect>'
        for i, count in enumerate(counts)
    )
    ends = f'<text x="{_LEFT}" y="176" class="small">0</text><text x="{_WIDTH - 30}" y="176" class="small">1</text>'
    title = f'<text x="{_WIDTH / 2:.0f}" y="194" text-anchor="middle" class="small">{escape(x_title)}</text>'
    top = f'<text x="{_LEFT - 6}" y="26" text-anchor="end" class="small">{tallest}</text>'
    drawn = f'<g class="s0" color="{_COLORS[0]}">{columns}</g>{ends}{title}{top}'
    return Svg(f'<svg viewBox="0 0 {_WIDTH} 200" role="img" aria-label="{escape(x_title)}">{drawn}</svg>')


def bars(found: Sequence[Bar], top: float, ends: tuple[str, str], title: str) -> Svg:
    """An SVG of bars in a row over a grid of tens.

    Args:
        found: at least one.
        top: the highest value that is drawn; higher bars end there, negative ones are empty.
        ends: what stands below the first and the last bar.
        title: what stands for the chart where it is not seen.
    """
    width, height, left, bottom = 900, 220, 34, 18
    step = (width - left) / len(found)
    parts = []
    for value in range(0, int(top) + 1, 10):
        y = height - bottom - value / top * (height - bottom)
        parts.append(f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dfe4ea" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    for i, bar in enumerate(found):
        tall = max(min(bar.height, top), 0.0) / top * (height - bottom)
        parts.append(
            f'<rect x="{left + i * step:.1f}" y="{height - bottom - tall:.1f}" width="{max(step - 1.5, 1):.1f}" '
            f'height="{tall:.1f}" class="{bar.grade}" color="{_GRADES[bar.grade]}" fill="currentColor">'
            f"<title>{escape(bar.tip)}</title></rect>"
        )
    first, last = ends
    parts.append(
        f'<text x="{left}" y="{height - 4}">{escape(first)}</text>'
        f'<text x="{width}" y="{height - 4}" text-anchor="end">{escape(last)}</text>'
    )
    box = f'viewBox="0 -8 {width} {height + 8}"'
    return Svg(f'<svg {box} role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>')


def _axes(
    across: _Scale, down: _Scale, x_title: str, y_title: str, x_ticks: Sequence[float], y_ticks: Sequence[float]
) -> str:
    right = _WIDTH - _LEGEND
    lines = [
        f'<line x1="{_LEFT}" x2="{right}" y1="{down(y):.1f}" y2="{down(y):.1f}" stroke="#ddd" class="grid"/>'
        f'<text x="{_LEFT - 6}" y="{down(y) + 4:.1f}" text-anchor="end" class="small">{y:g}</text>'
        for y in y_ticks
    ]
    lines += [
        f'<text x="{across(x):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle" class="small">{x:g}</text>'
        for x in x_ticks
    ]
    lines.append(f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_title)}</text>')
    lines.append(
        f'<text transform="translate(12 {_HEIGHT / 2 - 20:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_title)}</text>"
    )
    return "".join(lines)
