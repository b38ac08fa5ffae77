"""`edgeguard demo`."""

from pathlib import Path
from typing import Annotated

import typer

from edgeguard.cli.ignored import refuse_ignored
from edgeguard.cli.messages import messages_to, on_stderr, on_stdout
from edgeguard.errors import InputError
from edgeguard.system.outputs import output_folder

EXAMPLE = "Example: edgeguard demo --output edgeguard-demo"


def demo_command(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="Folder for demo.mp4, contact-sheet.png and results.json.")] = Path(
        "edgeguard-demo"
    ),
    cards: Annotated[Path | None, typer.Option(help="Only write the printable cards to this .pdf.")] = None,
    detector: Annotated[
        bool, typer.Option("--detector", help="The bundled detector, and a patch that makes a stop sign vanish.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Convert the bundled card model, run a clip, alter frames in transit, and show where the guard holds and fails."""
    if cards is not None:
        refuse_ignored(context, ["output", "as_json", "detector"], "is for the demo; --cards only writes the cards")
        _write_cards(cards)
        return
    if detector:
        with output_folder(output):
            _show_detector(output, as_json)
        return
    from edgeguard.demo.demo import run_demo

    with output_folder(output), messages_to(on_stderr):
        rows = run_demo(output)
    if as_json:
        import json

        on_stdout(json.dumps([vars(row) for row in rows]))
        return
    on_stdout(f"{'path':12s} {'attack':48s} {'right':>7s}")
    for row in rows:
        on_stdout(f"{row.path:12s} {row.attack:48s} {row.correct:3d}/{row.n}")
    on_stdout("Three frames illustrate; they do not measure. The last row is why a JPEG defense alone is not enough.")
    on_stdout(f"Look at {output}/contact-sheet.png and {output}/demo.mp4")


def _show_detector(output: Path, as_json: bool) -> None:
    try:
        from edgeguard.demo.detector_demo import run_detector_demo
    except ImportError as error:
        from edgeguard.system.extras import missing_part

        raise missing_part(error, "demo --detector", "attack") from error
    from edgeguard.cli.progress import UnitCounter

    with UnitCounter() as counter:
        found = run_detector_demo(output, lambda done, total: counter.show("the virtual field", done, total))
    if as_json:
        import json

        on_stdout(json.dumps({guard: [vars(arm) for arm in arms] for guard, arms in found.items()}))
        return
    for guard, arms in found.items():
        on_stdout("no guard:" if guard == "none" else "the model's own guard:", *(f"  {arm.line}" for arm in arms))
    on_stdout("Rendered views, one patch made without the guard: no claim about a print. JPEG does not remove a patch.")
    on_stdout(f"Look at {output}/detector-sheet.png")


def _write_cards(path: Path) -> None:
    from edgeguard.fieldtest.sheets.build import made_sheet
    from edgeguard.fieldtest.sheets.pdf import sheets_pdf
    from edgeguard.scene.cards import CARDS
    from edgeguard.system.files import write_bytes

    if path.suffix.lower() != ".pdf":
        raise InputError(f"--cards wants a .pdf file, got {path}")
    write_bytes(path, sheets_pdf([made_sheet(card, "clean", number=number) for number, card in enumerate(CARDS)]))
    on_stdout(f"wrote {path}: print it at 100 %")
