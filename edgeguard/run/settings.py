"""What `run` can be told: settings with bounds, from flags, the environment, a TOML file, and defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from edgeguard.errors import InputError
from edgeguard.settings.check import checked
from edgeguard.settings.declare import ADDRESS, PICTURE_SIZE, TEXT, Key, Words, file_of, key, keys_of
from edgeguard.watch.rules import NAME, ClassLimits, EventRule, Mask, Rules, Zone

Origin = Literal["flag", "environment", "file", "default"]
PREFIX = "EDGEGUARD_"
_MILLION = 1_000_000
_HTTP = Words(r"^https?://[^\x00-\x20]+$", "wants http:// or https://", "URL")
#: Keys of a [[camera]] that are those of `Settings`, and hold for all cameras where a table does not say them.
_OF_CAMERA = ("source", "size", "key_file", "camera_fps", "poll", "lost_after", "give_up_after", "region", "fps")

_camera, _model, _pipeline = partial(key, table="camera"), partial(key, table="model"), partial(key, table="pipeline")
_smoothing = partial(key, table="smoothing")
_output, _web, _metrics = partial(key, table="output"), partial(key, table="web"), partial(key, table="metrics")
_mqtt, _alarms, _recorder = partial(key, table="mqtt"), partial(key, table="alarms"), partial(key, table="recorder")
_sound = partial(key, table="sound")


@dataclass(frozen=True)
class Settings:
    """Everything that `run` does beyond the model's contract. Each field is a key of a table of the file, a flag, and
    an environment variable (`EDGEGUARD_` and its name).

    Example:
        >>> Settings(source="0").lost_after
        3.0
    """

    source: str | None = _camera(
        "Image, folder, video, http:// (MJPEG), rtsp://, v4l2:PATH, picamera2:N, serial:..., synthetic:cards?fps=15. "
        "Of sound: file, folder, microphone:N.",
        None,
        words=TEXT,
    )
    size: str | None = _camera("Size of pictures to ask of a local camera.", None, words=PICTURE_SIZE)
    key_file: str | None = _camera(
        "Take only what an edgeguard sensor sealed with it.", None, values="file", words=TEXT
    )
    camera_fps: float | None = _camera(
        "Frames a second to ask of a local camera.", None, low=0.1, high=1000, unit="frames/s"
    )
    poll: float | None = _camera(
        "Ask the http:// URL of a still picture every so often.", None, low=0.05, high=86400, unit="s"
    )
    lost_after: float = _camera("Seconds without a frame: lost.", 3.0, low=0.2, high=3600, unit="s")
    give_up_after: float = _camera("Seconds lost: end; 0 never.", 0.0, low=0, high=_MILLION, unit="s")

    model: str | None = _model("A .tflite file; by default the bundled card model.", None, values="file", words=TEXT)
    guard: str | None = _model("Preset, .toml profile or none, instead of the contract's.", None, words=TEXT)
    patch_guard: str | None = _model(
        "lgs, entropy, chunks, recompression (an alarm) or none, instead of the contract's.", None, words=TEXT
    )
    labels: str | None = _model("Labels, one a line, for a model that carries none.", None, values="file", words=TEXT)
    crop: Literal["center", "letterbox", "none"] | None = _model(
        "How a frame is fitted to the model: its middle, whole with bars, or whole and stretched.", None
    )
    delegate: Literal["auto", "cpu", "edgetpu"] = _model("What computes.", "auto")
    fallback: str | None = _model(
        "A .tflite for the CPU, used when the Edge TPU cannot be.", None, values="file", words=TEXT
    )
    isolate: Literal["auto", "always", "never"] = _model(
        "Run the graph in a watched process of its own: auto where it is not proven harmless.", "auto"
    )
    threads: int | None = _model("CPU threads of the model.", None, low=1, high=256)
    require_model: str | None = _model(
        "Refuse a model file with another SHA-256.", None, values="64 hexadecimal digits", words=TEXT
    )
    require_guard: str | None = _model(
        "Refuse a guard profile with another SHA-256.", None, values="64 hexadecimal digits", words=TEXT
    )

    every: int = _pipeline("Infer on every so many frames.", 1, low=1, high=_MILLION, unit="frames")
    fps: float | None = _pipeline("Results a second at most.", None, low=0.01, high=1000, unit="results/s")
    region: str | None = _pipeline(
        "Part of the frame, snapped to the grid.", None, values="X,Y,WIDTH,HEIGHT", words=TEXT
    )
    drop: Literal["oldest", "newest", "wait"] | None = _pipeline(
        "A queue instead of the latest frame, and what goes when it is full.", None
    )
    decode_scale: Literal[1, 2, 4] | None = _pipeline(
        "Decode JPEGs at 1/1, 1/2 or 1/4. Only for ycbcr profiles.", None, wants="is 1, 2 or 4"
    )
    track: bool = _pipeline("Give a detector's objects identities from frame to frame.", False)
    track_score: float = _pipeline("Boxes from this score on are matched first.", 0.5, low=0, high=1)
    compare_every: int = _pipeline(
        "--compare on every so many results; 0 off.", 0, low=0, high=_MILLION, unit="results"
    )
    frames: int = _pipeline("End after so many results; 0 never.", 0, low=0, high=10**12, unit="results")

    smooth: int = _smoothing(
        "Answer by so many noisy copies of each frame as well, with a certified radius; 0 off.",
        0,
        low=0,
        high=_MILLION,
        unit="copies",
    )
    smooth_sigma: float = _smoothing("Standard deviation of that noise, pixels 0..1.", 0.25, low=0.001, high=4)
    smooth_ms: float | None = _smoothing(
        "What that may cost a frame: fewer copies are drawn then.", None, low=1, high=_MILLION, unit="ms"
    )

    output: str | None = _output(
        "JSON lines to this file, or - for standard output.", None, values="file, or -", words=TEXT
    )
    rotate_mb: float = _output("Begin a new output file after so many; 0 never.", 0.0, low=0, high=_MILLION, unit="MB")
    rotate_keep: int = _output("Older output files that stay.", 5, low=1, high=1000, unit="files")
    save: str | None = _output("Write the annotated video to this .mp4.", None, values="file", words=TEXT)

    status_file: str | None = _output(
        "Replace this JSON file every second with how the run is.", None, values="file", words=TEXT
    )

    web: str | None = _web("Serve the page at HOST:PORT, e.g. 127.0.0.1:8080.", None, words=ADDRESS)
    web_token_file: str | None = _web("Token of the page; wanted beyond loopback.", None, values="file", words=TEXT)

    metrics: str | None = _metrics("Serve /metrics and /healthz at HOST:PORT.", None, words=ADDRESS)
    metrics_token_file: str | None = _metrics(
        "Token of whoever reads /metrics; wise beyond loopback.", None, values="file", words=TEXT
    )
    stale_after: float = _metrics("Seconds without a result: not healthy.", 10.0, low=0.5, high=3600, unit="s")

    mqtt: str | None = _mqtt("mqtt://[user@]host[:port], or mqtts://.", None, values="URL", words=TEXT)
    mqtt_password_file: str | None = _mqtt("Password of the MQTT user.", None, values="file", words=TEXT)
    mqtt_ca_file: str | None = _mqtt("Authority that signed the broker.", None, values="file", words=TEXT)
    mqtt_name: str = _mqtt("First level of the topics.", "edgeguard", words=TEXT)
    mqtt_picture_every: float = _mqtt(
        "Publish the picture every so often, not retained; 0 never.", 0.0, low=0, high=86400, unit="s"
    )

    webhook: str | None = key(
        "POST each event there as JSON when it begins and when it ends.", None, words=_HTTP, table="webhook"
    )
    webhook_token_file: str | None = key("Sent as a Bearer token.", None, values="file", words=TEXT, table="webhook")

    alarm_disagreement: float = _alarms("Share of compared results that disagree: alarm; 0 off.", 0.5, low=0, high=1)
    alarm_certified: float = _alarms("Certified share below it: alarm; 0 off.", 0.0, low=0, high=1)
    alarm_unproven: float = _alarms("Share of frames that are not proven: alarm; 0 off.", 0.0, low=0, high=1)
    alarm_certified_patch: int = _alarms(
        "Proven patch smaller than this: alarm; 0 off.", 0, low=0, high=8192, unit="pixels"
    )
    frozen_after: float = _alarms(
        "A camera's picture that is the same for so long: alarm; 0 off.", 30.0, low=0, high=_MILLION, unit="s"
    )
    alarm_window: int = _alarms("Results that an alarm looks at.", 10, low=1, high=10000, unit="results")

    record: str | None = _recorder(
        "Keep source frames around alarms in this folder.", None, values="folder", words=TEXT
    )
    record_seconds: float = _recorder("Before and after an alarm.", 5.0, low=0.1, high=3600, unit="s")
    record_quota_mb: float = _recorder("Of all events.", 500.0, low=1, high=10 * _MILLION, unit="MB")

    hop: float = _sound("Between the beginnings of two windows.", 0.1, low=0.01, high=60, unit="s")
    resample: bool = _sound("Convert sound of another rate instead of refusing it.", False)
    label_on: float = _sound("A label holds whose mean score reaches it.", 0.6, low=0, high=1)
    label_off: float = _sound("It holds no more below it.", 0.4, low=0, high=1)
    quiet: float = _sound("Below it a window is silence, and no label holds.", -50.0, low=-100, high=0, unit="dBFS")
    rules: Rules = Rules()
    cameras: "tuple[Camera, ...]" = ()

    def of_camera(self, camera: "Camera") -> "Settings":
        """The settings of one of several cameras."""
        own = {name: value for name in _OF_CAMERA if (value := getattr(camera, name)) is not None}
        return replace(self, rules=self.rules.of_camera(camera.name), **own)


@dataclass(frozen=True)
class Camera:
    """One of several cameras; what it does not say holds for all."""

    name: str = key("Of the camera: in topics, in results, on the page.", words=NAME)
    source: str = key("As `source` of one camera.", words=TEXT)
    size: str | None = key("Size of pictures to ask of a local camera.", None, words=PICTURE_SIZE)
    key_file: str | None = key("Take only what an edgeguard sensor sealed with it.", None, values="file", words=TEXT)
    camera_fps: float | None = key(
        "Frames a second to ask of a local camera.", None, low=0.1, high=1000, unit="frames/s"
    )
    poll: float | None = key(
        "Ask the http:// URL of a still picture every so often.", None, low=0.05, high=86400, unit="s"
    )
    lost_after: float | None = key("Seconds without a frame: lost.", None, low=0.2, high=3600, unit="s")
    give_up_after: float | None = key("Seconds lost: it ends.", None, low=0, high=_MILLION, unit="s")
    region: str | None = key("Part of the frame.", None, values="X,Y,WIDTH,HEIGHT", words=TEXT)
    fps: float | None = key("Results a second at most.", None, low=0.01, high=1000, unit="results/s")


#: The arrays of tables of a file, and what becomes of each table.
_ARRAYS: dict[str, type] = {"zone": Zone, "mask": Mask, "class": ClassLimits, "event": EventRule}


def file_keys() -> dict[str, Key]:
    """The tables of a configuration file, with their keys. No key stands in two tables that are no arrays."""
    found = file_of(Settings)
    one = "One camera; or a table [[camera]] for each of several."
    found["camera"] = replace(found["camera"], many=keys_of(Camera), description=one)
    return found | {name: Key(name, dict, None, table=keys_of(kind), is_array=True) for name, kind in _ARRAYS.items()}


def tables() -> dict[str, tuple[str, ...]]:
    """The file's tables that are no arrays, and the names of their keys."""
    return {name: tuple(one.table or ()) for name, one in file_keys().items() if not one.is_array}


