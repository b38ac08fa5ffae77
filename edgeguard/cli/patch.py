"""`edgeguard patch make|sheet|check|calibrate`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeguard.cli.field_objects import MOUNTS_HELP, chosen_subject, control_place, placement, side_share
from edgeguard.cli.ignored import refuse_ignored
from edgeguard.cli.messages import on_stderr, on_stdout
from edgeguard.cli.next_steps import after_patch, after_sheet
from edgeguard.cli.parse import near_and_far, size_within
from edgeguard.cli.patch_model import deployed_model
from edgeguard.errors import CheckFailed, InputError
from edgeguard.system.extras import missing_part
from edgeguard.system.names import with_a_name
from edgeguard.system.outputs import output_folder, refuse_file

if TYPE_CHECKING:
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.fieldtest.patches.optimize import Recipe
    from edgeguard.fieldtest.patches.order import PatchOrder
    from edgeguard.fieldtest.patches.search import Searched
    from edgeguard.fieldtest.sheets.patch_file import PatchFile

_WRITTEN = ("patch.png", "object.png", "contact-sheet.png", "control-plain.png", "control-noise.png")
app = typer.Typer(
    help="Make, print and check physical adversarial patches.", no_args_is_help=True, rich_markup_mode=None
)


@app.command(epilog="Example: edgeguard patch make model.tflite --card stop --target yield --size 10% --output patch/")
def make(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="The .tflite that is deployed, or a trained model (converted first).")],
    output: Annotated[Path, typer.Option(help="Folder for patch.png, patch.json, contact sheet; run again to go on.")],
    target: Annotated[str | None, typer.Option(help="The label that the model shall say.")] = None,
    untargeted: Annotated[bool, typer.Option("--untargeted", help="Any wrong label will do.")] = False,
    card: Annotated[str, typer.Option(help="The bundled card that the patch lies on.")] = "stop",
    photo: Annotated[
        Path | None, typer.Option("--object", help="Instead of a card: a photograph of your object, from the front.")
    ] = None,
    mm: Annotated[str | None, typer.Option(help="With --object: its true WIDTHxHEIGHT, millimeters.")] = None,
    mask: Annotated[Path | None, typer.Option(help="With --object: a picture of its size, white where it is.")] = None,
    mount: Annotated[str, typer.Option(help=f"With --object: {MOUNTS_HELP}")] = "sheet",
    images: Annotated[
        Path | None, typer.Option(help="Instead of a card: labeled photographs, the patch pasted on them anywhere.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Against a detector: vanish, mislabel or create. --target is optional then.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The object's class. [the card's name; with --images every class]")
    ] = None,
    size: Annotated[str, typer.Option(help="Of the patch: share of the object's area (10%) or side (38mm).")] = "10%",
    at: Annotated[
        list[str] | None,
        typer.Option(
            help="Its middle, shares of width and height from the object's middle: x,y (repeat for several stickers); "
            "area:x1,y1,x2,y2 for anywhere in there; search for the best place. [0,0.07]"
        ),
    ] = None,
    shape: Annotated[str, typer.Option(help="square, round, ring or stickers.")] = "square",
    through_guard: Annotated[
        str | None, typer.Option(help="Make it through this defense: contract, a profile, lgs, entropy, chunks.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Gradient steps.")] = 600,
    batch: Annotated[int, typer.Option(min=1, max=256, help="Views in each step.")] = 8,
    smoothness: Annotated[
        float, typer.Option(min=0, help="Weight of the smoothness term; 0.2 keeps a patch below texture guards.")
    ] = 0.01,
    naturalness: Annotated[
        float, typer.Option(min=0, help="Weight of looking like what it covers; 0.05 is a lot.")
    ] = 0.0,
    bend: Annotated[
        float, typer.Option(min=0, max=0.2, help="How much the object bends (thin-plate spline): 0.03 for a shirt.")
    ] = 0.0,
    backgrounds: Annotated[
        Path | None, typer.Option(help="Folder of your photographs of the place, to stand behind the object.")
    ] = None,
    printer: Annotated[
        Path | None, typer.Option(help="The printer.json of patch calibrate. [a guess of print colors and blur]")
    ] = None,
    angle: Annotated[float, typer.Option(min=0, max=70, help="Largest angle of view, degrees.")] = 40.0,
    distances: Annotated[
        str | None, typer.Option(help="NEAR,FAR of the views, millimeters. [2.75 to 10 sides of the object]")
    ] = None,
    frame: Annotated[str, typer.Option(help="Size of the camera's frames.")] = "640x480",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the patch's manifest as JSON.")] = False,
) -> None:
    """Optimise a patch over distance, angle, light, blur, print, noise and the camera's JPEG."""
    refuse_file(output)
    if mode is None:
        if photo is None:
            refuse_ignored(context, ["label"], "is for --mode or --object: a classifier's patch takes the card's")
        if (target is None) != untargeted:
            raise InputError("say --target LABEL, or --untargeted; for a detector --mode vanish, mislabel or create")
    else:
        _check_mode(context, mode)
    if images is not None:
        seen = ["card", "photo", "naturalness", "bend", "backgrounds", "printer", "angle", "distances", "frame"]
        refuse_ignored(context, seen, "is for a card or object that a camera sees, not for --images")
        if size.endswith("mm"):
            raise InputError("photographs have no millimeters: give --size as a share, for example 10%")
    if photo is not None and photo.name in _WRITTEN and photo.resolve().parent == output.resolve():
        raise InputError(
            f"{photo} would be overwritten by the patch's own file of that name: give --output another folder"
        )
    try:
        from edgeguard.fieldtest.patches.job import make as make_patch
        from edgeguard.fieldtest.patches.optimize import Recipe
        from edgeguard.fieldtest.patches.order import PatchOrder
    except ImportError as error:
        raise missing_part(error, "patch make", "attack") from error
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.fieldtest.sheets.build import DEFAULT_CENTER
    from edgeguard.fieldtest.sheets.printer_map import read_printer
    from edgeguard.fieldtest.virtual.backgrounds import read_backgrounds

    subject = chosen_subject(context, card, photo, label=label, mm=mm, mask=mask, mount=mount)
    where = placement(at or [], DEFAULT_CENTER)
    if images is not None and (len(where.centers) > 1 or where.within is not None or where.search):
        raise InputError("--at x,y is all that --images takes: there the patch is pasted anywhere")
    width, height = size_within("--frame", frame, 64, 4096)
    behind, left_out = ((), ()) if backgrounds is None else read_backgrounds(backgrounds)
    for line in left_out:
        on_stderr(f"left out: {line}")
    with UnitCounter() as counter, output_folder(output):  # a conversion is work that counts
        order = PatchOrder(
            model=deployed_model(model, output), target=target, card=None if images or photo else card, images=images,
            subject=subject if photo else None, area=side_share(size, subject) ** 2, center=where.centers[0],
            more_centers=where.centers[1:], within=where.within, search=where.search, through=through_guard,
            angle_deg=angle, size=(width, height), bend=bend, photographs=behind,
            printer=None if printer is None else read_printer(printer),
            distances_mm=None if distances is None else near_and_far("--distances", distances),
        )  # fmt: skip
        recipe = Recipe(
            None, steps=steps, batch=batch, shape=shape, smoothness=smoothness, seed=seed, naturalness=naturalness
        )  # fmt: skip
        if mode is not None:
            _make_for_detector(order, recipe, output, mode, None if photo else label, counter, as_json)
            return
        made = make_patch(
            order, recipe, output,
            lambda done, total, share: counter.show("patch", done, total, _went_its_way(share)),
            lambda done, total: counter.show("places", done, total),
        )  # fmt: skip
    if as_json:
        counts = {name: getattr(made, name) for name in ("successes", "views", "clean_right", "clean_successes")}
        on_stdout(json.dumps({**_manifest(made.about), **counts}))
        return
    on_stdout(*_searched(made.searched))
    on_stdout(f"wrote {output}/patch.png, patch.json and contact-sheet.png")
    on_stdout(*made.lines, *_next(order, output, made.is_known))


