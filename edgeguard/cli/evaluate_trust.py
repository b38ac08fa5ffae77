"""`edgeguard evaluate trust`: where a model underperforms, and may be attacked."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from edgeguard.cli.messages import on_stdout
from edgeguard.system.outputs import output_folder


def trust_command(
    model: Annotated[Path, typer.Argument(help="A .tflite classifier.")],
    images: Annotated[Path, typer.Option(help="Labeled images: class folders, or a folder with labels.csv.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many images. [all]")] = None,
    alpha: Annotated[float, typer.Option(min=0, max=10, help="How much being sure and right is rewarded.")] = 1.0,
    beta: Annotated[float, typer.Option(min=0, max=10, help="How much being sure and wrong is punished.")] = 1.0,
    output: Annotated[Path | None, typer.Option(help="Also write trust.json here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Question-answer trust, NetTrustScore and the trust matrix: where a model is sure and wrong."""
    from edgeguard.cli.progress import UnitCounter

    try:
        from edgeguard.evaluate.experiments.trust import trust_of
    except ImportError as error:
        from edgeguard.system.extras import missing_part

        raise missing_part(error, "evaluate", "attack") from error
    with nullcontext() if output is None else output_folder(output), UnitCounter() as counter:
        found = trust_of(model, images, alpha=alpha, beta=beta, limit=limit, progress=counter.show)
    if output is not None:
        from edgeguard.system.files import write_bytes

        write_bytes(output / "trust.json", (json.dumps(found.to_dict(), indent=1) + "\n").encode())
    on_stdout(*([json.dumps(found.to_dict())] if as_json else found.lines()))
