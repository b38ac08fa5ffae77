"""Flags that would have no effect on what was asked for: refused, instead of taken and ignored."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from edgeguard.errors import InputError


def given(context: typer.Context, name: str) -> bool:
    """True where the flag of this parameter stands on the command line, with whatever value."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_ignored(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Refuse flags that have no effect together with what else was given.

    Args:
        context: of the command.
        names: parameters of the command's function.
        why: goes after the flag's name, for example `is for --arm noise`.

    Raises:
        InputError: one of them was given; the message begins with its flag.
    """
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    for name in names:
        if given(context, name):
            raise InputError(f"{flags[name]} {why}")


def refuse_run_flags(flags: Mapping[str, Any], settings: Any) -> None:
    """Refuse flags of `run` that have no effect with the settings that hold, wherever those came from.

    Args:
        flags: of the command line by parameter; None or False is not given.
        settings: the resolved ones.

    Raises:
        InputError: one line that begins with the flag.
    """
    writes_file = settings.output not in (None, "-")
    from edgeguard.camera import names_a_file

    rings = (
        settings.alarm_certified > 0
        or settings.alarm_unproven > 0
        or settings.alarm_certified_patch > 0
        or (settings.compare_every > 0 and settings.alarm_disagreement > 0)
    )
    is_file = settings.source is not None and names_a_file(settings.source) and Path(settings.source).exists()
    compares = settings.compare_every > 0
    for names, ignored, why in (
        (("rotate_mb", "rotate_keep"), not writes_file, "is for --output FILE"),
        (("rotate_keep",), settings.rotate_mb == 0, "is for --rotate-mb: there are no older files"),
        (("web_token_file",), settings.web is None, "is for --web"),
        (("metrics_token_file",), settings.metrics is None, "is for --metrics"),
        (("stale_after",), settings.web is None and settings.metrics is None, "is for --web and --metrics"),
        (("webhook_token_file",), settings.webhook is None, "is for --webhook"),
        (
            ("webhook",),
            not settings.rules.events,
            "tells of events: the configuration has no table [[event]]",
        ),
        (("track_score",), not settings.track, "is for --track"),
        (
            ("mqtt_name", "mqtt_picture_every", "mqtt_password_file", "mqtt_ca_file"),
            settings.mqtt is None,
            "is for --mqtt",
        ),
        (("record_seconds", "record_quota_mb"), settings.record is None, "is for --record"),
        (("smooth_sigma", "smooth_ms"), settings.smooth == 0, "is for --smooth: no noisy copies are drawn"),
        (("compare",), not compares, "does nothing with --compare-every 0"),
        (("alarm_disagreement",), not compares, "is for --compare: nothing is compared"),
        (
            ("alarm_window",),
            not rings,
            "is for --compare, --alarm-certified, --alarm-unproven or --alarm-certified-patch: no other alarm looks at "
            "a window",
        ),
        (("fallback",), settings.delegate == "cpu", "is for the Edge TPU; with --delegate cpu it is never used"),
        (("fps",), settings.drop is not None, "is for the latest frame: with --every-frame each one is inferred on"),
        (
            ("fps", "lost_after", "give_up_after", "every_frame", "drop", "frozen_after"),
            is_file,
            f"is for cameras and streams, not for the file or folder {settings.source}",
        ),
    ):
        _refuse_given(flags, names if ignored else (), why)


def refuse_guard_flags(flags: Mapping[str, Any], guard: Any) -> None:
    """Refuse flags of `run` that have no effect with the guard that the loaded model gets.

    Args:
        flags: of the command line by parameter; None or False is not given.
        guard: the contract's `ContractGuard`.

    Raises:
        InputError: one line that begins with the flag.
    """
    profile, on_frame = guard.profile, guard.place == "frame"
    coefficients = profile is not None and on_frame and not profile.is_pixel_domain
    certifies = profile is not None and on_frame and profile.is_pixel_domain
    name = "no guard" if profile is None else f"the guard {profile.name or profile.sha256[:12]} ({profile.color})"
    where = "" if on_frame or profile is None else ", whose place is not the frame"
    for names, ignored, why in (
        (("decode_scale",), not coefficients, "is for ycbcr guards on the frame"),
        (
            ("alarm_certified", "alarm_unproven"),
            not certifies,
            "is for rgb and gray guards on the frame: nothing else is certified",
        ),
    ):
        _refuse_given(flags, names if ignored else (), f"{why}; here is {name}{where}")


_NOT_OF_SOUND = (
    "camera", "size", "camera_fps", "key_file", "poll", "guard", "patch_guard", "crop", "require_guard", "region",
    "decode_scale", "compare", "compare_every", "save", "web", "web_token_file", "alarm_disagreement", "record",
    "record_seconds", "record_quota_mb",
)  # fmt: skip


def refuse_kind_flags(flags: Mapping[str, Any], settings: Any, kind: str) -> None:
    """Refuse flags of `run` that are for models of pictures beside one of sound, and the other way round.

    Args:
        flags: of the command line by parameter; None or False is not given.
        settings: the resolved ones: outputs of pictures are refused wherever they were set.
        kind: `image` or `audio`, of the model's input.

    Raises:
        InputError: one line that begins with the flag.
    """
    if kind == "audio":
        why = "is for models of pictures; this one hears sound"
        _refuse_given(flags, _NOT_OF_SOUND, why)
        _refuse_given(vars(settings), ("web", "save", "record", "region", "guard", "patch_guard"), why)
    else:
        names = ("microphone", "hop", "resample", "label_on", "label_off", "quiet")
        _refuse_given(flags, names, "is for models of sound; this one sees pictures")


def refuse_patch_flags(flags: Mapping[str, Any], contract: Any) -> None:
    """Refuse flags of `run` that are for models which prove their labels against a patch.

    Args:
        flags: of the command line by parameter; None or False is not given.
        contract: of the loaded model.

    Raises:
        InputError: one line that begins with the flag.
    """
    if contract.patch_certificate is None:
        why = "is for models that prove their labels against a patch (train --model patchcert); this one does not"
        _refuse_given(flags, ("alarm_certified_patch",), why)


def refuse_train_flags(flags: Mapping[str, Any], settings: Any) -> None:
    """Refuse flags of `train` that have no effect with the configuration that holds.

    Args:
        flags: of the command line by field of `TrainConfig`; None is not given.
        settings: the configuration.

    Raises:
        InputError: one line that begins with the flag.
    """
    if settings.method == "none":
        _refuse_given({"eps": flags.get("eps_8bit")}, ("eps",), "is for --adversarial: nothing attacks the images")
    if settings.smoothing == "none":
        _refuse_given(flags, ("sigma",), "is for --smoothing: no noise is added")
    if settings.codec == "none" and not settings.ensemble:
        _refuse_given(flags, ("codec_share",), "is for --codec: no image goes through one")


def refuse_task_flags(task: str, sound: Mapping[str, Any], image: Mapping[str, Any]) -> None:
    """Refuse flags of `train` that are for the other task.

    Args:
        task: image or audio.
        sound, image: flags of one of the two only, by name; None is not given.

    Raises:
        InputError: one line that begins with the flag.
    """
    if task == "audio":
        _refuse_given(image, image, "is for images, not for --task audio")
    else:
        _refuse_given(sound, sound, "is for --task audio")


def refuse_with_partitions(context: typer.Context) -> None:
    """Refuse flags of `evaluate certify` that are for patches, beside --partitions.

    Raises:
        InputError: one line that begins with the flag.
    """
    for name in ("patch", "method", "masks", "output", "attack", "workers"):
        if given(context, name):
            raise InputError(f"--{name} is for patches: --partitions asks about training images")


def refuse_without_method(context: typer.Context, method: str | None) -> None:
    """Refuse flags of `evaluate certify` that its --method makes nothing of.

    Raises:
        InputError: one line that begins with the flag.
    """
    if method is None:
        refuse_ignored(context, ["output"], "is for --method and --smoothing")
        refuse_ignored(context, ["attack"], "is for --method")
        return
    if method != "masking":
        refuse_ignored(context, ["masks"], f"is for --method masking: {method} covers nothing of the picture")
    if method != "one-pass":
        refuse_ignored(context, ["attack"], "is for --method one-pass, whose proof it tries")


def _refuse_given(flags: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    for name in names:
        value = flags.get(name)
        if value is not None and value is not False:  # 0 is a value
            raise InputError(f"--{name.replace('_', '-')} {why}")
