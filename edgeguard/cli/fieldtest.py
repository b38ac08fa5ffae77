"""`edgeguard fieldtest plan|record|import|score|report`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeguard.cli.fieldtest_import import import_photographs
from edgeguard.cli.ignored import refuse_ignored
from edgeguard.cli.messages import on_stdout
from edgeguard.cli.parse import numbers
from edgeguard.errors import CheckFailed, InputError
from edgeguard.system.outputs import output_folder

if TYPE_CHECKING:
    from edgeguard.camera import Source
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.fieldtest.analysis.why_files import Why
    from edgeguard.fieldtest.session.guide import Advice
    from edgeguard.fieldtest.session.plan import Plan
    from edgeguard.fieldtest.session.record import Status
    from edgeguard.fieldtest.session.session import Pass, Session

app = typer.Typer(
    help="Learn with statistics whether a physical patch works and whether a defense helps.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog="Example: edgeguard fieldtest plan session/ clean.pdf plain.pdf noise.pdf patch.pdf --passes 10")
def plan(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of the session, new or empty.")],
    sheets: Annotated[list[Path], typer.Argument(help="The sheets: .pdf or .json of patch sheet.")],
    model: Annotated[Path | None, typer.Option(help="The .tflite that is tested; its hash goes into the plan.")] = None,
    distances: Annotated[
        str | None, typer.Option(help="Millimeters, with commas. [350,500,750,1100; larger for what is larger]")
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
    from edgeguard.fieldtest.analysis.power import Outlook, outlook_lines
    from edgeguard.fieldtest.analysis.score import check_scorable
    from edgeguard.fieldtest.session.controls import control_notes
    from edgeguard.fieldtest.session.distances import too_near_notes, usual_distances_mm
    from edgeguard.fieldtest.session.pictures import keep_pictures
    from edgeguard.fieldtest.session.plan import make_plan, passes_for_interval, write_plan
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
    far = usual_distances_mm(read) if distances is None else numbers("--distances", distances)
    grid = far, numbers("--angles", angles), tuple(lights.split(","))
    cells = len(grid[0]) * len(grid[1]) * len(grid[2])
    wanted = passes_for_interval(interval / 100)
    each = passes if passes is not None else -(-wanted // cells)
    deployed = None if model is None else load_model(model)
    if deployed is not None and model is not None:
        check_scorable(deployed, model, read)
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
    on_stdout(*(f"note: {line}" for line in (*too_near_notes(made), *covering_lines(read), *control_notes(read))))
    absent = [arm for arm in ("plain", "noise") if arm not in {sheet.arm for sheet in read}]
    if absent:
        which = " or ".join(absent)
        on_stdout(f"no {which} control: an effect cannot be told from that of anything lying there")


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


@app.command(epilog="Example: edgeguard fieldtest record session/ --source 0 --port 8000")
def record(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The session's folder.")],
    source: Annotated[
        str,
        typer.Option(help="Camera number, file, URL; synthetic:field?... ; synthetic:session plays the whole plan."),
    ] = "0",
    light: Annotated[str | None, typer.Option(help="The light that is on. [the plan's first]")] = None,
    drive_by: Annotated[bool, typer.Option("--drive-by", help="The source is one approach: one pass.")] = False,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Serve the operator's page here.")] = None,
    host: Annotated[str, typer.Option(help="Address of the page; beyond loopback give --token-file.")] = "127.0.0.1",
    token_file: Annotated[Path | None, typer.Option(help="Token of the page (open it with /?token=...).")] = None,
    sheets: Annotated[list[Path] | None, typer.Option(help="For synthetic:session: the sheets that are shown.")] = None,
    seed: Annotated[int, typer.Option(help="For synthetic:session.")] = 0,
    model: Annotated[
        Path | None, typer.Option(help="Live arm: run this .tflite beside it, keep what it says of each frame.")
    ] = None,
    untagged: Annotated[
        str | None, typer.Option(help="An object without tags: this arm lies on it; Enter stores a pass.")
    ] = None,
    every: Annotated[float | None, typer.Option(help="With --untagged: a pass every so many seconds, no key.")] = None,
) -> None:
    """Guide the operator, keep source frames exactly as the camera gave them; run again to go on."""
    if untagged is not None:
        from edgeguard.camera import open_source
        from edgeguard.cli.fieldtest_untagged import record_untagged_passes

        ignored = ["drive_by", "port", "host", "token_file", "sheets", "seed", "model"]
        refuse_ignored(context, ignored, "is for sheets with tags, not for --untagged")
        record_untagged_passes(folder, untagged, light=light, every_s=every, spec=source, source=open_source)
        return
    refuse_ignored(context, ["every"], "is for --untagged: tags say when a pass begins")
    import contextlib

    from edgeguard.cli.progress import UnitCounter
    from edgeguard.fieldtest.session.record import Status, live_evaluation, missing_lines, record_drive_by
    from edgeguard.fieldtest.session.record import record as record_passes
    from edgeguard.fieldtest.session.session import Session
    from edgeguard.fieldtest.session.web import GuidePage
    from edgeguard.model import load_model
    from edgeguard.pipeline import Pipeline
    from edgeguard.system.addresses import is_loopback, read_token

    if source == "synthetic:session":
        refuse_ignored(context, ["light"], "is not for synthetic:session, which plays all lights of the plan")
    else:
        refuse_ignored(context, ["sheets", "seed"], "is for --source synthetic:session")
    if port is None:
        refuse_ignored(context, ["host", "token_file"], "is for the operator's page: give --port")
    token = None if token_file is None else read_token(token_file)
    session = Session(folder)
    if light is not None and light not in session.plan.lights:
        raise InputError(f"the plan has no light {light!r}: {', '.join(session.plan.lights)}")
    wanted = len(session.plan.cells()) * session.plan.passes * len(session.plan.sheets)
    status = Status(light or session.plan.lights[0], wanted - sum(session.missing().values()), wanted)
    with UnitCounter() as counter:
        for line in session.recover():
            counter.say(line)
        before = len(session.passes)
        teller = _Teller(counter, status)
        opened = _source(source, session, status, sheets or [], seed)
        with contextlib.ExitStack() as stack:
            stack.callback(opened.close)
            if port is not None:
                page = stack.enter_context(GuidePage(session, status, port=port, host=host, token=token))
                counter.say(f"the operator's page: {page.url}")
                if token is None and not is_loopback(host):
                    counter.say("ANYBODY WHO REACHES THE PAGE SEES THE CAMERA AND SETS THE LIGHT: give --token-file")
            live = {} if model is None else {"evaluate_frame": live_evaluation(Pipeline(opened, load_model(model)))}
            (record_drive_by if drive_by else record_passes)(session, opened, status, teller.tell, **live)
    left = sum(session.missing().values())
    if len(session.passes) == before:
        raise CheckFailed(f"nothing was recorded: {_why_nothing(left, status.lost, teller)}")
    said = f", {status.lost} damaged frames left out" if status.lost else ""
    on_stdout(f"{len(session.passes)} passes stored, {left} missing{said}", *missing_lines(session, teller.unusable))


app.command("import", epilog="Example: edgeguard fieldtest import photos/ --plan session/ --port 8000")(
    import_photographs
)


@app.command(
    epilog="Example: edgeguard fieldtest score session/ --model model.tflite --guard off --guard fd --guard lgs"
)
def score(
    folder: Annotated[Path, typer.Argument(help="The session's folder.")],
    model: Annotated[Path, typer.Option(help="The .tflite with its contract.")],
    guard: Annotated[
        list[str] | None,
        typer.Option(
            help="off, contract, a profile, lgs, entropy, chunks, recompression, double-masking, live; repeat."
        ),
    ] = None,
    certify: Annotated[
        bool, typer.Option("--certify", help="How large a patch is proven harmless, by distance and angle.")
    ] = False,
    memory: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="A pass counts as attacked if never so many frames in a row were right."),
    ] = None,
    why: Annotated[
        bool, typer.Option("--why/--no-why", help="Find at which step a patch loses its strength, on your own frames.")
    ] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [one for each core]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON lines.")] = False,
) -> None:
    """Replay every stored frame through each guard and the model; write scores.jsonl."""
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.fieldtest.analysis.certified import certified_report, certify_session
    from edgeguard.fieldtest.analysis.findings import findings
    from edgeguard.fieldtest.analysis.report import text_report
    from edgeguard.fieldtest.analysis.score import score as score_session
    from edgeguard.fieldtest.analysis.why_files import clear_why, why_lines
    from edgeguard.fieldtest.session.session import Session
    from edgeguard.model import load_model
    from edgeguard.model.contract import ContractGuard

    guards = list(dict.fromkeys(guard or ["off", "contract", "lgs", "entropy"]))
    if guard is None and load_model(model).contract.guard == ContractGuard():
        guards.remove("contract")
    if certify and load_model(model).votes is None:
        raise InputError("--certify needs a model that proves its labels against a patch (train --model patchcert)")
    if "off" not in guards:
        raise InputError("score with --guard off as well: without it no frame can be called eligible")
    with UnitCounter() as counter:
        scores = score_session(
            folder, model, guards, workers, lambda n, total: counter.show("frames", n, total), memory=memory
        )
        reasons = clear_why(folder)  # before anything else can end the command: it would be of other scores
        certified = certify_session(folder, load_model(model, threads=1)) if certify else []
        session = Session(folder)
        if why:
            reasons = _why(session, model, guards, counter)
    found = findings(session, scores)
    if as_json:
        for comparison in found.comparisons:
            on_stdout(json.dumps({"question": comparison.question, **vars(comparison.difference)}))
        return
    on_stdout(*text_report(found))
    on_stdout(*why_lines(session, reasons))
    if certified:
        on_stdout(*certified_report(session, found, certified))


@app.command(epilog="Example: edgeguard fieldtest report session/ --output report.html")
def report(
    folder: Annotated[Path, typer.Argument(help="The session's folder, scored.")],
    output: Annotated[Path | None, typer.Option(help="The page. [report.html in the folder]")] = None,
    films: Annotated[int, typer.Option(min=0, max=50, help="Passes that are shown as films beside the page.")] = 3,
) -> None:
    """One self-contained HTML page: answers, why a patch fails, curves, pictures, films; and what limits them.

    The films lie in a folder beside the page, NAME-films, as MP4 and GIF.
    """
    from edgeguard.fieldtest.analysis.films import write_films
    from edgeguard.fieldtest.analysis.findings import findings
    from edgeguard.fieldtest.analysis.report import html_report
    from edgeguard.fieldtest.analysis.score import read_scores
    from edgeguard.fieldtest.analysis.why_files import read_why
    from edgeguard.fieldtest.session.session import Session
    from edgeguard.system.files import check_writable, write_bytes

    session = Session(folder)
    path = output or folder / "report.html"
    check_writable(path)
    found = findings(session, read_scores(folder))
    made = write_films(session, found, path.parent / f"{path.stem}-films", films)
    write_bytes(path, html_report(session, found, made, read_why(folder)).encode())
    on_stdout(f"wrote {path}")
    if made:
        on_stdout(f"wrote {len(made)} films, MP4 and GIF, into {made[0].mp4.parent}")


def _why(session: "Session", model: Path, guards: list[str], counter: "UnitCounter") -> "tuple[Why, ...]":
    """Take apart the patches whose pictures are known."""
    from edgeguard.fieldtest.analysis.why import why_it_fails
    from edgeguard.fieldtest.session.pictures import read_pictures
    from edgeguard.model import load_model

    patches = sum(sheet.arm == "patch" for sheet in session.plan.sheets)
    counter.show("why a patch fails: reading its frames", 0, patches)
    pictures = read_pictures(session.folder, session.plan)
    if not pictures and patches:
        counter.say(
            "why a patch fails is not told: the session keeps no pictures of its sheets, or the patch lies beside its "
            "object (see docs/fieldtest.md)"
        )
    opened = load_model(model, threads=1)
    return why_it_fails(session, opened, pictures, guards, lambda n, total: counter.show("why a patch fails", n, total))


class _Teller:
    """Says what the operator should do, once for each change, and counts passes."""

    def __init__(self, counter: "UnitCounter", status: "Status") -> None:
        self.counter, self.status = counter, status
        self.last, self.frames = "", 0
        self.unusable: dict[str, int] = {}

    def tell(self, advice: "Advice", stored: "Pass | None") -> None:
        """See `record`."""
        import sys

        line = advice.situation.value
        self.frames += 1
        if advice.situation.is_unusable:
            self.unusable[line] = self.unusable.get(line, 0) + 1
        if sys.stderr.isatty() and line != self.last:
            self.counter.say(line)
        self.last = line
        if stored is not None:
            self.counter.show("passes", self.status.done + 1, self.status.wanted)


def _why_nothing(left: int, lost: int, teller: "_Teller") -> str:
    if left == 0:
        return "all passes of the plan are stored already"
    damaged = f"; {lost} damaged frames were left out" if lost else ""
    if not teller.frames:
        return f"the source gave no frame that decodes{damaged}"
    return f"{teller.frames} frames came, the last of them said: {teller.last}{damaged}"


def _source(spec: str, session: "Session", status: "Status", sheets: list[Path], seed: int) -> "Source":
    if spec == "synthetic:session":
        from edgeguard.fieldtest.sheets.build import sheet_and_picture
        from edgeguard.fieldtest.sheets.subject import sheet_subject
        from edgeguard.fieldtest.virtual.operator import VirtualOperator

        shown = [(*sheet_and_picture(path), path) for path in sheets]
        pictures = {sheet.number: picture for sheet, picture, _ in shown}
        cutouts = {sheet.number: sheet_subject(sheet, path).cutout for sheet, _, path in shown}
        if absent := [sheet.number for sheet in session.plan.sheets if sheet.number not in pictures]:
            raise InputError(f"synthetic:session wants --sheets for each sheet of the plan; missing: {absent}")
        _mark_virtual(session.folder)
        return VirtualOperator(
            session, pictures, lambda light: setattr(status, "light", light), seed=seed, cutouts=cutouts
        )  # fmt: skip
    if spec.startswith("synthetic:field"):
        from edgeguard.fieldtest.virtual.field import open_virtual_field

        _mark_virtual(session.folder)
        return open_virtual_field(spec)
    from edgeguard.camera import open_source

    return open_source(spec)


def _mark_virtual(folder: Path) -> None:
    """The report says that frames were rendered."""
    from edgeguard.system.files import write_bytes

    write_bytes(folder / "virtual", b"frames of this session were rendered\n")
