"""What `run` can be told: settings with bounds, from flags, the environment, a TOML file, and defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from edgeguard.settings import Address, PictureSize, Text, checked, key, keys_of, read_values, tables_of

Origin = Literal["flag", "environment", "file", "default"]
PREFIX = "EDGEGUARD_"
_MILLION = 1_000_000


@dataclass(frozen=True)
class CameraSettings:
    """`[camera]`."""

    source: (
        Annotated[
            Text,
            key("Image, folder, video, http:// (MJPEG), rtsp://, picamera2:N, serial:..., synthetic:cards?fps=15."),
        ]
        | None
    ) = None
    size: Annotated[PictureSize, key("Size of pictures to ask of a local camera.")] | None = None
    key_file: Annotated[Text, key("Take only what an edgeguard sensor sealed with it.", values="file")] | None = None
    camera_fps: (
        Annotated[float, key("Frames a second to ask of a local camera.", low=0.1, high=1000, unit="frames/s")] | None
    ) = None
    lost_after: Annotated[float, key("Seconds without a frame: lost.", low=0.2, high=3600, unit="s")] = 3.0
    give_up_after: Annotated[float, key("Seconds lost: end; 0 never.", low=0, high=_MILLION, unit="s")] = 0.0


@dataclass(frozen=True)
class ModelSettings:
    """`[model]`."""

    model: Annotated[Text, key("A .tflite file; by default the bundled card model.", values="file")] | None = None
    guard: Annotated[Text, key("Preset, .toml profile or none, instead of the contract's.")] | None = None
    patch_guard: (
        Annotated[Text, key("lgs, entropy, chunks, recompression (an alarm) or none, instead of the contract's.")]
        | None
    ) = None
    labels: Annotated[Text, key("Labels, one a line, for a model that carries none.", values="file")] | None = None
    delegate: Annotated[Literal["auto", "cpu", "edgetpu"], key("What computes.")] = "auto"
    fallback: Annotated[Text, key("A .tflite for the CPU, used when the Edge TPU cannot be.", values="file")] | None = (
        None
    )
    threads: Annotated[int, key("CPU threads of the model.", low=1, high=256)] | None = None
    require_model: (
        Annotated[Text, key("Refuse a model file with another SHA-256.", values="64 hexadecimal digits")] | None
    ) = None
    require_guard: (
        Annotated[Text, key("Refuse a guard profile with another SHA-256.", values="64 hexadecimal digits")] | None
    ) = None


@dataclass(frozen=True)
class PipelineSettings:
    """`[pipeline]`."""

    every: Annotated[int, key("Infer on every so many frames.", low=1, high=_MILLION, unit="frames")] = 1
    fps: Annotated[float, key("Results a second at most.", low=0.01, high=1000, unit="results/s")] | None = None
    region: Annotated[Text, key("Part of the frame, snapped to the grid.", values="X,Y,WIDTH,HEIGHT")] | None = None
    drop: (
        Annotated[
            Literal["oldest", "newest", "wait"],
            key("A queue instead of the latest frame, and what goes when it is full."),
        ]
        | None
    ) = None
    decode_scale: (
        Annotated[
            Literal[1, 2, 4],
            key("Decode JPEGs at 1/1, 1/2 or 1/4. Only for ycbcr profiles.", wants="is 1, 2 or 4"),
        ]
        | None
    ) = None
    compare_every: Annotated[
        int, key("--compare on every so many results; 0 off.", low=0, high=_MILLION, unit="results")
    ] = 0
    frames: Annotated[int, key("End after so many results; 0 never.", low=0, high=10**12, unit="results")] = 0


@dataclass(frozen=True)
class OutputSettings:
    """`[output]`."""

    output: Annotated[Text, key("JSON lines to this file, or - for standard output.", values="file, or -")] | None = (
        None
    )
    rotate_mb: Annotated[
        float, key("Begin a new output file after so many; 0 never.", low=0, high=_MILLION, unit="MB")
    ] = 0.0
    rotate_keep: Annotated[int, key("Older output files that stay.", low=1, high=1000, unit="files")] = 5
    save: Annotated[Text, key("Write the annotated video to this .mp4.", values="file")] | None = None


@dataclass(frozen=True)
class WebSettings:
    """`[web]`."""

    web: Annotated[Address, key("Serve the page at HOST:PORT, e.g. 127.0.0.1:8080.")] | None = None
    web_token_file: Annotated[Text, key("Token of the page; wanted beyond loopback.", values="file")] | None = None


@dataclass(frozen=True)
class MetricsSettings:
    """`[metrics]`."""

    metrics: Annotated[Address, key("Serve /metrics and /healthz at HOST:PORT.")] | None = None
    stale_after: Annotated[float, key("Seconds without a result: not healthy.", low=0.5, high=3600, unit="s")] = 10.0


@dataclass(frozen=True)
class MqttSettings:
    """`[mqtt]`."""

    mqtt: Annotated[Text, key("mqtt://[user@]host[:port], or mqtts://.", values="URL")] | None = None
    mqtt_password_file: Annotated[Text, key("Password of the MQTT user.", values="file")] | None = None
    mqtt_ca_file: Annotated[Text, key("Authority that signed the broker.", values="file")] | None = None
    mqtt_name: Annotated[Text, key("First level of the topics.")] = "edgeguard"


@dataclass(frozen=True)
class AlarmSettings:
    """`[alarms]`."""

    alarm_disagreement: Annotated[
        float, key("Share of compared results that disagree: alarm; 0 off.", low=0, high=1)
    ] = 0.5
    alarm_certified: Annotated[float, key("Certified share below it: alarm; 0 off.", low=0, high=1)] = 0.0
    alarm_window: Annotated[int, key("Results that an alarm looks at.", low=1, high=10_000, unit="results")] = 10


@dataclass(frozen=True)
class RecorderSettings:
    """`[recorder]`."""

    record: Annotated[Text, key("Keep source frames around alarms in this folder.", values="folder")] | None = None
    record_seconds: Annotated[float, key("Before and after an alarm.", low=0.1, high=3600, unit="s")] = 5.0
    record_quota_mb: Annotated[float, key("Of all events.", low=1, high=10 * _MILLION, unit="MB")] = 500.0


@dataclass(frozen=True)
class RunFile:
    """A configuration file of `run`: its tables. No key stands in two of them."""

    camera: CameraSettings = field(default_factory=CameraSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    pipeline: PipelineSettings = field(default_factory=PipelineSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    web: WebSettings = field(default_factory=WebSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    alarms: AlarmSettings = field(default_factory=AlarmSettings)
    recorder: RecorderSettings = field(default_factory=RecorderSettings)


# A dataclass takes over the fields of its bases from the last to the first.
@dataclass(frozen=True)
class Settings(
    RecorderSettings,
    AlarmSettings,
    MqttSettings,
    MetricsSettings,
    WebSettings,
    OutputSettings,
    PipelineSettings,
    ModelSettings,
    CameraSettings,
):
    """Everything that `run` does beyond the model's contract. Each field is a key of a table of the file, a flag, and
    an environment variable (`EDGEGUARD_` and its name).

    Example:
        >>> Settings(source="0").lost_after
        3.0
    """


def tables() -> dict[str, tuple[str, ...]]:
    """The file's tables and the names of their keys."""
    return {name: tuple(keys_of(table)) for name, table in tables_of(RunFile).items()}


def read_file(path: Path) -> dict[str, Any]:
    """The checked values of a configuration file, by field name.

    Raises:
        InputError: as `resolve`.
    """
    return {name: value for table in read_values(path, RunFile).values() for name, value in table.items()}


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
    keys = keys_of(Settings)
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for one in fields(Settings):
        name = one.name
        variable = PREFIX + name.upper()
        if flags.get(name) is not None:
            values[name], origins[name] = checked(keys[name], flags[name], f"--{name.replace('_', '-')}"), "flag"
        elif variable in environment:
            values[name], origins[name] = checked(keys[name], environment[variable], variable), "environment"
        elif name in from_file:
            values[name], origins[name] = from_file[name], "file"
        else:
            values[name], origins[name] = one.default, "default"
    return Settings(**values), origins
