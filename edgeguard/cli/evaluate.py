"""`edgeguard evaluate`: attack what is deployed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeguard.errors import InputError

if TYPE_CHECKING:
    from edgeguard.evaluate.reports.results import Cell

EXAMPLE = (
    "Example: edgeguard evaluate model.tflite --images photos/ --protocol guard-audit --output audit/   "
    "(photos/ holds labels.csv or class folders)"
)


def evaluate_command(
    model: Annotated[
        Path, typer.Argument(help="The .tflite that is on the device; or the word compare, certify or matrix.")
    ],
    compared: Annotated[
        list[Path] | None,
        typer.Argument(
            help="After compare: two --output folders. After certify: the .tflite. After matrix: folders of train.",
            metavar="[A B]",
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Labelled images: class folders (for matrix: or a .zip), or labels.csv.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of results and report; run again to go on.")] = None,
    protocol: Annotated[
        str, typer.Option(help="guard-audit, feature-distillation-table1, -table1-frame, -table2, or a .toml file.")
    ] = "guard-audit",
    limit: Annotated[int | None, typer.Option(min=1, help="Attack at most this many images.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [one for each core]")] = None,
    ray: Annotated[str | None, typer.Option(help="Run on the Ray cluster at this address (or auto).")] = None,
    surrogate: Annotated[
        Path | None, typer.Option(help="Make transfer attacks on this .tflite (same classes) instead of the model.")
    ] = None,
    patch: Annotated[
        float, typer.Option(min=0.1, max=25, help="For certify: area of the patch, % of the model's input.")
    ] = 2.0,
    masks: Annotated[int, typer.Option(min=2, max=12, help="For certify: masks along each axis.")] = 6,
    eps: Annotated[
        list[float] | None, typer.Option(help="For matrix: budgets of the adaptive attacks, 8-bit levels. [8]")
    ] = None,
    adaptive_only: Annotated[
        bool, typer.Option("--adaptive-only", help="For matrix: each model at its own codec; no gray-box rows.")
    ] = False,
    codec: Annotated[
        list[str] | None,
        typer.Option(help="For matrix: each model at this codec, by attacks that know it; may be given again."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON lines.")] = False,
) -> None:
    """Attack a deployed classifier and its guard; write results.jsonl and report.html.

    Or compare two evaluations; or certify: PatchCleanser's double masking, accuracy proven under one patch; or matrix:
    models of `edgeguard train` by codec in training and codec at test time.
    """
    if str(model) == "compare":
        if compared is None or len(compared) != 2:
            raise InputError("compare wants two folders: edgeguard evaluate compare A B")
        return _compare(compared[0], compared[1], as_json)
    if str(model) == "certify":
        if compared is None or len(compared) != 1 or images is None:
            raise InputError("certify wants a model: edgeguard evaluate certify MODEL --images FOLDER")
        return _certify(compared[0], images, patch / 100, masks, limit or 200, workers, as_json)
    if str(model) == "matrix":
        if not compared or images is None or output is None:
            raise InputError("matrix wants: edgeguard evaluate matrix RUN... --images DATA --output FOLDER")
        plan = limit or 1000, tuple(eps or (8.0,)), adaptive_only, tuple(dict.fromkeys(codec or ()))
        return _matrix(compared, images, output, *plan, workers, as_json)
    if compared or images is None or output is None:
        raise InputError("evaluate wants MODEL --images FOLDER --output FOLDER (see --help)")
    try:
        from edgeguard.evaluate.run import evaluate
    except ImportError as error:
        raise InputError(f"evaluate is not installed ({error.name}): pip install 'edgeguard[attack]'") from error
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
            progress=counter.show,
            say=counter.say,
        )
    for cell in cells:
        typer.echo(json.dumps(cell.to_dict()) if as_json else _row(cell))
    if not as_json:
        typer.echo(f"wrote {output}/report.html and results.jsonl")


def _row(cell: "Cell") -> str:
    low, high = cell.interval
    budget = "" if cell.eps_8bit is None else f"eps {cell.eps_8bit:g}"
    paper = "" if cell.paper is None else f"  paper {cell.paper:g}"
    extra = (
        "" if cell.certified_share is None else f"  certified {cell.certified_share:.3f}, {cell.violations} violations"
    )
    note = f"  {cell.note}" if cell.note else ""
    interval = f"[{100 * low:.0f}, {100 * high:.0f}]"
    return (
        f"{cell.threat:8}{cell.attack:12}{budget:9}{cell.defence:32}"
        f"{100 * cell.accuracy:6.1f} {interval:10} n {cell.n}{paper}{extra}{note}"
    )


def _compare(a: Path, b: Path, as_json: bool) -> None:
    from edgeguard.evaluate.reports.compare import compare
    from edgeguard.evaluate.reports.results import read_results

    for found in compare(read_results(a), read_results(b)):
        cell = found.a
        figures = {
            "threat": cell.threat, "attack": cell.attack, "eps_8bit": cell.eps_8bit, "defence": cell.defence,
            "a": cell.accuracy, "b": found.b.accuracy, "difference": found.difference, "low": found.low,
            "high": found.high, "p_paired": found.p_paired,
        }  # fmt: skip
        if as_json:
            typer.echo(json.dumps(figures))
            continue
        budget = "" if cell.eps_8bit is None else f"eps {cell.eps_8bit:g}"
        paired = "" if found.p_paired is None else f"  p {found.p_paired:.3g} (paired)"
        typer.echo(
            f"{cell.threat:8}{cell.attack:12}{budget:9}{cell.defence:32}{100 * cell.accuracy:6.1f} ->"
            f"{100 * found.b.accuracy:6.1f}  {100 * found.difference:+.1f} "
            f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]{paired}"
        )


def _certify(
    model: Path, images: Path, patch: float, masks: int, limit: int, workers: int | None, as_json: bool
) -> None:
    try:
        from edgeguard.evaluate.experiments.patch_certification import certified_accuracy
    except ImportError as error:
        raise InputError(f"evaluate is not installed ({error.name}): pip install 'edgeguard[attack]'") from error
    from edgeguard.cli.progress import UnitCounter

    with UnitCounter() as counter:
        found = certified_accuracy(model, images, patch, masks, limit, workers, counter.show)
    typer.echo(json.dumps(vars(found)) if as_json else "\n".join(found.lines()))


def _matrix(
    runs: list[Path],
    images: Path,
    output: Path,
    limit: int,
    eps: tuple[float, ...],
    adaptive_only: bool,
    codecs: tuple[str, ...],
    workers: int | None,
    as_json: bool,
) -> None:
    try:
        from edgeguard.evaluate.experiments.matrix import MatrixPlan, matrix
        from edgeguard.train.restore import restored
    except ImportError as error:
        raise InputError(f"evaluate is not installed ({error.name}): pip install 'edgeguard[attack]'") from error
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.evaluate.reports.matrix_report import lines, page
    from edgeguard.system.files import write_bytes

    models = [restored(run) for run in runs]
    with UnitCounter() as counter:
        plan = MatrixPlan(
            codecs or MatrixPlan.codecs,
            images=limit,
            white_eps_8bit=eps,
            adaptive_only=adaptive_only,
            white_codecs=codecs,
        )
        found = matrix(models, str(images), plan, output, counter.show, workers)
    how = [(model.name, model.how) for model in models]
    write_bytes(output / "report.html", page(found.cells, found.source, how).encode())
    for line in (json.dumps(cell.to_dict()) for cell in found.cells) if as_json else lines(found.cells):
        typer.echo(line)
    if not as_json:
        typer.echo(f"{found.source}; wrote {output}/report.html and results.jsonl")
