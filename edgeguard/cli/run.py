"""`edgeguard run`."""

from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeguard.cli.flags import flag
from edgeguard.cli.ignored import refuse_guard_flags, refuse_kind_flags, refuse_patch_flags, refuse_run_flags
from edgeguard.cli.messages import beside_results, on_stderr, on_stdout
from edgeguard.cli.overwrites import refuse_overwriting
from edgeguard.cli.run_report import report, summary_of
from edgeguard.errors import CheckFailed, DeviceError, InputError
from edgeguard.run.settings import Settings, resolve
from edgeguard.settings.declare import keys_of

if TYPE_CHECKING:
    from edgeguard.camera import Source
    from edgeguard.model import Model
    from edgeguard.model.derive import Hints
    from edgeguard.pipeline.result import FrameResult
    from edgeguard.run.runner import Outcome

EXAMPLE = (
    "Example: edgeguard run model.tflite --camera 0 --output results.jsonl --web 127.0.0.1:8080   or: "
    "edgeguard run --config edgeguard.toml"
)


def run_command(
    model: Annotated[str | None, typer.Argument(help=keys_of(Settings)["model"].help)] = None,
    camera: Annotated[int | None, typer.Option(help="The N-th usable camera, from 0 (see edgeguard doctor).")] = None,
    source: Annotated[str | None, flag(Settings, "source")] = None,
    microphone: Annotated[int | None, typer.Option(help="The N-th microphone, from 0, for a model of sound.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file (edgeguard config show).")] = None,
    size: Annotated[str | None, flag(Settings, "size")] = None,
    camera_fps: Annotated[float | None, flag(Settings, "camera_fps")] = None,
    key_file: Annotated[str | None, flag(Settings, "key_file")] = None,
    poll: Annotated[float | None, flag(Settings, "poll")] = None,
    lost_after: Annotated[float | None, flag(Settings, "lost_after")] = None,
    give_up_after: Annotated[float | None, flag(Settings, "give_up_after")] = None,
    guard: Annotated[str | None, flag(Settings, "guard")] = None,
    patch_guard: Annotated[str | None, flag(Settings, "patch_guard")] = None,
    labels: Annotated[str | None, flag(Settings, "labels")] = None,
    crop: Annotated[str | None, flag(Settings, "crop")] = None,
    delegate: Annotated[str | None, flag(Settings, "delegate")] = None,
    fallback: Annotated[str | None, flag(Settings, "fallback")] = None,
    isolate: Annotated[str | None, flag(Settings, "isolate")] = None,
    threads: Annotated[int | None, flag(Settings, "threads")] = None,
    require_model: Annotated[str | None, flag(Settings, "require_model")] = None,
    require_guard: Annotated[str | None, flag(Settings, "require_guard")] = None,
    every: Annotated[int | None, flag(Settings, "every")] = None,
    fps: Annotated[float | None, flag(Settings, "fps")] = None,
    region: Annotated[str | None, flag(Settings, "region")] = None,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Queue a camera's frames; no latest-frame slot.")
    ] = False,
    drop: Annotated[str | None, flag(Settings, "drop")] = None,
    decode_scale: Annotated[int | None, flag(Settings, "decode_scale")] = None,
    track: Annotated[bool, typer.Option("--track", help=keys_of(Settings)["track"].help)] = False,
    track_score: Annotated[float | None, flag(Settings, "track_score")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Run the undefended path beside it.")] = False,
    compare_every: Annotated[int | None, flag(Settings, "compare_every")] = None,
    smooth: Annotated[int | None, flag(Settings, "smooth")] = None,
    smooth_sigma: Annotated[float | None, flag(Settings, "smooth_sigma")] = None,
    smooth_ms: Annotated[float | None, flag(Settings, "smooth_ms")] = None,
    frames: Annotated[int | None, flag(Settings, "frames")] = None,
    hop: Annotated[float | None, flag(Settings, "hop")] = None,
    resample: Annotated[bool, typer.Option("--resample", help=keys_of(Settings)["resample"].help)] = False,
    label_on: Annotated[float | None, flag(Settings, "label_on")] = None,
    label_off: Annotated[float | None, flag(Settings, "label_off")] = None,
    quiet: Annotated[float | None, flag(Settings, "quiet")] = None,
    output: Annotated[str | None, flag(Settings, "output")] = None,
    rotate_mb: Annotated[float | None, flag(Settings, "rotate_mb")] = None,
    rotate_keep: Annotated[int | None, flag(Settings, "rotate_keep")] = None,
    save: Annotated[str | None, flag(Settings, "save")] = None,
    status_file: Annotated[str | None, flag(Settings, "status_file")] = None,
    web: Annotated[str | None, flag(Settings, "web")] = None,
    web_token_file: Annotated[str | None, flag(Settings, "web_token_file")] = None,
    metrics: Annotated[str | None, flag(Settings, "metrics")] = None,
    metrics_token_file: Annotated[str | None, flag(Settings, "metrics_token_file")] = None,
    stale_after: Annotated[float | None, flag(Settings, "stale_after")] = None,
    mqtt: Annotated[str | None, flag(Settings, "mqtt")] = None,
    mqtt_name: Annotated[str | None, flag(Settings, "mqtt_name")] = None,
    mqtt_picture_every: Annotated[float | None, flag(Settings, "mqtt_picture_every")] = None,
    mqtt_password_file: Annotated[str | None, flag(Settings, "mqtt_password_file")] = None,
    mqtt_ca_file: Annotated[str | None, flag(Settings, "mqtt_ca_file")] = None,
    webhook: Annotated[str | None, flag(Settings, "webhook")] = None,
    webhook_token_file: Annotated[str | None, flag(Settings, "webhook_token_file")] = None,
    alarm_disagreement: Annotated[float | None, flag(Settings, "alarm_disagreement")] = None,
    alarm_certified: Annotated[float | None, flag(Settings, "alarm_certified")] = None,
    alarm_unproven: Annotated[float | None, flag(Settings, "alarm_unproven")] = None,
    alarm_certified_patch: Annotated[int | None, flag(Settings, "alarm_certified_patch")] = None,
    frozen_after: Annotated[float | None, flag(Settings, "frozen_after")] = None,
    alarm_window: Annotated[int | None, flag(Settings, "alarm_window")] = None,
    record: Annotated[str | None, flag(Settings, "record")] = None,
    record_seconds: Annotated[float | None, flag(Settings, "record_seconds")] = None,
    record_quota_mb: Annotated[float | None, flag(Settings, "record_quota_mb")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Capture, sanitize in the sensor path, infer, report."""
    flags = {name: value for name, value in locals().items() if name not in ("config", "as_json")}
    settings, _ = resolve(_settings_of(flags), config)
    if settings.cameras and settings.source is not None:
        raise InputError(
            "the configuration has tables [[camera]]: they say where frames come from; leave out --camera, --source "
            "and EDGEGUARD_SOURCE"
        )
    if settings.source is None and not settings.cameras:
        raise InputError("say where frames come from: --camera N or --source X (one of them)")
    if as_json and settings.output == "-":
        raise InputError("--json and --output - both want standard output: write the results to a file")
    refuse_run_flags(flags, settings)
    refuse_overwriting(vars(settings), {name: "--" + name.replace("_", "-") for name in vars(settings)})
    from edgeguard.run.restarts import ends_counted, state_folder

    with ends_counted(state_folder()):
        _run(settings, flags, as_json)


def _settings_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Flags by the names of the settings: `--camera` is a source, `--compare` and `--every-frame` are short forms."""
    given = dict(flags)
    given["track"] = given["track"] or None
    camera, compare, every_frame = given.pop("camera"), given.pop("compare"), given.pop("every_frame")
    microphone = given.pop("microphone")
    named = [
        name for name in (
            None if camera is None else str(camera), None if microphone is None else f"microphone:{microphone}",
            given["source"],
        ) if name is not None
    ]  # fmt: skip
    if len(named) > 1:
        raise InputError("say where frames come from: --camera N, --microphone N or --source X (one of them)")
    given["source"] = named[0] if named else None
    given["resample"] = given["resample"] or None
    if compare and given["compare_every"] is None:
        given["compare_every"] = 1
    if every_frame and given["drop"] is None:
        given["drop"] = "wait"
    return given


def _run(settings: Settings, flags: Mapping[str, Any], as_json: bool) -> None:
    from edgeguard.cli.progress import FrameCounter
    from edgeguard.run.runner import run
    from edgeguard.system.heap import keep_freed_memory
    from edgeguard.system.termination import clean_end_on_sigterm

    keep_freed_memory()
    loaded = _load(settings)
    audio = loaded.contract.audio
    refuse_kind_flags(flags, settings, "image" if audio is None else "audio")
    if audio is None:
        refuse_guard_flags(flags, loaded.contract.guard)
        if settings.track and loaded.contract.task != "detect":
            raise InputError(f"--track is for detectors; this model's task is {loaded.contract.task}")
        if settings.cameras:
            _run_several(settings, loaded, as_json)
            return
        opening = _opener(settings)
    else:
        from edgeguard.audio.sources import sound_opener

        opening = sound_opener(str(settings.source), audio, hop_s=settings.hop, resample=settings.resample)
    refuse_patch_flags(flags, loaded.contract)
    _say_what_runs(loaded)
    with clean_end_on_sigterm(), FrameCounter() as counter:
        shown = _Shown(loaded, settings, counter, quiet=as_json)

        def open_counted() -> "Source":
            source = opening()
            counter.total = len(source) if isinstance(source, Sized) else None
            return source

        outcome = run(settings, loaded, open_counted, shown=shown.show, ends=(SystemExit,))
    report(outcome, as_json)
    _raise_what_went_wrong(outcome)


def _run_several(settings: Settings, loaded: "Model", as_json: bool) -> None:
    from edgeguard.cli.progress import FrameCounter
    from edgeguard.run.several import run_several
    from edgeguard.system.termination import clean_end_on_sigterm

    openings = {one.name: _opener(settings.of_camera(one)) for one in settings.cameras}
    _say_what_runs(loaded)
    with clean_end_on_sigterm(), FrameCounter() as counter:
        shown = _Shown(loaded, settings, counter, quiet=as_json)
        outcomes = run_several(settings, loaded, openings, shown=shown.show, ends=(SystemExit,))
    if as_json:
        import json

        on_stdout(json.dumps({name: summary_of(outcome) for name, outcome in outcomes.items()}))
    else:
        for name, outcome in outcomes.items():
            beside_results(f"{name}:")
            report(outcome, as_json)
    for outcome in outcomes.values():
        _raise_what_went_wrong(outcome)


def _raise_what_went_wrong(outcome: "Outcome") -> None:
    if outcome.failure is not None:
        raise outcome.failure
    pipeline, counters = outcome.pipeline, outcome.pipeline.counters
    if counters.misread:
        raise InputError(
            f"what the model said of {counters.misread} frames is no result of its task, the first: {pipeline.misread}"
        )
    failed = [sink for sink in outcome.status.sinks if sink.failure is not None]
    if failed:
        raise DeviceError(f"{failed[0].name}: {failed[0].failure}; {failed[0].dropped} results were dropped")
    if counters.lost and pipeline.reader is None and not outcome.terminated:
        first = pipeline.losses[0]
        raise CheckFailed(f"{counters.lost} frames could not be read, the first: {first.source}: {first.reason}")


def _opener(settings: Settings) -> "Callable[[], Source]":
    from edgeguard.camera import source_opener
    from edgeguard.jpeg.seal import read_key

    assert settings.source is not None
    spec = settings.source
    if spec.startswith("synthetic:field"):
        from edgeguard.fieldtest.virtual.field import open_virtual_field

        return lambda: open_virtual_field(spec)
    size = None
    if settings.size is not None:
        width, _, height = settings.size.partition("x")
        size = int(width), int(height)
    try:
        key = None if settings.key_file is None else read_key(Path(settings.key_file))
    except ValueError as error:
        raise InputError(str(error)) from error
    return source_opener(spec, size=size, fps=settings.camera_fps, key=key, poll_s=settings.poll)


def _load(settings: Settings) -> "Model":
    from dataclasses import replace

    from edgeguard.dct.profile import resolve_profile
    from edgeguard.model import ContractGuard
    from edgeguard.model.derive import Hints, with_crop
    from edgeguard.model.labels import read_label_file

    labels = None if settings.labels is None else read_label_file(settings.labels)
    loaded = _load_file(settings, Hints(labels, settings.crop))
    contract = loaded.contract
    if loaded.has_contract and settings.crop not in (None, contract.preprocess.crop):
        _warn("--crop replaces the crop that the model was calibrated and checked with")
        contract = with_crop(contract, settings.crop)
    if settings.guard is not None:
        profile = resolve_profile(settings.guard)
        place = contract.guard.place if contract.guard.place not in ("none", "in-graph") else "frame"
        if loaded.has_contract and profile != contract.guard.profile:
            _warn("--guard replaces the profile that the model was calibrated and checked with")
        chosen = ContractGuard(profile, place) if profile else ContractGuard()
        contract = replace(contract, guard=replace(chosen, patch=contract.guard.patch))
    elif not loaded.has_contract:
        _warn("THIS MODEL CARRIES NO CONTRACT: it runs without a guard; give --guard fd")
    if settings.patch_guard is not None:
        name = None if settings.patch_guard == "none" else settings.patch_guard
        contract = replace(contract, guard=replace(contract.guard, patch=name))
    if labels is not None and loaded.has_contract:
        contract = replace(contract, labels=labels)
    if contract.labels and loaded.classes and len(contract.labels) != loaded.classes:
        which = f" in {settings.labels}" if labels is not None else ""
        raise InputError(
            f"{len(contract.labels)} labels{which} for a model with {loaded.classes} outputs: --labels wants a text "
            "file with one label a line, in the order of the outputs"
        )
    if settings.require_guard is not None:
        actual = contract.guard.profile.sha256 if contract.guard.profile else "none"
        if actual != settings.require_guard.lower():
            raise InputError(f"the guard profile is not the required one: it is {actual}")
    return loaded.with_contract(contract)


def _load_file(settings: Settings, hints: "Hints") -> "Model":
    """The model's file; where wanted, another on the CPU when the Edge TPU is not there."""
    from edgeguard.demo.assets import bundled_model
    from edgeguard.model import load_model

    path = settings.model or bundled_model()
    if settings.model is None:
        beside_results("no MODEL was given: the bundled model of printed cards runs (edgeguard run MODEL ...)")
    threads, isolate = settings.threads, settings.isolate
    if settings.fallback is not None and not Path(settings.fallback).is_file():
        raise InputError(f"--fallback {settings.fallback} is not there, or is no file")
    try:
        return load_model(
            path, settings.delegate, threads, require_sha256=settings.require_model, isolate=isolate, hints=hints,
            kinds=("image", "audio"),
        )  # fmt: skip
    except DeviceError as error:
        if settings.fallback is None:
            raise DeviceError(f"{error}; --fallback PLAIN.tflite would run on the CPU instead") from error
        _warn(f"{error}: RUNNING {settings.fallback} ON THE CPU INSTEAD")
        return load_model(settings.fallback, "cpu", threads, isolate=isolate, hints=hints)


def _say_what_runs(model: "Model") -> None:
    from edgeguard.preprocess.requantize import missing_native_parts

    guard, audio = model.contract.guard, model.contract.audio
    if audio is not None:
        codec = "" if audio.codec == "none" else f" through {audio.codec}"
        window = f"{audio.samples / audio.rate_hz:.2f} s at {audio.rate_hz} Hz"
        beside_results(f"sound: windows of {window}{codec}, {audio.features}, {audio.reads}")
        if (steps := audio.sound_codec.guard) is not None:
            beside_results(f"guard: two passes remove changes of up to {steps.largest_proven} of 65,536 levels")
    elif guard.profile is None:
        beside_results("guard: none")
    else:
        where = {"frame": "on the whole frame", "in-graph": "inside the graph (one pass)"}.get(
            guard.place, "on the model's input (one pass)"
        )
        name = guard.profile.name or guard.profile.sha256[:12]
        beside_results(f"guard: {name} ({guard.profile.color}) {where}")
        if missing := missing_native_parts(guard.profile):
            _warn(missing)
    if model.patch_guard is not None:
        beside_results(f"patch guard: {model.patch_guard.name} on the model's input")
    if model.isolated is not None:
        _warn(f"the model runs in a watched process of its own: {model.isolated}")
    if model.contract.preprocess.guessed:
        _warn("; ".join(("this model's preprocessing was guessed", *model.guesses)))


class _Shown:
    """What the terminal shows of each result: a line where nothing else takes results, else a count."""

    def __init__(self, model: "Model", settings: Settings, counter: Any, *, quiet: bool) -> None:
        self._model, self._says_share = model, not model.has_contract
        self._wants_two = model.contract.guard.place == "frame"
        self._taken = any((settings.output, settings.save, settings.web, settings.mqtt, settings.record))
        self._to_stdout = settings.output == "-"
        self._counter, self._quiet = counter, quiet
        self._region = settings.region
        self._frames = 0
        self._said_events: dict[tuple[str, str], str] = {}  # the last one of each camera and rule

    def show(self, result: "FrameResult") -> None:
        self._frames += 1
        self._say_events(result)
        if self._says_share and result.received is not None:
            self._say_share(*result.received.size())
        if self._region is not None and result.received is not None:
            self._say_region(self._region, *result.received.size())
        if self._wants_two and result.passes == 1 and result.pass1 == "none":
            _warn("pass 1 used other tables than this profile (or none): one pass counts, nothing is certified")
            self._wants_two = False
        if self._taken and not self._to_stdout:
            self._counter.show(self._frames)
        elif not self._taken and not self._quiet:
            other = f"   undefended: {result.undefended.label}" if result.undefended else ""
            score = "" if result.prediction.score is None else f"{result.prediction.score:.2f}"
            if result.sound is not None:
                other += f"   heard: {result.sound.heard or '-'}"
            if result.age_ms is None:  # of a camera each line would name the same one
                other += f"   {result.source}"
            who = "" if result.camera is None else f"{result.camera}  "
            on_stdout(f"{who}{result.frame:6d}  {score}  {result.prediction.label}{other}")

    def _say_events(self, result: "FrameResult") -> None:
        """That an event began."""
        for event in result.events:
            of = event.camera, event.rule
            if self._said_events.get(of) != event.id:
                self._said_events[of] = event.id
                score = "" if event.score is None else f" {event.score:.2f}"
                where = "".join(f" in {name}" for name in (event.zone, event.camera) if name)
                beside_results(f"event {event.rule}: {event.label}{score}{where}")

    def _say_region(self, text: str, width: int, height: int) -> None:
        """That the region does not lie within the first frame."""
        from edgeguard.preprocess.region import Region

        self._region, region = None, Region.parse(text)
        used = region.size_within(width, height)
        if used != (region.width, region.height):
            _warn(f"--region reaches out of the {width}x{height} frame: {used[0]}x{used[1]} of it are in use")

    def _say_share(self, width: int, height: int) -> None:
        """How much of the first frame the model looks at: a guessed crop may leave out more than half of it."""
        from edgeguard.preprocess.geometry import place

        self._says_share = False
        contract = self._model.contract
        source = place(width, height, contract.input, contract.preprocess).source
        share = source.width * source.height / (width * height)
        beside_results(f"crop {contract.preprocess.crop}: {share:.0%} of a {width}x{height} frame is in use")


def _warn(message: str) -> None:
    on_stderr(message)
