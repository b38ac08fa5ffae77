"""`edgeguard fieldtest plan`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeguard.cli.ignored import refuse_ignored
from edgeguard.cli.messages import on_stdout
from edgeguard.cli.next_steps import after_plan
from edgeguard.cli.parse import numbers
from edgeguard.errors import InputError
from edgeguard.system.outputs import output_folder

if TYPE_CHECKING:
    from edgeguard.fieldtest.analysis.clean_views import CleanViews
    from edgeguard.fieldtest.session.plan import Plan
    from edgeguard.fieldtest.sheets.sheet import Arm, Picture, Sheet
    from edgeguard.fieldtest.sheets.subject import Subject
    from edgeguard.model import Model

#: Views of each clean object for the plan's notes: in all, of each cell at least and at most, and more of one in doubt.
_IN_ALL, _IN_A_CELL, _AGAIN = 64, (4, 16), 8
_LEAST_TO_CHOOSE = 2  # where only distances are compared


def plan_command(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of the session, new or empty.")],
    sheets: Annotated[list[Path], typer.Argument(help="The sheets: .pdf or .json of patch sheet.")],
    model: Annotated[Path | None, typer.Option(help="The .tflite that is tested; its hash goes into the plan.")] = None,
    distances: Annotated[
        str | None,
        typer.Option(help="Millimeters, with commas. [by the size of object and tags, and by what --model knows]"),
    ] = None,
    angles: Annotated[str, typer.Option(help="Degrees, with commas.")] = "0,15,30,45",
    lights: Annotated[str, typer.Option(help="Names of the lights, with commas.")] = "bright",
    passes: Annotated[
        int | None, typer.Option(min=1, help="Placements of each sheet in each cell. [--interval]")
    ] = None,
    interval: Annotated[
        float, typer.Option(min=1, max=100, help="Wanted full width of the 95 % interval of a rate near 50 %, points.")
    ] = 20.0,
    effect: Annotated[
        float, typer.Option(min=1, max=100, help="What is the chance to see an effect of so many points? (simulated)")
    ] = 30.0,
    control_rate: Annotated[
        float, typer.Option(min=0, max=99, help="Assumed for that: how often the control succeeds, % of frames.")
    ] = 5.0,
    agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Assumed for that: correlation of the frames of one pass.")
    ] = 0.6,
    frames: Annotated[int, typer.Option(min=1, max=100, help="Stored frames of each pass.")] = 5,
    field_of_view: Annotated[float, typer.Option(min=10, max=150, help="Of the camera, across, degrees.")] = 62.2,
    print_scale: Annotated[float, typer.Option(help="The scale bar as measured / what is printed there.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Plan arms x distances x angles x lights x passes, and say what they can show."""
    from edgeguard.fieldtest.analysis.clean_views import SHOWS_NOTHING
    from edgeguard.fieldtest.analysis.power import Outlook, outlook_lines
    from edgeguard.fieldtest.analysis.score import check_scorable
    from edgeguard.fieldtest.session.controls import control_notes
    from edgeguard.fieldtest.session.distances import too_near_notes, usual_distances_mm
    from edgeguard.fieldtest.session.pictures import keep_pictures
    from edgeguard.fieldtest.session.plan import make_plan, passes_for_interval, write_plan
    from edgeguard.fieldtest.session.reach import too_far_notes
    from edgeguard.fieldtest.sheets.build import sheet_and_picture
    from edgeguard.fieldtest.sheets.paper_cover import covering_lines
    from edgeguard.fieldtest.sheets.subject import sheet_subject
    from edgeguard.model import load_model

    if passes is not None and as_json:
        refuse_ignored(context, ["interval"], "asks for as many passes as it needs, and --passes says how many")
    if as_json:
        refuse_ignored(context, ["effect", "control_rate", "agreement"], "is for the text: JSON is the plan alone")
    if (folder / "plan.json").exists():
        raise InputError(f"{folder} holds a plan already: choose another folder")
    pages = [(*sheet_and_picture(path), path) for path in sheets]
    printed = [(sheet, picture, sheet_subject(sheet, path)) for sheet, picture, path in pages]
    read = [sheet for sheet, _, _ in printed]
    turned, lit = numbers("--angles", angles), tuple(lights.split(","))
    far = usual_distances_mm(read) if distances is None else numbers("--distances", distances)
    deployed, views = (None if model is None else load_model(model)), None
    if deployed is not None and model is not None:
        check_scorable(deployed, model, read)
        if distances is None:
            far, views = _known_distances_mm(deployed, printed, far, turned, field_of_view)
    grid = far, turned, lit
    cells = len(grid[0]) * len(grid[1]) * len(grid[2])
    wanted = passes_for_interval(interval / 100)
    each = passes if passes is not None else -(-wanted // cells)
    profile = None if deployed is None else deployed.contract.guard.profile
    made = make_plan(
        read, *grid, each, frames=frames, model_sha256=None if deployed is None else deployed.sha256,
        profile_sha256=None if profile is None else profile.sha256, field_of_view_deg=field_of_view,
        print_scale=print_scale,
    )  # fmt: skip
    with output_folder(folder, "pictures/*.png", "pictures"):
        keep_pictures(folder, printed)
        write_plan(folder, made)
    if as_json:
        on_stdout(*(folder / "plan.json").read_text().splitlines())
        return
    on_stdout(*_said_of_plan(made, interval, wanted))
    on_stdout(*outlook_lines(Outlook(effect / 100, control_rate / 100, agreement, frames), cells * each))
    notes = (
        *([] if deployed is None else _model_notes(deployed, printed, views, made)),
        *too_near_notes(made),
        *too_far_notes(made),
        *covering_lines(read),
        *control_notes(read),
    )
    if distances is None and far != usual_distances_mm(read):
        usual = ", ".join(f"{distance:g}" for distance in usual_distances_mm(read))
        on_stdout(f"distances at which the model knows the clean object in rendered views; by size alone: {usual} mm")
    on_stdout(*(f"note: {line}" for line in notes))
    absent = [arm for arm in ("plain", "noise") if arm not in {sheet.arm for sheet in read}]
    if absent:
        which = " or ".join(absent)
        on_stdout(f"no {which} control: an effect cannot be told from that of anything lying there")
    if not any(line.startswith(SHOWS_NOTHING) for line in notes):
        on_stdout(after_plan(folder, sheets))


def _said_of_plan(made: "Plan", interval: float, wanted: int) -> list[str]:
    """How many passes, and how well a rate is known then; `wanted` passes know it within `interval` points."""
    from edgeguard.statistics import wilson

    cells = len(made.cells())
    total = cells * made.passes
    where = ", ".join(f"{distance:g}" for distance in made.distances_mm)
    low, high = wilson(total // 2, total)
    return [
        f"session {made.session}: {len(made.sheets)} sheets x {cells} cells x {made.passes} passes = "
        f"{len(made.sheets) * total} passes; {where} mm",
        f"each arm: {total} passes; a success rate near 50 % is then known within {100 * (high - low):.0f} points",
        f"for {interval:g} points {wanted} passes of each arm are enough; in a single cell {made.passes} passes only "
        "describe",
    ]


def _known_distances_mm(
    model: "Model",
    printed: "Sequence[tuple[Sheet, Picture, Subject]]",
    usual_mm: Sequence[float],
    angles_deg: Sequence[float],
    field_of_view_deg: float,
) -> "tuple[tuple[float, ...], list[CleanViews]]":
    """The usual distances, or others that the tags reach, where the model does not know the clean objects there.

    Few views choose among many distances; then as many as for the usual ones are looked at, and a distance at which the
    objects are not known after all is left out.

    Returns:
        The distances, and what the model said of the clean objects at them.
    """
    from edgeguard.fieldtest.analysis.clean_views import everywhere_known
    from edgeguard.fieldtest.session.distances import candidate_distances_mm

    at_usual = _asked(model, printed, usual_mm, angles_deg)
    if everywhere_known(at_usual) == tuple(usual_mm):
        return tuple(usual_mm), at_usual
    others = candidate_distances_mm([sheet for sheet, _, _ in printed], usual_mm, angles_deg, field_of_view_deg)
    at_others = _asked(model, printed, others, angles_deg, least=_LEAST_TO_CHOOSE)
    known = everywhere_known(at_others)
    if not known:
        return tuple(usual_mm), at_usual
    places = sorted({round(k * (len(known) - 1) / (len(usual_mm) - 1)) for k in range(len(usual_mm))})
    chosen = tuple(known[place] for place in places)
    at_chosen = _asked(model, printed, chosen, angles_deg)
    still = everywhere_known(at_chosen)
    if not still:
        return tuple(usual_mm), at_usual
    return still, [one for one in at_chosen if one.distance_mm in still]


def _model_notes(
    model: "Model", printed: "Sequence[tuple[Sheet, Picture, Subject]]", views: "list[CleanViews] | None", made: "Plan"
) -> list[str]:
    """Where the model does not know the clean object; which objects plain gray misleads it about already."""
    from edgeguard.fieldtest.analysis.clean_views import no_room_notes, unknown_notes

    clean = views or _asked(model, printed, made.distances_mm, made.angles_deg)
    # a patch that aims at a class has another success than plain gray, which misleads at random
    anything = {
        sheet.object for sheet, _, _ in printed
        if sheet.arm == "patch" and sheet.target is None and sheet.mode in (None, "vanish")
    }  # fmt: skip
    controls = [one for one in printed if one[0].object in anything]
    plain = _asked(model, controls, made.distances_mm, made.angles_deg, _LEAST_TO_CHOOSE, "plain") if controls else []
    return [*unknown_notes(clean), *no_room_notes(clean, plain)]


def _asked(
    model: "Model",
    printed: "Sequence[tuple[Sheet, Picture, Subject]]",
    distances_mm: Sequence[float],
    angles_deg: Sequence[float],
    least: int | None = None,
    arm: "Arm" = "clean",
) -> "list[CleanViews]":
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.fieldtest.analysis.clean_views import clean_views

    fewest, most = _IN_A_CELL
    thorough = max(fewest, min(most, _IN_ALL // (len(distances_mm) * len(angles_deg))))
    with UnitCounter() as counter:
        return clean_views(
            model, printed, distances_mm, angles_deg,
            least=least or thorough, again=_AGAIN if least is None else 0, arm=arm,
            progress=lambda done, total: counter.show(f"views of the {arm} object", done, total),
        )  # fmt: skip