def read_file(path: Path) -> dict[str, Any]:
    """The checked values of a configuration file, by field name.

    Raises:
        InputError: as `resolve`.
    """
    from edgeguard.settings.reader import read_values  # --help reads no file

    found = read_values(path, file_keys())
    arrays = {name: tuple(kind(**one) for one in found.pop(name, ())) for name, kind in _ARRAYS.items()}
    cameras = found.pop("camera") if isinstance(found.get("camera"), list) else []
    values: dict[str, Any] = {name: value for table in found.values() for name, value in table.items()}
    if cameras:
        values["cameras"] = tuple(Camera(**one) for one in cameras)
    rules = Rules(arrays["zone"], arrays["mask"], arrays["class"], arrays["event"])
    if not rules.is_empty:
        values["rules"] = rules
    try:
        check_rules(values)
        _check_sources(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return values


def check_rules(values: Mapping[str, Any]) -> None:
    """Refuse rules and cameras that contradict each other or the other settings of a file.

    Args:
        values: settings by field name; whoever has one has none of the defaults.

    Raises:
        InputError: two cameras of one name, and see `Rules.check`.
    """
    names = [camera.name for camera in values.get("cameras", ())]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise InputError(f"two tables [[camera]] are called {twice!r}: each needs a name of its own")
    rules: Rules = values.get("rules", Rules())
    # Flags and the environment may add what a file lacks: that is looked at when all is known.
    rules.check(names, track=True, record=True)


def _check_sources(values: Mapping[str, Any]) -> None:
    """Refuse names of sources that no camera, stream or file has, before a service is made that can never run."""
    from edgeguard.camera import mistyped_source  # --help wants no numpy

    for source in (values.get("source"), *(camera.source for camera in values.get("cameras", ()))):
        if source is not None and (mistyped := mistyped_source(source)):
            raise InputError(mistyped)


def resolve(
    flags: Mapping[str, Any], file: Path | None, environment: Mapping[str, str] = os.environ
) -> tuple[Settings, dict[str, Origin]]:
    """Settings by precedence: flag, environment, file, default; and where each value comes from.

    Args:
        flags: given ones by field name; None is not given.
        file: a TOML file, or None.
        environment: variables; unknown ones that begin with `EDGEGUARD_` are not ours to judge.

    Raises:
        InputError: a value out of bounds, an unknown key, a file that is no TOML; with file and line.
    """
    from_file = {} if file is None else read_file(file)
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for name, one in keys_of(Settings).items():
        variable = PREFIX + name.upper()
        if flags.get(name) is not None:
            values[name], origins[name] = checked(one, flags[name], f"--{name.replace('_', '-')}"), "flag"
        elif variable in environment:
            values[name], origins[name] = checked(one, environment[variable], variable), "environment"
        elif name in from_file:
            values[name], origins[name] = from_file[name], "file"
        else:
            values[name], origins[name] = one.default, "default"
    rules, cameras = from_file.get("rules", Rules()), from_file.get("cameras", ())
    settings = Settings(**values, rules=rules, cameras=cameras)
    rules.check([one.name for one in cameras], track=settings.track, record=settings.record is not None)
    return settings, origins
