"""What `run` can be told: settings with bounds, from flags, the environment, a TOML file, and defaults."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from edgeguard.settings import Check, checked, number, one_of, read_settings, text

Origin = Literal["flag", "environment", "file", "default"]
PREFIX = "EDGEGUARD_"


def _scale(value: Any) -> int:
    if value not in (1, 2, 4, "1", "2", "4") or isinstance(value, bool):
        raise ValueError("is 1, 2 or 4")
    return int(value)


def _size(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[1-9]\d{1,3}x[1-9]\d{1,3}", value):
        raise ValueError("wants WIDTHxHEIGHT, like 1280x720")
    return value


def _address(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"([\w.\-]+|\[[0-9a-fA-F:]+\]):\d{1,5}", value):
        raise ValueError("wants HOST:PORT, like 127.0.0.1:8080")
    if int(value.rpartition(":")[2]) > 65535:
        raise ValueError("has a port beyond 65535")
    return value


def _key(table: str, check: Check, default: Any = None) -> Any:
    return field(default=default, metadata={"table": table, "check": check})


_MILLION = 1_000_000


@dataclass(frozen=True)
class Settings:
    """Everything that `run` does beyond the model's contract. Each field is a key of a table of the file, a flag, and
    an environment variable (`EDGEGUARD_` and its name).

    Example:
        >>> Settings(source="0").lost_after
        3.0
    """

    source: str | None = _key("camera", text)
    size: str | None = _key("camera", _size)
    key_file: str | None = _key("camera", text)
    camera_fps: float | None = _key("camera", number(0.1, 1000))
    lost_after: float = _key("camera", number(0.2, 3600), 3.0)
    give_up_after: float = _key("camera", number(0, _MILLION), 0.0)

    model: str | None = _key("model", text)
    guard: str | None = _key("model", text)
    patch_guard: str | None = _key("model", text)
    labels: str | None = _key("model", text)
    delegate: str = _key("model", one_of("auto", "cpu", "edgetpu"), "auto")
    fallback: str | None = _key("model", text)
    threads: int | None = _key("model", number(1, 256, int))
    require_model: str | None = _key("model", text)
    require_guard: str | None = _key("model", text)

    every: int = _key("pipeline", number(1, _MILLION, int), 1)
    fps: float | None = _key("pipeline", number(0.01, 1000))
    region: str | None = _key("pipeline", text)
    drop: str | None = _key("pipeline", one_of("oldest", "newest", "wait"))
    decode_scale: int | None = _key("pipeline", _scale)
    compare_every: int = _key("pipeline", number(0, _MILLION, int), 0)
    frames: int = _key("pipeline", number(0, 10**12, int), 0)

    output: str | None = _key("output", text)
    rotate_mb: float = _key("output", number(0, _MILLION), 0.0)
    rotate_keep: int = _key("output", number(1, 1000, int), 5)
    save: str | None = _key("output", text)

    web: str | None = _key("web", _address)
    web_token_file: str | None = _key("web", text)
    metrics: str | None = _key("metrics", _address)
    stale_after: float = _key("metrics", number(0.5, 3600), 10.0)

    mqtt: str | None = _key("mqtt", text)
    mqtt_password_file: str | None = _key("mqtt", text)
    mqtt_ca_file: str | None = _key("mqtt", text)
    mqtt_name: str = _key("mqtt", text, "edgeguard")

    alarm_disagreement: float = _key("alarms", number(0, 1), 0.5)
    alarm_certified: float = _key("alarms", number(0, 1), 0.0)
    alarm_window: int = _key("alarms", number(1, 10_000, int), 10)

    record: str | None = _key("recorder", text)
    record_seconds: float = _key("recorder", number(0.1, 3600), 5.0)
    record_quota_mb: float = _key("recorder", number(1, 10 * _MILLION), 500.0)


def tables() -> dict[str, dict[str, Check]]:
    """The file's tables, their keys, and how each value is checked."""
    found: dict[str, dict[str, Check]] = {}
    for one in fields(Settings):
        found.setdefault(one.metadata["table"], {})[one.name] = one.metadata["check"]
    return found


def read_file(path: Path) -> dict[str, Any]:
    """The checked values of a configuration file, by field name.

    Raises:
        InputError: as `resolve`.
    """
    return read_settings(path, tables())


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
    for one in fields(Settings):
        name, check = one.name, one.metadata["check"]
        variable = PREFIX + name.upper()
        if flags.get(name) is not None:
            values[name], origins[name] = checked(check, flags[name], f"--{name.replace('_', '-')}"), "flag"
        elif variable in environment:
            values[name], origins[name] = checked(check, environment[variable], variable), "environment"
        elif name in from_file:
            values[name], origins[name] = from_file[name], "file"
        else:
            values[name], origins[name] = one.default, "default"
    return Settings(**values), origins
