"""`edgeguard train`: classifiers trained on what the codec leaves of images."""

import json
from pathlib import Path
from typing import Annotated

import typer

from edgeguard.cli.flags import flag
from edgeguard.cli.ignored import refuse_train_flags
from edgeguard.cli.messages import on_stdout
from edgeguard.system.extras import missing_part
from edgeguard.train.config import TrainConfig, read_config

EXAMPLE = (
    "Example: edgeguard train --data photos/ --model resnet9 --codec jpeg:20..90 --output trained/ "
    "&& edgeguard convert trained/model.pt2"
)


def train_command(
    config: Annotated[Path | None, typer.Argument(help="A .toml configuration; flags come before it.")] = None,
    model: Annotated[str | None, flag(TrainConfig, "network")] = None,
    data: Annotated[Path | None, flag(TrainConfig, "data")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the model, the log and the curves; run again to go on.")] = (
        Path("trained")
    ),
    size: Annotated[int | None, flag(TrainConfig, "size")] = None,
    epochs: Annotated[int | None, flag(TrainConfig, "epochs")] = None,
    codec: Annotated[str | None, flag(TrainConfig, "codec")] = None,
    codec_share: Annotated[float | None, flag(TrainConfig, "codec_share")] = None,
    adversarial: Annotated[str | None, flag(TrainConfig, "method")] = None,
    eps: Annotated[float | None, flag(TrainConfig, "eps_8bit")] = None,
    learning_rate: Annotated[float | None, flag(TrainConfig, "learning_rate")] = None,
    exclude: Annotated[Path | None, flag(TrainConfig, "exclude")] = None,
    overlay: Annotated[Path | None, flag(TrainConfig, "overlay")] = None,
    limit: Annotated[int | None, flag(TrainConfig, "limit")] = None,
    seed: Annotated[int | None, flag(TrainConfig, "seed")] = None,
    partitions: Annotated[
        int | None, typer.Option(min=2, max=10000, help="Train a net on each of so many parts; see docs/poisoning.md.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the last epoch as JSON.")] = False,
) -> None:
    """Train a small classifier, through the guard if you like; write model.pt2, log.jsonl and curves.html."""
    try:
        from edgeguard.train.run import train
    except ImportError as error:
        raise missing_part(error, "train", "convert") from error
    from dataclasses import asdict

    from edgeguard.cli.progress import UnitCounter

    flags = {
        "network": model, "data": None if data is None else str(data), "size": size, "epochs": epochs, "codec": codec,
        "codec_share": codec_share, "method": adversarial, "eps_8bit": eps, "learning_rate": learning_rate,
        "limit": limit, "seed": seed, "exclude": None if exclude is None else str(exclude),
        "overlay": None if overlay is None else str(overlay),
    }  # fmt: skip
    settings = read_config(config, flags)
    refuse_train_flags(flags, settings)
    if partitions is not None:
        from edgeguard.train.partitions import train_partitions

        with UnitCounter() as counter:
            source = train_partitions(settings, output, partitions, progress=counter.show)
        on_stdout(
            json.dumps({"partitions": partitions, "images": source}) if as_json else f"{partitions} nets; {source}"
        )
        if not as_json:
            on_stdout(f"wrote {output}; next: edgeguard evaluate certify {output} --images TEST --partitions")
        return
    with UnitCounter() as counter:
        trained = train(settings, output, progress=counter.show)
    last = trained.epochs[-1]
    if as_json:
        on_stdout(json.dumps({**asdict(last), "model": str(trained.model), "weights": trained.weights}))
        return
    on_stdout(
        f"test accuracy {100 * last.test_accuracy:.1f} % [{100 * last.test_low:.1f}, {100 * last.test_high:.1f}], "
        f"n = {last.test_n}, codec {settings.codec}; {trained.source}"
    )
    on_stdout(f"wrote {trained.model} and curves.html")