def _went_its_way(share: float) -> str:
    return f"it had its way in {100 * share:.0f} % of the last views"


def _manifest(about: "PatchFile") -> dict[str, Any]:
    """As `--json` has always printed a classifier's: with `mode`, which is null there."""
    return {"mode": None, **about.to_dict()}


def _searched(found: "Searched | None") -> list[str]:
    if found is None:
        return []
    tried = ", ".join(f"{x:g},{y:g} (loss {loss:.2f})" for (x, y), loss in found.tried)
    x, y = found.center
    return [f"searched {found.places} places; tried {tried}; taken: --at {x:g},{y:g}"]


def _next(order: "PatchOrder", output: Path, can_be_judged: bool) -> list[str]:
    return [after_patch(output, order.card)] if order.object is not None and can_be_judged else []


def _check_mode(context: typer.Context, mode: str) -> None:
    if mode not in ("vanish", "mislabel", "create"):
        raise InputError(f"--mode is vanish, mislabel or create, got {mode!r}")
    refuse_ignored(context, ["untargeted"], "is for classifiers; with --mode a missing --target means any class")
    if mode == "vanish":
        refuse_ignored(context, ["target"], "is for --mode mislabel and create: what vanishes has no label")


def _make_for_detector(
    order: "PatchOrder", recipe: "Recipe", output: Path, mode: str, label: str | None, counter: "UnitCounter",
    as_json: bool,
) -> None:  # fmt: skip
    from typing import cast

    from edgeguard.evaluate.protocol import Goal
    from edgeguard.fieldtest.patches.detector_job import make_for_detector

    made = make_for_detector(
        order, recipe, output, mode=cast(Goal, mode), label=label,
        progress=lambda done, total, share: counter.show("patch", done, total, _went_its_way(share)),
        asked=lambda done, total: counter.show("the virtual field", done, total),
        looked=lambda done, total: counter.show("places", done, total),
    )  # fmt: skip
    if as_json:
        arms = [vars(arm) for arm in made.arms]
        told = {
            "successes": made.successes,
            "views": made.views,
            "arms": arms,
            "loses": made.against,
            "doubts": made.doubts,
        }
        on_stdout(json.dumps({**made.about.to_dict(), **told}))
        return
    on_stdout(*_searched(made.searched))
    on_stdout(f"wrote {output}/patch.png, patch.json and contact-sheet.png")
    on_stdout(f"on {made.views} fresh views of the twin it had its way in {made.successes}: no claim about a print")
    if made.arms:
        on_stdout(f"the deployed file in the virtual field, 0 to {order.checked_angle_deg:g} degrees:")
    on_stdout(*(arm.line for arm in made.arms), *made.against, *made.doubts)
    on_stdout(*_next(order, output, not made.doubts))


