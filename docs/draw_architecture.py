"""Draw docs/images/architecture.svg from docs/architecture.toml.

    python docs/draw_architecture.py

Each floor is a row of rooms, the ground at the bottom. The numbered line is the way of a frame; rooms on it stand first
on their floors.
"""

import tomllib
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

DOCS = Path(__file__).parent
PLAN, PICTURE = DOCS / "architecture.toml", DOCS / "images" / "architecture.svg"
WIDTH, ROW, GAP, MARGIN, TITLE, LABEL, LINE = 1480, 88, 8, 24, 86, 180, 21
#: The first room of each floor is so wide, and its right part holds the badges of the frame's way.
FIRST, BADGES = 330, 140
_MOST_LINES = 3
_FONT = "font-family='system-ui, Segoe UI, Helvetica, Arial, sans-serif'"
_INK, _PAPER, _FLOOR, _ROOM, _EDGE, _WAY = "#1d2733", "#ffffff", "#f1f4f8", "#dfe8f3", "#8fa3ba", "#c4421a"


@dataclass(frozen=True)
class Room:
    """A package of the house, and what it is for."""

    name: str
    says: str


def rooms() -> list[list[Room]]:
    """The floors from the ground up, as the plan lists them."""
    plan = tomllib.loads(PLAN.read_text(encoding="utf-8"))
    return [[Room(name, says) for name, says in floor["rooms"].items()] for floor in plan["floor"]]


def drawing() -> str:
    """The picture as SVG text."""
    plan = tomllib.loads(PLAN.read_text(encoding="utf-8"))
    floors, titles = rooms(), [floor["name"] for floor in plan["floor"]]
    legend = [f"{number}  {step['says']}" for number, step in enumerate(plan["way"], start=1)]
    height = TITLE + len(floors) * (ROW + GAP) + LINE * (len(legend) + 1) + MARGIN
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img' {_FONT}>",
        "<title>The packages of EdgeGuard and the way of a frame</title>",
        f"<rect width='{WIDTH}' height='{height}' fill='{_PAPER}'/>",
        _text(MARGIN, 40, "EdgeGuard: each package imports only what stands below it, or to its left", 24, weight=600),
        _text(MARGIN, 66, "All are packages or modules of edgeguard/; converters is beside it.", 15),
    ]
    tops: dict[str, float] = {}
    for number, (title, floor) in enumerate(zip(titles, floors, strict=True), start=1):
        top = TITLE + (len(floors) - number) * (ROW + GAP)
        parts += _floor(top, title, floor)
        tops |= {room.name: top for room in floor}
    hidden = [step["room"] for step in plan["way"] if step["room"] not in {floor[0].name for floor in floors}]
    if hidden:
        raise ValueError(f"the frame's way is drawn through the first room of a floor, which {hidden[0]} is not")
    parts += _way([tops[step["room"]] for step in plan["way"]])
    below = TITLE + len(floors) * (ROW + GAP) + LINE
    parts.append(_text(MARGIN, below, "The way of a frame:", 15, color=_WAY, weight=600))
    parts += [_text(MARGIN + LABEL, below + LINE * row, line, 15, color=_WAY) for row, line in enumerate(legend)]
    return "\n".join([*parts, "</svg>", ""])


def _floor(top: float, title: str, floor: list[Room]) -> list[str]:
    parts = [
        f"<rect x='{MARGIN}' y='{top}' width='{WIDTH - 2 * MARGIN}' height='{ROW}' rx='6' fill='{_FLOOR}'/>",
        _text(MARGIN + 12, top + ROW / 2 + 5, title, 14, color="#5a6b7f"),
    ]
    space = WIDTH - 2 * MARGIN - LABEL - FIRST - GAP * (len(floor) + 1)
    width = min(FIRST, space / max(len(floor) - 1, 1))
    left = float(MARGIN + LABEL)
    for number, room in enumerate(floor):
        own = FIRST if number == 0 else width
        parts += _room(room, left, top + 6, own, own - BADGES if number == 0 else own)
        left += own + GAP
    return parts


def _room(room: Room, left: float, top: float, width: float, text_width: float) -> list[str]:
    parts = [
        f"<rect x='{left:.1f}' y='{top}' width='{width:.1f}' height='{ROW - 12}' rx='5' fill='{_ROOM}' "
        f"stroke='{_EDGE}'/>",
        _text(left + 10, top + 21, room.name, 17, weight=600),
    ]
    lines = _wrapped(room.says, int((text_width - 16) / 6.2))
    if len(lines) > _MOST_LINES:
        raise ValueError(f"{room.name}: {room.says!r} does not fit into its box")
    for row, line in enumerate(lines):
        parts.append(_text(left + 10, top + 38 + 13.5 * row, line, 12))
    return parts


def _way(tops: list[float]) -> list[str]:
    """Badges stand in the first room of their floors, each a little further right; lines run between them."""
    first = MARGIN + LABEL + FIRST - BADGES
    points = [(first + 20.0 * number, top + ROW - 28) for number, top in enumerate(tops, start=1)]
    line = "M" + " L".join(f"{x0:.0f} {y0:.0f} L{x0:.0f} {y1:.0f}" for (x0, y0), (_, y1) in pairwise(points))
    line += f" L{points[-1][0]:.0f} {points[-1][1]:.0f}"
    parts = [f"<path d='{line}' fill='none' stroke='{_WAY}' stroke-width='2.5' opacity='0.7'/>"]
    for number, (x, y) in enumerate(points, start=1):
        parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='10' fill='{_WAY}'/>")
        parts.append(_text(x, y + 4.5, str(number), 13, color=_PAPER, weight=600, anchor="middle"))
    return parts


def _text(
    x: float, y: float, text: str, size: float, *, color: str = _INK, weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{color}' font-weight='{weight}' "
        f"text-anchor='{anchor}' xml:space='preserve'>{escape(text)}</text>"
    )


def _wrapped(text: str, columns: int) -> list[str]:
    lines, current = [], ""
    for word in text.split():
        if current and len(current) + 1 + len(word) > columns:
            lines.append(current)
            current = word
        else:
            current = f"{current} {word}".strip()
    return [*lines, current]


if __name__ == "__main__":
    PICTURE.write_text(drawing(), encoding="utf-8")
