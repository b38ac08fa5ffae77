"""`edgeguard run`."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeguard.errors import CheckFailed, DeviceError, InputError

if TYPE_CHECKING:
    from edgeguard.model import Model
    from edgeguard.pipeline import Pipeline

EXAMPLE = "Example: edgeguard run model.tflite --camera 0 --output results.jsonl"


def run_command(
    model: Annotated[Path | None, typer.Argument(help="A .tflite file; by default the bundled card model.")] = None,
    camera: Annotated[int | None, typer.Option(help="Camera index, as in /dev/video0.")] = None,
    source: Annotated[str | None, typer.Option(help="Image, folder, video file, or http:// MJPEG stream.")] = None,
    guard: Annotated[str | None, typer.Option(help="Preset, .toml profile or none, instead of the contract's.")] = None,
    patch_guard: Annotated[
        str | None,
        typer.Option(help="lgs, entropy, chunks, recompression (an alarm) or none, instead of the contract's."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Labels, one a line, for a model that carries none.")] = None,
    output: Annotated[str | None, typer.Option(help="JSON lines to this file, or - for standard output.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the annotated video to this .mp4.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Run the undefended path beside it.")] = False,
    decode_scale: Annotated[
        int | None, typer.Option(help="Decode JPEGs at 1/1, 1/2 or 1/4: 1, 2 or 4. Only for ycbcr profiles.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    require_model: Annotated[str | None, typer.Option(help="Refuse a model file with another SHA-256.")] = None,
    require_guard: Annotated[str | None, typer.Option(help="Refuse a guard profile with another SHA-256.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Capture, sanitise in the sensor path, infer, report."""
    if (camera is None) == (source is None):
        raise InputError("say where frames come from: --camera N or --source X (one of them)")
    if as_json and output == "-":
        raise InputError("--json and --output - both want standard output: write the results to a file")
    if save is not None and save.suffix.lower() != ".mp4":
        raise InputError(f"--save wants an .mp4 file, got {save}")
    if decode_scale not in (None, 1, 2, 4):
        raise InputError(f"--decode-scale is 1, 2 or 4, got {decode_scale}")
    from edgeguard.camera import open_source
    from edgeguard.pipeline import Pipeline

    loaded = _load(model, guard, patch_guard, labels, threads, require_model, require_guard)
    opened = open_source(camera if camera is not None else source or "")
    _say_what_runs(loaded)
    signal.signal(signal.SIGTERM, _raise_system_exit)
    pipeline = Pipeline(opened, loaded, compare=compare, keep_frames=save is not None, decode_scale=decode_scale)
    failure: DeviceError | None = None
    terminated = False
    try:
        _run(pipeline, output, save, show=not as_json)
    except DeviceError as error:
        failure = error
    except SystemExit:
        terminated = True
    _report(pipeline, as_json)
    if failure is not None:
        raise failure
    if pipeline.statistics.lost and not pipeline.source.live and not terminated:
        first = pipeline.losses[0]
        raise CheckFailed(
            f"{pipeline.statistics.lost} frames could not be read, the first: {first.source}: {first.reason}"
        )


def _raise_system_exit(*_: object) -> None:
    raise SystemExit(0)


def _load(
    path: Path | None,
    guard: str | None,
    patch_guard: str | None,
    labels: Path | None,
    threads: int | None,
    require_model: str | None,
    require_guard: str | None,
) -> "Model":
    from dataclasses import replace

    from edgeguard.demo.assets import bundled_model
    from edgeguard.guard.profile import resolve_profile
    from edgeguard.model import ContractGuard, load_model
    from edgeguard.model.contract import parse_labels

    loaded = load_model(path or bundled_model(), threads=threads, require_sha256=require_model)
    contract = loaded.contract
    if guard is not None:
        profile = resolve_profile(guard)
        place = contract.guard.place if contract.guard.place not in ("none", "in-graph") else "frame"
        if loaded.has_contract and profile != contract.guard.profile:
            _warn("--guard replaces the profile that the model was calibrated and checked with")
        chosen = ContractGuard(profile, place) if profile else ContractGuard()
        contract = replace(contract, guard=replace(chosen, patch=contract.guard.patch))
    elif not loaded.has_contract:
        _warn("THIS MODEL CARRIES NO CONTRACT: it runs without a guard; give --guard fd")
    if patch_guard is not None:
        name = None if patch_guard == "none" else patch_guard
        contract = replace(contract, guard=replace(contract.guard, patch=name))
    if labels is not None:
        try:
            contract = replace(contract, labels=parse_labels(labels.read_bytes()))
        except OSError as error:
            raise InputError(f"cannot read the labels {labels}: {error.strerror}") from error
    if contract.labels and loaded.classes and len(contract.labels) != loaded.classes:
        raise InputError(f"{len(contract.labels)} labels for a model with {loaded.classes} outputs")
    if require_guard is not None:
        actual = contract.guard.profile.sha256 if contract.guard.profile else "none"
        if actual != require_guard.lower():
            raise InputError(f"the guard profile is not the required one: it is {actual}")
    return loaded.with_contract(contract)


