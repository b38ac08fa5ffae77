"""`edgeguard train`: classifiers trained on what the codec leaves of images."""

import json
from pathlib import Path
from typing import Annotated

import typer

from edgeguard.cli.ignored import refuse_train_flags
from edgeguard.errors import InputError

EXAMPLE = (
    "Example: edgeguard train --data photos/ --model resnet9 --codec jpeg:20..90 --output trained/ "
    "&& edgeguard convert trained/model.pt2"
)


def train_command(
    config: Annotated[Path | None, typer.Argument(help="A .toml configuration; flags come before it.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="resnet9, resnet11, resnet8, resnet20, mobilenetv2, cards, or a .pt2 to fine-tune."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Class folders, or a .zip of them.")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the model, the log and the curves; run again to go on.")] = (
        Path("trained")
    ),
    size: Annotated[int | None, typer.Option(help="Side of the square input, pixels.")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often each image is seen.")] = None,
    codec: Annotated[
        str | None,
        typer.Option(help="none, fd, fd-jpeg, jpeg:75, FILE.toml, jpeg:20..90 (drawn), fd*0.5..2 (drawn), shield."),
    ] = None,
    codec_share: Annotated[float | None, typer.Option(help="Share of the images that go through it.")] = None,
    adversarial: Annotated[
        str | None, typer.Option(help="none, fgsm-rs, pgd, trades or free: attack the training images.")
    ] = None,
    eps: Annotated[float | None, typer.Option(help="Budget of that attack, 8-bit levels.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use at most so many images.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the last epoch as JSON.")] = False,
) -> None:
    """Train a small classifier, through the guard if you like; write model.pt2, log.jsonl and curves.html."""
    try:
        from edgeguard.train.run import train
    except ImportError as error:
        raise InputError(f"train is not installed ({error.name}): pip install 'edgeguard[convert]'") from error
    from dataclasses import asdict

    from edgeguard.cli.progress import UnitCounter
    from edgeguard.train.config import read_config

    flags = {
        "network": model, "data": None if data is None else str(data), "size": size, "epochs": epochs, "codec": codec,
        "codec_share": codec_share, "method": adversarial, "eps_8bit": eps, "learning_rate": learning_rate,
        "limit": limit, "seed": seed,
    }  # fmt: skip
    settings = read_config(config, flags)
    refuse_train_flags(flags, settings)
    with UnitCounter() as counter:
        trained = train(settings, output, progress=counter.show, say=counter.say)
    last = trained.epochs[-1]
    if as_json:
        typer.echo(json.dumps({**asdict(last), "model": str(trained.model), "weights": trained.weights}))
        return
    typer.echo(
        f"test accuracy {100 * last.test_accuracy:.1f} % [{100 * last.test_low:.1f}, {100 * last.test_high:.1f}], "
        f"n = {last.test_n}, codec {settings.codec}; {trained.source}"
    )
    typer.echo(f"wrote {trained.model} and curves.html")
