"""`edgeguard evaluate certify --smoothing`: what whole-image changes cannot do to the deployed file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from edgeguard.cli.ignored import given
from edgeguard.cli.messages import on_stdout
from edgeguard.errors import InputError

#: Flags of `certify` that are for --smoothing only.
OWN = ("draws", "alpha", "joint", "noise_place", "seed", "ray")


def refuse_without_smoothing(context: typer.Context) -> None:
    """Refuse flags that are for --smoothing, where it is not given.

    Raises:
        InputError: one line that begins with the flag.
    """
    for parameter in context.command.params:
        if parameter.name in OWN and given(context, str(parameter.name)):
            raise InputError(f"{parameter.opts[0]} is for --smoothing: only noise is drawn")


def refuse_with_smoothing(context: typer.Context) -> None:
    """Refuse flags that are for the other certificates.

    Raises:
        InputError: one line that begins with the flag.
    """
    for parameter in context.command.params:
        others = not parameter.required and parameter.name not in (
            *OWN,
            "smoothing",
            "output",
            "limit",
            "workers",
            "as_json",
        )
        if others and given(context, str(parameter.name)):
            raise InputError(f"{parameter.opts[0]} is another certificate than --smoothing: give one of them")
    if given(context, "ray") and given(context, "workers"):
        raise InputError("--workers is for this machine; with --ray the cluster's cores count")


def certify_smoothed(
    model: Path,
    images: Path,
    *,
    sigma: float,
    draws: int,
    alpha: float,
    joint: bool,
    place: str,
    output: Path | None,
    seed: int,
    limit: int | None,
    workers: int | None,
    ray: str | None,
    as_json: bool,
) -> None:
    """Certify, write results.jsonl, summary.json and curve.svg, and print the curve."""
    from edgeguard.smoothing.bounds import check_numbers

    check_numbers(sigma, draws, alpha, ("--smoothing", "--draws", "--alpha"))
    if place not in ("frame", "input"):
        raise InputError(f"--noise-place is frame or input, not {place}")
    if output is None:
        raise InputError("--smoothing wants --output FOLDER: a line an image, and an interrupted command goes on there")
    try:
        from edgeguard.evaluate.engine.cluster import executor_at
        from edgeguard.evaluate.experiments.noise_certification import certify_noise
        from edgeguard.evaluate.experiments.noise_curve import noise_curve
    except ImportError as error:
        from edgeguard.system.extras import missing_part

        raise missing_part(error, "evaluate", "attack") from error
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.smoothing.certify import SmoothingPlan
    from edgeguard.system.files import write_bytes

    plan: Any = SmoothingPlan(sigma, draws, alpha=alpha)
    chosen: Any = place
    executor = executor_at(ray, workers)
    try:
        with UnitCounter() as counter:
            lines = certify_noise(
                model, images, output, plan, executor, joint=joint, place=chosen, limit=limit or 200, seed=seed,
                progress=counter.show,
            )  # fmt: skip
    finally:
        executor.close()
    found = noise_curve(lines, replace(plan, alpha=alpha / len(lines)) if joint else plan, place)
    write_bytes(output / "summary.json", (json.dumps(found.to_dict(), indent=1) + "\n").encode())
    write_bytes(output / "curve.svg", found.chart().encode())
    on_stdout(*([json.dumps(found.to_dict())] if as_json else found.lines()))
    if not as_json:
        wrong = "any of them" if joint else "one of them"
        on_stdout(f"A certificate is wrong with probability {alpha:g} at most, counted for {wrong}.")
        on_stdout(f"wrote {output}/results.jsonl, summary.json and curve.svg")
