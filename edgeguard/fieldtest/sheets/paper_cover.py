"""How much of a real object the paper hides that is fixed on it: a small object can vanish behind its own tags."""

from edgeguard.fieldtest.sheets.sheet import Sheet

_MOST = 0.4  # of the object; beyond it plain paper misleads a model about as often as any patch


def paper_share(sheet: Sheet) -> float:
    """Share of the box around the object that its paper covers, 0..1; 0 where no paper is fixed on it."""
    if sheet.about is None or sheet.mount != "on":
        return 0.0
    layout, about = sheet.layout, sheet.about
    x, y = layout.middle
    across = min(layout.width - x, about.width_mm / 2) - max(-x, -about.width_mm / 2)
    down = min(layout.height - y, about.height_mm / 2) - max(-y, -about.height_mm / 2)
    return max(across, 0.0) * max(down, 0.0) / (about.width_mm * about.height_mm)


def covering_lines(sheets: list[Sheet]) -> list[str]:
    """A line for each object of which its paper covers more than 40 %."""
    lines: dict[str, str] = {}
    for sheet in sheets:
        share = paper_share(sheet)
        if share <= _MOST or sheet.about is None:
            continue
        width, height = f"{sheet.layout.width:.0f} x {sheet.layout.height:.0f}", sheet.about.height_mm
        lines[sheet.object] = (
            f"the paper of {width} mm covers {100 * share:.0f} % of {sheet.object} ({sheet.about.width_mm:g} x "
            f"{height:g} mm), so that little of it is seen in any arm: print the object itself (--mount sheet), "
            "put the paper beside it (--mount beside), or take a smaller patch"
        )
    return list(lines.values())