def _say_what_runs(model: "Model") -> None:
    from edgeguard.guard.requantise import missing_native_parts

    guard = model.contract.guard
    if guard.profile is None:
        print("guard: none", file=sys.stderr)
    else:
        where = {"frame": "on the whole frame", "in-graph": "inside the graph (one-pass)"}.get(
            guard.place, "on the model's input (one-pass)"
        )
        print(
            f"guard: {guard.profile.name or guard.profile.sha256[:12]} ({guard.profile.color}) {where}", file=sys.stderr
        )
        if missing := missing_native_parts(guard.profile):
            _warn(missing)
    if model.patch_guard is not None:
        print(f"patch guard: {model.patch_guard.name} on the model's input", file=sys.stderr)
    if model.contract.preprocess.guessed:
        _warn("this model's preprocessing was guessed")


def _run(pipeline: "Pipeline", output: str | None, save: Path | None, *, show: bool) -> None:
    from contextlib import ExitStack

    from edgeguard.cli.progress import FrameCounter, len_of
    from edgeguard.sinks.jsonl import JsonLines
    from edgeguard.sinks.video import AnnotatedVideo

    with ExitStack() as stack:
        stack.enter_context(pipeline)
        sinks: list[Any] = []
        if output is not None:
            sinks.append(stack.enter_context(JsonLines(output)))
        if save is not None:
            fps = getattr(pipeline.source, "fps", 15.0)
            sinks.append(stack.enter_context(AnnotatedVideo(save, fps)))
        counter = stack.enter_context(FrameCounter(len_of(pipeline.source)))
        mismatch_said = False
        for result in pipeline:
            for sink in sinks:
                sink.write(result)
            if output != "-" and sinks:
                counter.show(pipeline.statistics.frames)
            if not mismatch_said and result.passes == 1 and result.pass1 == "none" and _wants_two_passes(pipeline):
                _warn("pass 1 used other tables than this profile (or none): one pass counts, nothing is certified")
                mismatch_said = True
            if show and not sinks:
                other = f"   undefended: {result.undefended.label}" if result.undefended else ""
                print(f"{result.frame:6d}  {result.prediction.score:.2f}  {result.prediction.label}{other}", flush=True)


def _wants_two_passes(pipeline: "Pipeline") -> bool:
    return pipeline.model.contract.guard.place == "frame"


def _report(pipeline: "Pipeline", as_json: bool) -> None:
    summary = pipeline.statistics.to_dict()
    if as_json:
        import json

        print(json.dumps(summary), flush=True)
        return
    lines = [
        f"{summary['frames']} frames, {summary['dropped']} dropped, {summary['lost']} lost, {summary['fps']} frames/s",
        "  ".join(f"{stage} p50 {t['p50']} p95 {t['p95']} ms" for stage, t in summary["ms"].items()),
        f"pass 1: {summary['pass1']}, passes: {summary['passes']} ({summary['why']})",
    ]
    if summary["certified_share"] is not None:
        lines.append(
            f"certified at +-1 level in transit: {summary['certified_share']:.1%} of blocks (mean over frames)"
        )
    if pipeline.model.patch_guard is not None:
        said = f", {summary['alarms']} alarms" if summary["alarms"] else ""
        lines.append(f"patch guard {pipeline.model.patch_guard.name}: marked {summary['suspected']} frames{said}")
    if summary["compared"]:
        lines.append(f"undefended path disagreed on {summary['disagreements']} of {summary['compared']} frames")
    print("\n".join(lines), file=sys.stderr)


def _warn(message: str) -> None:
    print(f"edgeguard: {message}", file=sys.stderr)
