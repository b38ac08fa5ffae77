"""`edgeguard fieldtest import`."""

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeguard.cli.messages import on_stdout
from edgeguard.cli.next_steps import after_record
from edgeguard.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.fieldtest.session.importing import Imported, Looked
    from edgeguard.fieldtest.session.marks import Mark
    from edgeguard.fieldtest.session.session import Session

_SHOWN = 6  # names for each reason


def import_photographs(
    given: Annotated[list[Path], typer.Argument(help="Folders, photographs and films.", metavar="FOLDER_OR_FILM...")],
    plan: Annotated[Path, typer.Option(help="The session's folder, which fieldtest plan made.")],
    light: Annotated[
        str | None,
        typer.Option(help="The light of pictures whose folder is not named after one. [the plan's first]"),
    ] = None,
    field_of_view: Annotated[
        float | None,
        typer.Option(min=10, max=150, help="Across the longer side, degrees. [EXIF's focal length, else the plan's]"),
    ] = None,
    gap: Annotated[
        float, typer.Option(min=0, max=86400, help="Seconds between two photographs of one placement, at most.")
    ] = 10.0,
    film_fps: Annotated[float, typer.Option(min=0.01, max=60, help="Pictures taken of each second of a film.")] = 3.0,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve a page here to mark objects where no tags are seen.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [one for each core]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each file.")] = False,
) -> None:
    """Take photographs and films into a session, byte for byte; each is used, or listed with its reason.

    Tags say which sheet it is and where it stands. Without tags the folder says the arm (clean/, plain/, noise/,
    patch/, or the sheet's number), and you mark the object once on the page of --port.
    """
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.fieldtest.session.importing import import_all, look_at_all, to_be_marked
    from edgeguard.fieldtest.session.look import Lens
    from edgeguard.fieldtest.session.marks import read_marks
    from edgeguard.fieldtest.session.said import STORED
    from edgeguard.fieldtest.session.session import Session
    from edgeguard.system.names import real_path

    session = Session(plan)
    if light is not None and light not in session.plan.lights:
        raise InputError(f"the plan has no light {light!r}: {', '.join(session.plan.lights)}")
    for path in given:
        if not path.exists() and not path.is_symlink():
            raise InputError(f"{path} is not there")
        if real_path(path) == real_path(plan) or real_path(plan) in real_path(path).parents:
            raise InputError(f"{path} lies in the session itself: give the folder of your photographs")
    marks = read_marks(plan)
    with UnitCounter() as counter:
        for line in session.recover():
            counter.say(line)
        lens = Lens(str(plan), field_of_view, film_fps)
        looked = look_at_all(session, given, lens, workers, lambda n, total: counter.show("files", n, total))
        wanted = [one for one in to_be_marked(looked) if one.key not in marks]
        if port is not None and wanted:
            marks = _marked_on_a_page(session, looked, marks, port, counter)
        done = import_all(
            session, looked, marks, light=light or session.plan.lights[0], gap_s=gap, film_fps=film_fps
        )  # fmt: skip
    if as_json:
        on_stdout(*(json.dumps(line) for line in done.lines))
    else:
        on_stdout(*_summary(done, session))
        if session.passes:
            on_stdout(after_record(plan, None))
    if not done.frames and not done.is_known:
        reasons = sorted((one.reason for one in done.not_used), key=lambda one: one.startswith(STORED))
        raise CheckFailed("nothing was imported: " + (reasons[0] if reasons else "no files there"))


def _marked_on_a_page(
    session: "Session", looked: "Looked", marks: "dict[str, Mark]", port: int, counter: "UnitCounter"
) -> "dict[str, Mark]":
    """Serve the page until its button is pressed; Ctrl-C goes on with what was marked."""
    from edgeguard.fieldtest.session.importing import to_be_marked
    from edgeguard.fieldtest.session.mark_page import MarkPage

    with MarkPage(session, to_be_marked(looked), marks, port=port) as page:
        counter.say(f"mark {page.left} pictures here, then press Import: {page.url}")
        try:
            page.wait()
        except KeyboardInterrupt:
            counter.say("the page is closed; what was marked is kept")
    return page.marks


def _summary(done: "Imported", session: "Session") -> list[str]:
    lines = [f"{done.frames} frames in {done.passes} passes stored, {sum(session.missing().values())} passes missing"]
    if done.is_known:
        lines.append("nothing new: all of these files are stored already")
    reasons: dict[str, list[str]] = defaultdict(list)
    for one in done.not_used:
        reasons[one.reason].append(one.name)
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        lines.append(f"not used, {len(names)}: {reason} ({', '.join(names[:_SHOWN])}{more})")
    lines += [f"note: {note}" for note in done.notes]
    if done.not_used:
        lines.append(f"each file, with what became of it: {json.dumps(str(session.folder / 'import.jsonl'))}")
    return lines
