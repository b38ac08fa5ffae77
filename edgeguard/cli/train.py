"""`edgeguard train`: classifiers trained on what the codec leaves of images, or of sound."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeguard.cli.flags import flag
from edgeguard.cli.ignored import refuse_task_flags, refuse_train_flags
from edgeguard.cli.messages import on_stdout
from edgeguard.errors import InputError
from edgeguard.settings.declare import keys_of
from edgeguard.system.extras import missing_part
from edgeguard.system.outputs import refuse_file
from edgeguard.train.config import TrainConfig, names_any, read_config

EXAMPLE = (
    "Example: edgeguard train --data photos/ --model resnet9 --codec jpeg:20..90 --output trained/ "
    "&& edgeguard convert trained/model.pt2"
)


def train_command(
    config: Annotated[
        Path | None, typer.Argument(help="A .toml, or the config.json of a training; flags win over it.")
    ] = None,
    model: Annotated[str | None, flag(TrainConfig, "network")] = None,
    data: Annotated[Path | None, flag(TrainConfig, "data")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the model, the log and the curves; run again to go on.")] = (
        Path("trained")
    ),
    size: Annotated[int | None, flag(TrainConfig, "size")] = None,
    epochs: Annotated[int | None, flag(TrainConfig, "epochs")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Instead of --epochs: as many as fit into this time here, in small batches if need be."),
    ] = None,
    codec: Annotated[str | None, flag(TrainConfig, "codec")] = None,
    codec_share: Annotated[float | None, flag(TrainConfig, "codec_share")] = None,
    adversarial: Annotated[str | None, flag(TrainConfig, "method")] = None,
    eps: Annotated[float | None, flag(TrainConfig, "eps_8bit")] = None,
    smoothing: Annotated[str | None, flag(TrainConfig, "smoothing")] = None,
    sigma: Annotated[float | None, flag(TrainConfig, "sigma")] = None,
    learning_rate: Annotated[float | None, flag(TrainConfig, "learning_rate")] = None,
    batch: Annotated[int | None, flag(TrainConfig, "batch")] = None,
    flip: Annotated[bool | None, typer.Option("--flip/--no-flip", help=keys_of(TrainConfig)["flip"].help)] = None,
    shift: Annotated[int | None, flag(TrainConfig, "shift")] = None,
    cutout: Annotated[int | None, flag(TrainConfig, "cutout")] = None,
    light: Annotated[float | None, flag(TrainConfig, "light")] = None,
    mixup: Annotated[float | None, flag(TrainConfig, "mixup")] = None,
    exclude: Annotated[Path | None, flag(TrainConfig, "exclude")] = None,
    overlay: Annotated[Path | None, flag(TrainConfig, "overlay")] = None,
    limit: Annotated[int | None, flag(TrainConfig, "limit")] = None,
    seed: Annotated[int | None, flag(TrainConfig, "seed")] = None,
    task: Annotated[str, typer.Option(help="What the network reads: image, or audio (see docs/audio.md).")] = "image",
    features: Annotated[str | None, typer.Option(help="Of sound: stft or logmel. [default stft]")] = None,
    input_: Annotated[
        str | None, typer.Option("--input", help="Of sound behind vq:K: decoded, or codes. [default decoded]")
    ] = None,
    order: Annotated[str | None, typer.Option(help="Of the codewords of vq:K: tour or kmeans. [default tour]")] = None,
    leave_out: Annotated[
        str | None, typer.Option(help="Of sound: test on this speaker, or on each in turn (all).")
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Of sound: samples a second. [default 8000]")] = None,
    first_layer: Annotated[str | None, flag(TrainConfig, "first_layer")] = None,
    partitions: Annotated[
        int | None, typer.Option(min=2, max=10000, help="Train a net on each of so many parts; see docs/poisoning.md.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the last epoch as JSON.")] = False,
) -> None:
    """Train a small classifier, through the guard if you like; write model.pt2, log.jsonl and curves.html."""
    refuse_file(output)
    if task not in ("image", "audio"):
        raise InputError(f"--task is image or audio, got {task!r}")
    sound = {"features": features, "input": input_, "order": order, "leave_out": leave_out, "rate": rate}
    refuse_task_flags(task, sound, {
        "model": model, "size": size, "codec_share": codec_share, "adversarial": adversarial, "eps": eps,
        "smoothing": smoothing, "sigma": sigma, "exclude": exclude, "overlay": overlay, "partitions": partitions,
        "batch": batch, "flip": flip, "shift": shift, "cutout": cutout, "light": light, "mixup": mixup,
        "minutes": minutes,
    })  # fmt: skip
    if minutes is not None and epochs is not None:
        raise InputError("--minutes chooses the number of epochs: leave out --epochs")
    if minutes is not None and partitions is not None:
        raise InputError("--minutes is for one network; --partitions trains many: give --epochs")
    both = {
        "data": None if data is None else str(data), "epochs": epochs, "codec": codec, "limit": limit, "seed": seed,
        "learning_rate": learning_rate, "first_layer": first_layer,
    }  # fmt: skip
    if task == "audio":
        _train_sound(config, {**sound, **both}, output, as_json)
        return
    try:
        from edgeguard.train.run import train
    except ImportError as error:
        raise missing_part(error, "train", "convert") from error
    from dataclasses import asdict

    from edgeguard.cli.progress import UnitCounter

    flags = {
        **both, "network": model, "size": size, "codec_share": codec_share, "method": adversarial, "eps_8bit": eps,
        "smoothing": smoothing, "sigma": sigma, "exclude": None if exclude is None else str(exclude),
        "overlay": None if overlay is None else str(overlay), "batch": batch, "flip": flip, "shift": shift,
        "cutout": cutout, "light": light, "mixup": mixup,
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
        free = minutes is not None and not names_any(config, flags, ("batch", "learning_rate"))
        trained = train(settings, output, minutes=minutes, choose_batch=free, progress=counter.show)
    last = trained.epochs[-1]
    if as_json:
        on_stdout(json.dumps({**asdict(last), "model": str(trained.model), "weights": trained.weights}))
        return
    noise = "" if settings.smoothing == "none" else f" under noise of sigma {settings.sigma:g}"
    accuracy, low, high = (100 * share for share in (last.test_accuracy, last.test_low, last.test_high))
    on_stdout(
        f"test accuracy{noise} {accuracy:.1f} % [{low:.1f}, {high:.1f}], "
        f"n = {last.test_n}, codec {settings.codec}; {trained.source}"
    )
    on_stdout(f"wrote {trained.model} and curves.html")


def _train_sound(config: Path | None, flags: dict[str, Any], output: Path, as_json: bool) -> None:
    try:
        from edgeguard.audio_training.config import read_config as read_sound_config
        from edgeguard.audio_training.run import train_sound
        from edgeguard.audio_training.said import trained_lines
    except ImportError as error:
        raise missing_part(error, "train", "convert") from error
    from edgeguard.cli.progress import UnitCounter

    settings = read_sound_config(config, flags)
    with UnitCounter() as counter:
        found = train_sound(settings, output, progress=counter.show)
    on_stdout(*trained_lines(found, settings, output, as_json=as_json))