@app.command(epilog="Example: edgeguard patch sheet --card stop --arm patch --patch patch/ --output stop-patch.pdf")
def sheet(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="The .pdf; its manifest (.json) and picture (.png) go beside it.")],
    card: Annotated[str, typer.Option(help="A bundled card, blank, or chart for patch calibrate.")] = "stop",
    photo: Annotated[
        Path | None, typer.Option("--object", help="Instead of a card: a photograph of your object, from the front.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="With --object: its name as the model has it.")] = None,
    mm: Annotated[str | None, typer.Option(help="With --object: its true WIDTHxHEIGHT, millimeters.")] = None,
    mask: Annotated[Path | None, typer.Option(help="With --object: a picture of its size, white where it is.")] = None,
    mount: Annotated[str, typer.Option(help=f"With --object: {MOUNTS_HELP}")] = "sheet",
    arm: Annotated[str, typer.Option(help="clean, plain, noise or patch.")] = "clean",
    patch: Annotated[
        Path | None, typer.Option(help="Folder of patch make; controls take object, size and place from it.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Of a control without a patch: 10% of the area, or 38mm.")] = None,
    card_mm: Annotated[float, typer.Option(min=20, max=2000, help="Side of the card.")] = 120.0,
    tag_mm: Annotated[
        float | None, typer.Option(min=10, max=500, help="Side of the tags. [40; for an object as suits its size]")
    ] = None,
    page: Annotated[str, typer.Option(help="A4 or Letter; larger sheets take several pages, with marks.")] = "A4",
    number: Annotated[int | None, typer.Option(min=0, max=145, help="Of the tags. [follows from the picture]")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise control.")] = 0,
) -> None:
    """Print-ready PDF in true millimetres: the object between four AprilTags, scale bar, color chart."""
    from edgeguard.fieldtest.sheets.build import made_sheet, write_sheet
    from edgeguard.fieldtest.sheets.layout import PAGES_MM
    from edgeguard.fieldtest.sheets.paper_cover import covering_lines
    from edgeguard.fieldtest.sheets.patch_file import read_patch
    from edgeguard.fieldtest.sheets.pdf import sheet_pdf

    if output.suffix.lower() != ".pdf":
        raise InputError(f"--output wants a .pdf file, got {output}")
    if page not in PAGES_MM:
        raise InputError(f"--page wants {' or '.join(PAGES_MM)}, got {page}")
    if photo is None:
        refuse_ignored(context, ["label"], "is for --object PHOTO: a card has its own")
    if arm == "clean" and mount != "on":
        refuse_ignored(context, ["size"], "is for the other arms: nothing lies on a clean sheet")
        is_there = patch is not None and photo is None and (patch / "patch.json").exists()
        given = read_patch(patch)[0] if patch is not None and is_there else None
        if given is None or (given.about is None and given.object != card):
            refuse_ignored(context, ["patch"], "is for the other arms: nothing lies on a clean sheet")
    if arm != "noise":
        refuse_ignored(context, ["seed"], "is for --arm noise")
    if arm != "patch" and size is not None:
        refuse_ignored(context, ["patch"], "gives a control its size and place, and --size is given too")
    subject = chosen_subject(
        context, card, photo, label=label, mm=mm, mask=mask, mount=mount, card_mm=card_mm, patch=patch
    )  # fmt: skip
    overlay = None if size is None else control_place(size, subject)
    made, picture = made_sheet(subject, arm, patch=patch, tag_mm=tag_mm, number=number, overlay=overlay, seed=seed)
    write_sheet(output, made, picture, sheet_pdf(made, picture, page), subject)
    if arm == "patch" and patch is not None and (made_on := read_patch(patch)[0].object) != made.object:
        on_stderr(f"the patch was made on {made_on!r}, not on {made.object!r}: this sheet tests how it transfers")
    for line in covering_lines([made]):
        on_stderr(line)
    on_stdout(f"wrote {output}: sheet {made.number} ({made.object}, {made.arm}), {made.sha256[:8]}; print it at 100 %")
    if card != "blank":
        on_stdout(after_sheet(output, card if photo is None else "", arm))


@app.command(epilog="Example: edgeguard patch check photo.jpg --sheet stop-patch.pdf")
def check(
    photo: Annotated[Path, typer.Argument(help="A photograph of the print, on something darker than paper.")],
    sheet: Annotated[Path | None, typer.Option(help="The sheet's .pdf or .json.")] = None,
    bar_mm: Annotated[float | None, typer.Option(min=25, max=200, help="The scale bar as you measured it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Check a print: tags, true scale, colors. Exit code 1: scale more than 2 % off, bent, or a tag is not seen."""
    from edgeguard.fieldtest.sheets.cutout import picture_of
    from edgeguard.fieldtest.sheets.print_check import check_print
    from edgeguard.fieldtest.sheets.sheet import read_sheet

    if sheet is None and bar_mm is not None and bar_mm < 50:  # no print is half as large
        raise InputError(f"--bar-mm {bar_mm:g} wants --sheet: the bar is 100 mm long, and 40 on a small object's paper")
    wanted = None if sheet is None else read_sheet(with_a_name(sheet).with_suffix(".json"))
    found = check_print(picture_of(photo), wanted)
    scale = bar_mm / (100 if wanted is None else wanted.layout.scale_bar_mm) if bar_mm is not None else found.scale
    if as_json:
        on_stdout(json.dumps({**vars(found), "scale": scale}))
    else:
        on_stdout(f"sheet          {found.number}, {found.tags} of 4 tags")
        how = "by the bar" if bar_mm is not None else f"by the outline of {found.page}"
        unknown = "unknown: the outline of the paper is not seen; measure the bar, --bar-mm"
        on_stdout(f"scale          {unknown if scale is None else f'{100 * scale:.1f} %, {how}'}")
        if found.color_error is None or found.worst_color is None:
            on_stdout("colors        this paper has no chart")
        else:
            on_stdout(f"colors        mean difference {found.color_error:.1f} (CIE76), largest {found.worst_color:.1f}")
        on_stdout(f"flatness       corners {found.fit_px:.2f} pixels off a plane")
        if wanted is None:
            on_stdout("sizes          of a card of 120 mm, without --sheet")
    if scale is not None and abs(scale - 1) > 0.02:
        raise CheckFailed(
            f"the print is at {100 * scale:.1f} %: print at 100 %, or plan with --print-scale {scale:.3f}"
        )
    if found.fit_px > 2:
        raise CheckFailed("the sheet is not flat")
    if found.tags < 4:
        raise CheckFailed(f"{found.tags} of 4 tags are seen: too few to judge the print; photograph all of the sheet")


@app.command(epilog="Example: edgeguard patch calibrate chart.jpg --output printer.json")
def calibrate(
    photo: Annotated[Path, typer.Argument(help="A photograph of the printed chart, flat, evenly lit, not burnt out.")],
    output: Annotated[Path, typer.Option(help="The printer.json, for patch make --printer.")],
    sheet: Annotated[
        Path | None, typer.Option(help="The .pdf or .json of the printed sheet. [that of patch sheet --card chart]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the map as JSON.")] = False,
) -> None:
    """Measure what your printer and camera make of colours and edges, from one photograph."""
    from edgeguard.errors import JpegError
    from edgeguard.fieldtest.sheets.build import made_sheet
    from edgeguard.fieldtest.sheets.calibrate import calibrate as measured
    from edgeguard.fieldtest.sheets.cutout import photograph_bytes
    from edgeguard.fieldtest.sheets.printer_map import write_printer
    from edgeguard.fieldtest.sheets.sheet import read_sheet
    from edgeguard.system.foreign import read_bounded

    printed = made_sheet("chart", "clean")[0] if sheet is None else read_sheet(with_a_name(sheet).with_suffix(".json"))
    if not printed.layout.chart:
        raise InputError("this paper has no colors: print edgeguard patch sheet --card chart")
    is_chart = printed.object == "chart" and printed.arm == "clean"
    try:
        found = measured(photograph_bytes(photo), printed.number, printed.layout, is_chart=is_chart)
    except JpegError as error:
        raise InputError(f"{photo}: {error}") from error
    write_printer(output, found)
    if as_json:
        on_stdout(read_bounded(output, 1 << 20, "what was measured").decode().strip())
        return
    on_stdout(f"wrote {output}: {found.colors} colors, a map of degree {found.degree}")
    on_stdout(f"colors        without the map {found.error_before:.1f} off (CIE76), with it {found.error_after:.1f}")
    on_stdout(f"blur           {found.blur_px:.2f} pixels at 640 across, {found.blur_mm:.2f} mm on the print")
    if found.error_after > found.error_before / 2:
        on_stderr("the map explains less than half of the difference: light on the print may be uneven or mixed")
