"""Which controls belong to a patch: those of its size, shape and place. Others would be another question."""

from collections.abc import Iterable, Sequence

from edgeguard.fieldtest.sheets.sheet import Overlay, Sheet

_NEAR_MM = 0.5


def controls_of(patch: Sheet, sheets: Sequence[Sheet]) -> list[Sheet]:
    """The controls that a patch is compared with: of each arm those that cover what it covers, else all of that arm.

    Args:
        patch: its sheet.
        sheets: of the plan.

    Example:
        >>> place = Overlay((0.0, 8.0), 38.0)
        >>> patch = Sheet(1, "stop", "stop", "patch", overlay=place)
        >>> [one.number for one in controls_of(patch, [patch, Sheet(2, "stop", "stop", "plain", overlay=place)])]
        [2]
    """
    found = []
    for arm in ("plain", "noise"):
        of_it = [one for one in sheets if one.object == patch.object and one.arm == arm]
        found += [one for one in of_it if _covers_the_same(one, patch)] or of_it
    return sorted(found, key=sheets.index)


def control_notes(sheets: Sequence[Sheet]) -> Iterable[str]:
    """A line for each control, and each paper on an object, that differs from the patch's in place or size."""
    for patch in sheets:
        if patch.arm != "patch" or patch.overlay is None:
            continue
        of_it = [one for one in sheets if one.object == patch.object]
        for arm in ("plain", "noise"):
            other = next((one for one in of_it if one.arm == arm), None)
            if other is not None and not any(one.arm == arm and _covers_the_same(one, patch) for one in of_it):
                yield (
                    f"The {arm} control (sheet {other.number}) covers {_said(other.overlays)}, the patch of sheet "
                    f"{patch.number} {_said(patch.overlays)}: an effect may come from size or place. Make the control "
                    "with --patch."
                )
        clean = next((one for one in of_it if one.arm == "clean"), None)
        if clean is not None and not any(one.arm == "clean" and _same_window(one, patch) for one in of_it):
            yield (
                f"The paper of the clean sheet {clean.number} hangs elsewhere than that of the patch, sheet "
                f"{patch.number}: an effect may come from the paper. Make the clean sheet with --patch."
            )


def _covers_the_same(one: Sheet, patch: Sheet) -> bool:
    if len(one.overlays) != len(patch.overlays):
        return False
    pairs = zip(one.overlays, patch.overlays, strict=True)
    return all(_same(a, b) and a.shape == b.shape for a, b in pairs) and _same_window(one, patch)


def _same_window(one: Sheet, patch: Sheet) -> bool:
    if one.window is None or patch.window is None:
        return one.window is patch.window
    return _same(one.window, patch.window)


def _same(a: Overlay, b: Overlay) -> bool:
    sides = (*a.center_mm, a.side_mm), (*b.center_mm, b.side_mm)
    return all(abs(x - y) <= _NEAR_MM for x, y in zip(*sides, strict=True))


def _said(places: Sequence[Overlay]) -> str:
    each = (f"{place.side_mm:.0f} mm ({place.shape}) at {place.center_mm[0]:.0f},{place.center_mm[1]:.0f}"
            for place in places)  # fmt: skip
    return " and ".join(each) or "nothing"
