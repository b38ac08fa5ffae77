"""`edgeguard evaluate run|compare|certify|matrix|trust`: attack what is deployed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from edgeguard.cli.certify_noise import certify_smoothed, refuse_with_smoothing, refuse_without_smoothing
from edgeguard.cli.certify_patch import certify_patch
from edgeguard.cli.evaluate_trust import trust_command
from edgeguard.cli.ignored import given as is_given
from edgeguard.cli.ignored import refuse_ignored, refuse_with_partitions, refuse_without_method
from edgeguard.cli.messages import on_stdout
from edgeguard.errors import InputError
from edgeguard.system.extras import missing_part
from edgeguard.system.outputs import refuse_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeguard.evaluate.reports.compare import Difference
    from edgeguard.evaluate.reports.results import Cell


class _WithShortForm(TyperGroup):
    """`evaluate MODEL ...` is `evaluate run MODEL ...`; a file with the name of a subcommand is `./run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `run` before a first word that is no subcommand."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_WithShortForm,
    help="Attack a deployed classifier and its guard; compare, certify. `evaluate MODEL` is `evaluate run MODEL`.",
    epilog="Example: edgeguard evaluate model.tflite --images photos/ --output audit/   (evaluate run --help for more)",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(
    epilog="Example: edgeguard evaluate run model.tflite --images photos/ --protocol guard-audit --output audit/   "
    "(photos/ holds labels.csv or class folders)"
)
def run(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="The .tflite that is on the device.")],
    images: Annotated[
        Path, typer.Option(help="Labeled images: class folders, labels.csv; a detector's with boxes (COCO, YOLO).")
    ],
    output: Annotated[Path, typer.Option(help="Folder of results and report; run again to go on.")],
    protocol: Annotated[
        str,
        typer.Option(
            help="guard-audit, quick, detector-audit, feature-distillation-table1, -table1-frame, -table2, -figure4, "
            "lossy-codecs-lsb, magnet-mnist, or a .toml file."
        ),
    ] = "guard-audit",
    limit: Annotated[int | None, typer.Option(min=1, help="Attack at most this many images.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [one for each core]")] = None,
    ray: Annotated[str | None, typer.Option(help="Run on the Ray cluster at this address (or auto).")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="Classifiers: time that it may take, as many images as fit."),
    ] = None,
    surrogate: Annotated[
        Path | None, typer.Option(help="Make transfer attacks on this .tflite (same classes) instead of the model.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="A label that the model shall say, instead of any wrong one.")
    ] = None,
    guard: Annotated[
        str | None, typer.Option(help="A preset or .toml profile in the place of the model's own guard.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON lines.")] = False,
) -> None:
    """Attack a deployed classifier or detector and its guard; write results.jsonl and report.html."""
    refuse_file(output)
    if ray is not None:
        refuse_ignored(context, ["workers"], "is for this machine; with --ray the cluster's cores count")
    try:
        from edgeguard.evaluate.protocol import load_protocol
        from edgeguard.evaluate.reports.answers import answers
        from edgeguard.evaluate.run import evaluate
    except ImportError as error:
        raise missing_part(error, "evaluate", "attack") from error
    from edgeguard.cli.progress import UnitCounter

    with UnitCounter() as counter:
        cells = evaluate(
            model,
            images,
            protocol,
            output,
            limit=limit,
            seed=seed,
            workers=workers,
            ray_address=ray,
            surrogate=surrogate,
            minutes=minutes,
            target=target,
            guard=guard,
            progress=counter.show,
            left=counter.left,
        )
    if not as_json and cells:
        on_stdout(_heading(cells))
    for cell in cells:
        on_stdout(json.dumps(cell.to_dict()) if as_json else _row(cell))
    if not as_json:
        on_stdout(*answers(cells))
        if caveat := load_protocol(protocol).caveat:
            on_stdout(caveat)
        on_stdout(f"wrote {output}/report.html and results.jsonl")


@app.command(epilog="Example: edgeguard evaluate compare audit/ audit-of-the-next-model/")
def compare(
    first: Annotated[Path, typer.Argument(help="An --output folder of evaluate, or its results.jsonl.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Another one.", metavar="B")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON lines.")] = False,
) -> None:
    """Compare two evaluations cell by cell: B less A, with intervals; paired where both saw the same images."""
    try:
        from edgeguard.evaluate.reports.compare import compare as compare_results
        from edgeguard.evaluate.reports.results import read_results
    except ImportError as error:
        raise missing_part(error, "evaluate", "attack") from error
    for found in compare_results(read_results(first), read_results(second)):
        on_stdout(*([json.dumps(_figures(found))] if as_json else _compared(found).split("\n")))


@app.command(epilog="Example: edgeguard evaluate certify model.tflite --images photos/ --patch 2")
def certify(
    context: typer.Context,
    model: Annotated[
        Path, typer.Argument(help="A .tflite classifier with a square input; with --partitions a folder of train.")
    ],
    images: Annotated[Path, typer.Option(help="Labeled images: class folders, or a folder with labels.csv.")],
    patch: Annotated[
        list[float] | None,
        typer.Option(min=0.1, max=25, help="Area of the patch, % of the model's input; with --method again. [2]"),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="one-pass or hybrid (models with a map of votes), or masking (any); prints a table."),
    ] = None,
    masks: Annotated[int, typer.Option(min=2, max=12, help="Masks along each axis, of masking.")] = 6,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many images. [200; --partitions: all]")] = None,
    attack: Annotated[
        int | None, typer.Option(min=1, help="Attack so many of the images too, white-box (one-pass only).")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [one for each core]")] = None,
    partitions: Annotated[
        bool, typer.Option("--partitions", help="How many poisoned training images each prediction survives.")
    ] = False,
    smoothing: Annotated[
        float | None, typer.Option(help="Under whole-image changes: noise of this standard deviation, pixels 0..1.")
    ] = None,
    draws: Annotated[int, typer.Option(help="--smoothing: noisy copies of an image that are counted.")] = 10_000,
    alpha: Annotated[float, typer.Option(help="--smoothing: how often a certificate may be wrong.")] = 0.001,
    joint: Annotated[bool, typer.Option("--joint", help="--smoothing: alpha is for all images together.")] = False,
    noise_place: Annotated[str, typer.Option(help="--smoothing: frame, or input (the model's own levels).")] = "frame",
    output: Annotated[
        Path | None,
        typer.Option(
            help="--smoothing: folder of results. --method: file of a JSON line an image. Run again to go on."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="--smoothing: of the noise.")] = 0,
    ray: Annotated[str | None, typer.Option(help="--smoothing: run on the Ray cluster at this address (or auto).")] = (
        None
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Accuracy that is proven: under one patch anywhere, --smoothing: under whole-image changes, or --partitions:
    under poisoned images.

    Without --method double masking (PatchCleanser) of any classifier.
    """
    if smoothing is not None:
        refuse_with_smoothing(context)
        certify_smoothed(
            model, images, sigma=smoothing, draws=draws, alpha=alpha, joint=joint, place=noise_place, output=output,
            seed=seed, limit=limit, workers=workers, ray=ray, as_json=as_json,
        )  # fmt: skip
        return
    refuse_without_smoothing(context)
    if partitions:
        refuse_with_partitions(context)
        _certify_partitions(model, images, limit, as_json)
        return
    if method is not None:
        refuse_without_method(context, method)
        certify_patch(
            model, images, method=method, shares=patch or [2.0], masks=masks, limit=limit or 200, workers=workers,
            output=output, attacked=attack or 0, as_json=as_json,
        )  # fmt: skip
        return
    refuse_without_method(context, None)
    if len(patch or ()) > 1:
        raise InputError("--patch more than once is for --method")
    try:
        from edgeguard.evaluate.experiments.patch_certification import certified_accuracy
    except ImportError as error:
        raise missing_part(error, "evaluate", "attack") from error
    from edgeguard.cli.progress import UnitCounter

    with UnitCounter() as counter:
        found = certified_accuracy(
            model, images, patch_share=(patch or [2.0])[0] / 100, per_axis=masks, limit=limit or 200, workers=workers,
            progress=counter.show,
        )  # fmt: skip
    on_stdout(*([json.dumps(vars(found))] if as_json else found.lines()))


def _certify_partitions(trained: Path, images: Path, limit: int | None, as_json: bool) -> None:
    try:
        from edgeguard.evaluate.experiments.partition_certification import certify_partitions
    except ImportError as error:
        raise missing_part(error, "evaluate", "attack") from error
    from edgeguard.cli.progress import UnitCounter

    with UnitCounter() as counter:
        found = certify_partitions(trained, images, limit=limit or 0, progress=counter.show)
    counts = [0, 1, 2, 5, 10, 25, 50, 100]
    shares = {count: found.certified(count) for count in counts if count == 0 or 2 * count <= found.partitions}
    if as_json:
        on_stdout(json.dumps({"partitions": found.partitions, "n": found.n, "threat": "training",
                              "median": found.median, "certified": shares, "images": found.images}))  # fmt: skip
        return
    on_stdout(f"{found.partitions} nets vote; {found.images}")
    for count, (share, low, high) in shares.items():
        what = "right" if count == 0 else f"right whatever {count} images were added to or taken from the training"
        on_stdout(f"{100 * share:5.1f} % [{100 * low:.1f}, {100 * high:.1f}] {what}")
    on_stdout(f"half of all survive {max(found.median, 0)} images; a changed image counts as two")


app.command("trust", epilog="Example: edgeguard evaluate trust model.tflite --images test/")(trust_command)


@app.command(epilog="Example: edgeguard evaluate matrix baseline/ vaccinated/ --images photos.zip --output matrix/")
def matrix(
    context: typer.Context,
    runs: Annotated[list[Path], typer.Argument(help="Folders of edgeguard train.", metavar="RUN...")],
    images: Annotated[
        Path, typer.Option(help="The data (of sound: the clips): class folders, or a .zip; its test part is used.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of results and report; run again to go on.")],
    limit: Annotated[int, typer.Option(min=1, help="Use at most this many images; of sound by default 100.")] = 1000,
    eps: Annotated[
        list[float] | None,
        typer.Option(help="Budget of the adaptive attacks, 8-bit levels (of sound 16-bit); may be given again. [8]"),
    ] = None,
    adaptive_only: Annotated[
        bool, typer.Option("--adaptive-only", help="Each model at its own codec; no gray-box rows.")
    ] = False,
    codec: Annotated[
        list[str] | None,
        typer.Option(help="Each model at this codec, by attacks that know it; may be given again."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [one for each core]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON lines.")] = False,
) -> None:
    """Trained models by codec in training and codec at test time; write results.jsonl and report.html."""
    refuse_file(output)
    try:
        from edgeguard.evaluate.experiments.matrix import MatrixPlan
        from edgeguard.evaluate.experiments.matrix import matrix as measure
        from edgeguard.train.restore import restored
    except ImportError as error:
        raise missing_part(error, "evaluate", "attack") from error
    if _hear_sound(runs):
        refuse_ignored(context, ("adaptive_only", "workers"), "is for models of pictures; these hear sound")
        _sound_matrix(context, runs, images, output, as_json)
        return
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.evaluate.reports.matrix_report import lines, page
    from edgeguard.system.files import write_bytes

    models = [restored(folder) for folder in runs]
    codecs = tuple(dict.fromkeys(codec or ()))
    plan = MatrixPlan(
        codecs or MatrixPlan.codecs,
        images=limit,
        white_eps_8bit=tuple(eps or (8.0,)),
        adaptive_only=adaptive_only,
        white_codecs=codecs,
    )
    with UnitCounter() as counter:
        found = measure(models, str(images), plan, output, counter.show, workers)
    how = [(model.name, model.how) for model in models]
    write_bytes(output / "report.html", page(found.cells, found.source, how).encode())
    for line in (json.dumps(cell.to_dict()) for cell in found.cells) if as_json else lines(found.cells):
        on_stdout(line)
    if not as_json:
        on_stdout(f"{found.source}; wrote {output}/report.html and results.jsonl")


def _hear_sound(runs: list[Path]) -> bool:
    """Whether all runs are of sound.

    Raises:
        InputError: some are and some are not.
    """
    from edgeguard.audio_training.config import is_sound_run

    found = [is_sound_run(folder) for folder in runs]
    if any(found) and not all(found):
        raise InputError(
            f"{runs[found.index(True)]} hears sound and {runs[found.index(False)]} does not: one kind only"
        )
    return all(found)


def _sound_matrix(context: typer.Context, runs: list[Path], data: Path, output: Path, as_json: bool) -> None:
    from edgeguard.audio_training.matrix import plan_of, sound_matrix
    from edgeguard.audio_training.matrix_report import page
    from edgeguard.audio_training.restore import restored_sound
    from edgeguard.audio_training.said import table_lines
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.system.files import write_bytes

    values = context.params
    limit = values["limit"] if is_given(context, "limit") else None
    plan = plan_of(codecs=values["codec"], eps=values["eps"], clips=limit)
    models = [restored_sound(folder) for folder in runs]
    with UnitCounter() as counter:
        cells, source = sound_matrix(models, str(data), plan, output, counter.show)
    write_bytes(output / "report.html", page(cells, source, [(model.name, model.how) for model in models]).encode())
    on_stdout(*([json.dumps(cell.to_dict()) for cell in cells] if as_json else table_lines(cells)))
    if not as_json:
        on_stdout(f"{source}; wrote {output}/report.html and results.jsonl")


def _heading(cells: "Sequence[Cell]") -> str:
    what = "right, % [95 %]"
    if any(cell.goal is not None for cell in cells):
        what = "objects kept, % [95 %] (create: pictures in which nothing was invented)"
    return f"{'threat':8}{'attack':18}{'budget':9}{'defense':32}{what}"


def _row(cell: "Cell") -> str:
    low, high = cell.interval
    paper = "" if cell.paper is None else f"  paper {cell.paper:g}"
    extra = "" if cell.certified_share is None else f"  certified {cell.certified_share:.3f}"
    if cell.violations is not None:
        extra += f", {cell.violations} violations"
    if cell.confidence is not None:
        extra += f"  confidence {cell.confidence:+.2f}, MS-SSIM {cell.ms_ssim:.3f}, PSNR {cell.psnr_db:.1f} dB"
    note = f"  {cell.note}" if cell.note else ""
    interval = f"[{100 * low:.0f}, {100 * high:.0f}]"
    if cell.ap50 is not None and cell.ap50_low is not None and cell.ap50_high is not None:
        extra += f"  AP50 {100 * cell.ap50:.1f} [{100 * cell.ap50_low:.0f}, {100 * cell.ap50_high:.0f}]"
        extra += f" AP {100 * (cell.ap or 0):.1f}"
    return f"{_named(cell)}{100 * cell.accuracy:6.1f} {interval:10} n {cell.n}{paper}{extra}{note}"


def _named(cell: "Cell") -> str:
    budget = "" if cell.eps_8bit is None else f"eps {cell.eps_8bit:g}"
    return f"{cell.threat:8}{cell.attack + ' ':18}{budget:9}{cell.defence:32}"


def _compared(found: "Difference") -> str:
    paired = "" if found.p_paired is None else f"  p {found.p_paired:.3g} (paired)"
    return (
        f"{_named(found.a)}{100 * found.a.accuracy:6.1f} ->{100 * found.b.accuracy:6.1f}  "
        f"{100 * found.difference:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]{paired}"
    )


def _figures(found: "Difference") -> dict[str, object]:
    cell = found.a
    return {
        "threat": cell.threat, "attack": cell.attack, "eps_8bit": cell.eps_8bit, "defence": cell.defence,
        "a": cell.accuracy, "b": found.b.accuracy, "difference": found.difference, "low": found.low,
        "high": found.high, "p_paired": found.p_paired,
    }  # fmt: skip
