"""`edgeguard fieldtest plan|record|import|score|report`."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeguard.cli.fieldtest_import import import_photographs
from edgeguard.cli.fieldtest_plan import plan_command
from edgeguard.cli.ignored import refuse_ignored
from edgeguard.cli.messages import on_stdout
from edgeguard.cli.next_steps import after_record, after_score
from edgeguard.cli.parse import size as parsed_size
from edgeguard.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.fieldtest.analysis.why_files import Why
    from edgeguard.fieldtest.session.guide import Advice
    from edgeguard.fieldtest.session.record import Status
    from edgeguard.fieldtest.session.session import Pass, Session

_HAVE_A_SIZE = ("v4l2:", "picamera2:", "synthetic:session")  # to ask for, as have cameras that a number names

app = typer.Typer(
    help="Learn with statistics whether a physical patch works and whether a defense helps.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


app.command(
    "plan", epilog="Example: edgeguard fieldtest plan session/ clean.pdf plain.pdf noise.pdf patch.pdf --passes 10"
)(plan_command)


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
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT to ask of a local camera. [its own; synthetic:session 640x480]")
    ] = None,
) -> None:
    """Guide the operator, keep source frames exactly as the camera gave them; run again to go on."""
    if not source.startswith(_HAVE_A_SIZE) and not source.isdecimal():
        refuse_ignored(context, ["size"], f"is for local cameras and synthetic:session, not for {source}")
    if untagged is not None:
        from edgeguard.camera import open_source
        from edgeguard.cli.fieldtest_untagged import record_untagged_passes

        ignored = ["drive_by", "port", "host", "token_file", "sheets", "seed", "model"]
        refuse_ignored(context, ignored, "is for sheets with tags, not for --untagged")
        asked = None if size is None else parsed_size(size)
        record_untagged_passes(
            folder, untagged, light=light, every_s=every, spec=source, source=partial(open_source, size=asked)
        )
        return
    refuse_ignored(context, ["every"], "is for --untagged: tags say when a pass begins")
    import contextlib

    from edgeguard.cli.fieldtest_source import session_source
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
        opened = session_source(
            source, session, status, sheets=sheets or [], seed=seed, size=None if size is None else parsed_size(size)
        )
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
    if drive_by or not left:
        on_stdout(after_record(folder, model))


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
    on_stdout(after_score(folder))


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
    found = findings(session, read_scores(folder, session))
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
