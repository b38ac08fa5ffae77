"""Small SVG charts for the report: lines and points with error bars, nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _LEGEND = 760, 300, 48, 40, 270
_COLORS = ("#1b6ca8", "#c8553d", "#3d8b5f", "#8458a8", "#b98a1f", "#4a4a4a", "#d06aa0", "#2aa5a5")


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


def chart(
    series: Sequence[Series],
    x_title: str,
    y_title: str,
    x_ticks: Sequence[float],
    y_range: tuple[float, float] = (0, 100),
    unit: str = " %",
) -> str:
    """An SVG over the given ticks; its title texts stand for it where it is not seen."""
    low, high = min(x_ticks), max(x_ticks)
    bottom, top = y_range

    def across(x: float) -> float:
        return _LEFT + 12 + (x - low) / ((high - low) or 1) * (_WIDTH - _LEFT - _LEGEND - 24)

    def down(y: float) -> float:
        return 12 + (top - y) / (top - bottom) * (_HEIGHT - _BOTTOM - 12)

    y_ticks = [bottom + (top - bottom) * i / 4 for i in range(5)]
    parts = [_axes(across, down, x_title, y_title, x_ticks, y_ticks)]
    for index, line in enumerate(series):
        color = _COLORS[index % len(_COLORS)]
        if line.joined and len(line.points) > 1:
            path = " ".join(f"{across(p.x):.1f},{down(p.y):.1f}" for p in line.points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        for p in line.points:
            x, y = across(p.x), down(p.y)
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{down(p.low):.1f}" y2="{down(p.high):.1f}" stroke="{color}" '
                f'stroke-opacity=".45"/><circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}">'
                f"<title>{escape(line.name)}: {p.y:.0f}{unit} [{p.low:.0f}, {p.high:.0f}]</title></circle>"
            )
            if p.label:
                parts.append(f'<text x="{x + 6:.1f}" y="{y - 5:.1f}" class="small">{escape(p.label)}</text>')
        parts.append(
            f'<rect x="{_WIDTH - _LEGEND + 14}" y="{16 + 18 * index}" width="10" height="10" fill="{color}"/>'
            f'<text x="{_WIDTH - _LEGEND + 30}" y="{25 + 18 * index}" class="small">{escape(line.name)}</text>'
        )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(y_title)}">{"".join(parts)}</svg>'


def histogram(shares: Sequence[float], x_title: str, bins: int = 20) -> str:
    """An SVG histogram of shares 0..1."""
    counts = [0] * bins
    for share in shares:
        counts[min(int(share * bins), bins - 1)] += 1
    tallest, width = max(counts) or 1, (_WIDTH - _LEFT - 20) / bins
    bars = "".join(
        f'<rect x="{_LEFT + i * width:.1f}" y="{160 - 140 * count / tallest:.1f}" width="{width - 2:.1f}" '
        f'height="{140 * count / tallest:.1f}" fill="{_COLORS[0]}"><title>{count}</title></rect>'
        for i, count in enumerate(counts)
    )
    ends = f'<text x="{_LEFT}" y="176" class="small">0</text><text x="{_WIDTH - 30}" y="176" class="small">1</text>'
    title = f'<text x="{_WIDTH / 2:.0f}" y="194" text-anchor="middle" class="small">{escape(x_title)}</text>'
    top = f'<text x="{_LEFT - 6}" y="26" text-anchor="end" class="small">{tallest}</text>'
    return f'<svg viewBox="0 0 {_WIDTH} 200" role="img" aria-label="{escape(x_title)}">{bars}{ends}{title}{top}</svg>'


def _axes(
    across: object, down: object, x_title: str, y_title: str, x_ticks: Sequence[float], y_ticks: Sequence[float]
) -> str:
    assert callable(across) and callable(down)
    right = _WIDTH - _LEGEND
    lines = [
        f'<line x1="{_LEFT}" x2="{right}" y1="{down(y):.1f}" y2="{down(y):.1f}" stroke="#ddd"/>'
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
