"""Which sheet and which light a photograph belongs to, by the names of the folders that it lies in."""

import re
from collections.abc import Sequence

from edgeguard.fieldtest.session.plan import Plan
from edgeguard.fieldtest.sheets.sheet import ARMS, Sheet

_RECORDED_PASS = re.compile("pass-[0-9]{4,}")


def sheets_named(plan: Plan, folders: Sequence[str]) -> tuple[Sheet, ...]:
    """The sheets that folders may mean; empty where they name none.

    A folder means a sheet by its number (`14` or `sheet-14`), else by its arm (`patch`), its object (`stop`) or both
    (`stop-patch`, or one in the other). The innermost folder with a number or an arm decides.

    Example:
        >>> from edgeguard.fieldtest.session.plan import make_plan
        >>> sheets = [Sheet(1, "stop", "stop", "clean"), Sheet(2, "stop", "stop", "patch")]
        >>> plan = make_plan(sheets, [500], [0], ["bright"], 1)
        >>> [sheet.number for sheet in sheets_named(plan, ("photos", "patch", "first"))]
        [2]
    """
    names = [_plain(name) for name in folders]
    words = [word for name in names for word in (name, *_split(name, plan))]
    arm: str | None = None
    for name in reversed(names):  # the innermost folder that names a sheet: those around it may be dates or lights
        number = name.removeprefix("sheet").lstrip("-_ ")
        if number.isdecimal() and len(number) < 6 and (sheet := plan.sheet(int(number))) is not None:
            return (sheet,)
        arm = next((word for word in (name, *_split(name, plan)) if word in ARMS), None)
        if arm is not None:
            break
    objects = {_plain(sheet.object) for sheet in plan.sheets}
    known = next((word for word in reversed(words) if word in objects), None)
    if arm is None:
        return ()
    return tuple(
        sheet for sheet in plan.sheets if sheet.arm == arm and (known is None or _plain(sheet.object) == known)
    )


def is_recorded_pass(folders: Sequence[str]) -> bool:
    """Whether `fieldtest record --untagged` made the innermost folder: nothing moved between its pictures."""
    return bool(folders) and _RECORDED_PASS.fullmatch(folders[-1]) is not None


def light_named(plan: Plan, folders: Sequence[str]) -> str | None:
    """The light that a folder is named after; None where none is."""
    lights = {_plain(light): light for light in plan.lights}
    return next((lights[_plain(name)] for name in reversed(folders) if _plain(name) in lights), None)


def folder_names(sheet: Sheet, plan: Plan) -> str:
    """What a folder of a sheet's photographs may be called, for messages."""
    alone = sum(other.arm == sheet.arm for other in plan.sheets) == 1
    return sheet.arm if alone else str(sheet.number)


def _split(name: str, plan: Plan) -> tuple[str, ...]:
    """`stop-patch` as object and arm."""
    for arm in ARMS:
        for sheet in plan.sheets:
            known = _plain(sheet.object)
            if any(name == pattern for mark in "-_ " for pattern in (f"{known}{mark}{arm}", f"{arm}{mark}{known}")):
                return (known, arm)
    return ()


def _plain(name: str) -> str:
    return name.strip().casefold()
