"""The line that ends a step of a field test on the terminal: which command comes next. Not in JSON."""

import shlex
from collections.abc import Sequence
from pathlib import Path

_ARMS = ("clean", "plain", "noise", "patch")


def after_patch(folder: Path, card: str | None) -> str:
    """`patch make` for a card, or for a real object (None)."""
    patch = shlex.quote(str(folder))
    if card is None:
        sheet, rest = f"--arm clean --patch {patch} --output clean.pdf", "so also plain, noise and patch"
    else:
        sheet = f"--card {shlex.quote(card)} --arm plain --patch {patch} --output plain.pdf"
        rest = "so also noise and patch; clean without --patch"
    return f"next: edgeguard patch sheet {sheet} ({rest})"


def after_sheet(output: Path, card: str, arm: str) -> str:
    """`patch sheet`: the other arms, then the plan."""
    if card == "chart":
        return "next: print it, photograph it, then edgeguard patch calibrate photo.jpg --output printer.json"
    others = ", ".join(one for one in _ARMS if one != arm)
    files = " ".join(shlex.quote(str(output)) if one == arm else f"{one}.pdf" for one in _ARMS)
    return f"next: sheets of {others}; then edgeguard fieldtest plan session/ {files} --model MODEL"


def after_plan(folder: Path, sheets: Sequence[Path]) -> str:
    """`fieldtest plan`: with a camera, with photographs, or without a printer."""
    session = shlex.quote(str(folder))
    shown = " ".join(f"--sheets {shlex.quote(str(path))}" for path in sheets)
    return (
        f"next: print the sheets, then edgeguard fieldtest record {session} --source 0 --port 8000, or import photos/ "
        f"--plan {session}; without a printer: edgeguard fieldtest record {session} --source synthetic:session {shown}"
    )


def after_record(folder: Path, model: Path | None) -> str:
    """`fieldtest record` and `import`."""
    named = "MODEL" if model is None else shlex.quote(str(model))
    return f"next: edgeguard fieldtest score {shlex.quote(str(folder))} --model {named} --guard off --guard fd"


def after_score(folder: Path) -> str:
    """`fieldtest score`."""
    return f"next: edgeguard fieldtest report {shlex.quote(str(folder))}"
