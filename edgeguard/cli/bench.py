"""`edgeguard bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeguard.cli.messages import on_stdout
from edgeguard.errors import InputError

if TYPE_CHECKING:
    from edgeguard.diagnostics.bench import BenchReport

EXAMPLE = "Example: edgeguard bench model.tflite --image frame.jpg --json"


def bench_command(
    model: Annotated[Path | None, typer.Argument(help="A .tflite file; by default the bundled card model.")] = None,
    guard: Annotated[str | None, typer.Option(help="Preset or .toml profile, instead of the contract's.")] = None,
    image: Annotated[Path | None, typer.Option(help="A frame like the camera's; by default a rendered one.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Labels, one a line, for a model without a contract.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="About how long to measure.")] = 10.0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Time every stage and path on this machine, with memory and temperature."""
    from dataclasses import replace

    from edgeguard.cli.progress import StepDisplay
    from edgeguard.demo.assets import bundled_model
    from edgeguard.diagnostics.bench import bench, stage_count
    from edgeguard.guard import decode_rgb, resolve_profile
    from edgeguard.model import ContractGuard, load_model
    from edgeguard.model.derive import Hints
    from edgeguard.model.labels import read_label_file
    from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded

    loaded = load_model(
        model or bundled_model(), threads=threads, hints=Hints(None if labels is None else read_label_file(labels))
    )
    if guard is not None:
        profile = resolve_profile(guard)
        if profile is None:
            raise InputError("bench times a guard: give a profile, not none")
        loaded = loaded.with_contract(replace(loaded.contract, guard=ContractGuard(profile, "frame")))
    frame = None
    if image is not None:
        frame = decode_rgb(read_bounded(image, LARGEST_PICTURE, "the image"))
    with StepDisplay(stage_count(loaded)) as display:
        report = bench(loaded, frame, seconds, step=display.step)
    if as_json:
        import json

        on_stdout(json.dumps(report.to_dict()))
    else:
        _print_table(report)


def _print_table(report: "BenchReport") -> None:
    machine = report.machine
    on_stdout(f"{machine['board'] or machine['processor']}, {machine['cores']} cores, kernel {machine['kernel']}")
    on_stdout(f"{'stage':34s}{'frame':>11s}{'p50 ms':>10s}{'p95 ms':>10s}{'rounds':>8s}")
    for timing in report.timings:
        on_stdout(f"{timing.stage:34s}{timing.size:>11s}{timing.p50_ms:10.3f}{timing.p95_ms:10.3f}{timing.rounds:8d}")
    on_stdout("frames/s with the model (one path after the other, without capture):")
    for path, rate in report.frames_per_s.items():
        on_stdout(f"  {path:44s}{rate:8.1f}")
    extra = "" if report.frame_memory is None else f"; sanitizing 1920x1080 takes {report.frame_memory:.2f} frames more"
    on_stdout(f"memory: {report.peak_memory_mb:.0f} MB at the peak{extra}")
    before, after = report.temperature_c
    on_stdout(
        "temperature: no sensor" if before is None else f"temperature: {before:.1f} C before, {after:.1f} C after"
    )
