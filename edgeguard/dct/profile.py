"""The guard's profile: what the codec does, without where and how often (that belongs to the contract)."""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.color import Color
from edgeguard.dct.design import design_tables
from edgeguard.errors import ProfileError
from edgeguard.jpeg.tables import ANNEX_K_CHROMA, ANNEX_K_LUMA, Table, corner_table, ijg_scaled
from edgeguard.system.files import write_bytes

PRESETS = ("fd", "fd-paper", "fd-jpeg", "jpeg:Q")
SCHEMA = 1
_KEYS = ("schema", "name", "color", "tables", "tie", "chroma_upsampling", "edge")


@dataclass(frozen=True)
class GuardProfile:
    """A defensive JPEG-style codec: colour transform, quantisation tables and their rounding.

    Attributes:
        name: for people; not part of the hash.
        color: `rgb` and `gray` quantise the DCT of the unshifted levels 0..255 of decoded frames; the `ycbcr*`
            colours are real JPEG (level-shifted by 128), with the subsampling in their name.
        tables: one table of 64 steps (natural order, 1..255), or three (one for each component).
        tie: rounding of coefficients that fall half-way: away from zero, as libjpeg does.
        chroma_upsampling: how a decoder enlarges subsampled chroma: libjpeg's triangle filter.
        edge: how frames whose sides are not multiples of the block are padded.

    Example:
        >>> GuardProfile.preset("fd").tables[0][:5]
        (24, 24, 24, 24, 32)
    """

    name: str
    color: Color
    tables: tuple[Table, ...]
    tie: Literal["away"] = "away"
    chroma_upsampling: Literal["fancy"] = "fancy"
    edge: Literal["replicate"] = "replicate"

    def __post_init__(self) -> None:
        if self.color not in get_args(Color):
            raise ProfileError(f"color must be one of {', '.join(get_args(Color))}, got {self.color!r}")
        if len(self.tables) not in (1, 3) or (self.color == "gray" and len(self.tables) == 3):
            raise ProfileError(f"tables must be one list of 64 steps{'' if self.color == 'gray' else ' or three'}")
        for table in self.tables:
            _check_table(table)
        for key, value, only in (
            ("tie", self.tie, "away"),
            ("chroma_upsampling", self.chroma_upsampling, "fancy"),
            ("edge", self.edge, "replicate"),
        ):
            if value != only:
                raise ProfileError(f'{key} must be "{only}", got {value!r}')

    @property
    def component_tables(self) -> tuple[Table, Table, Table]:
        """Three tables, in the order of the components (R, G, B or Y, Cb, Cr)."""
        first = self.tables[0]
        return (first, first, first) if len(self.tables) == 1 else (first, self.tables[1], self.tables[2])

    @cached_property
    def table_bytes(self) -> bytes:
        """The three tables, one byte a step, natural order: what the native library takes."""
        return b"".join(bytes(table) for table in self.component_tables)

    @property
    def is_pixel_domain(self) -> bool:
        """True for the colours that the integer kernel sanitises, False for real JPEG."""
        return self.color in ("rgb", "gray")

    @property
    def sha256(self) -> str:
        """The hash of the canonical JSON (keys sorted, no spaces, `name` left out)."""
        fields = {key: value for key, value in self.to_dict().items() if key != "name"}
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def preset(cls, name: str) -> "GuardProfile":
        """One of `fd`, `fd-paper`, `fd-jpeg`, `jpeg:Q` with Q = 1..100.

        `none` is the absence of a profile and therefore not a preset here; see `resolve_profile`.
        """
        if name == "fd":
            return cls(name, "rgb", (corner_table(24, 32),))
        if name == "fd-paper":
            return cls(name, "rgb", (corner_table(20, 30),))
        if name == "fd-jpeg":
            return cls(name, "ycbcr420", (corner_table(24, 32),))
        if match := re.fullmatch(r"jpeg:(\d{1,3})", name):
            quality = int(match[1])
            if not 1 <= quality <= 100:
                raise ProfileError(f"the quality of a jpeg:Q preset must be 1..100, got {quality}")
            luma, chroma = ijg_scaled(ANNEX_K_LUMA, quality), ijg_scaled(ANNEX_K_CHROMA, quality)
            return cls(name, "ycbcr420", (luma, chroma, chroma))
        raise ProfileError(f"no guard preset {name!r}; there are {', '.join(PRESETS)} and none, or give a .toml file")

    def multiplied(self, factor: float) -> "GuardProfile":
        """The profile with all steps `factor` times as large, rounded, 1..255.

        Example:
            >>> GuardProfile.preset("fd").multiplied(2).tables[0][:5]
            (48, 48, 48, 48, 64)
        """
        tables = tuple(tuple(min(max(round(step * factor), 1), 255) for step in table) for table in self.tables)
        return GuardProfile(f"{self.name} x{factor:g}", self.color, tables)

    @classmethod
    def design(
        cls,
        images: Iterable[NDArray[np.uint8]],
        as_bands: int = 16,
        as_step: int = 24,
        md_step: int = 32,
        color: Color = "rgb",
        by: Literal["corner", "sigma"] = "corner",
    ) -> "GuardProfile":
        """Feature Distillation's tables for the given images; see `edgeguard.dct.design.design_tables`."""
        tables = design_tables(images, as_bands=as_bands, as_step=as_step, md_step=md_step, color=color, by=by)
        return cls(f"designed-{by}-{as_bands}-{as_step}-{md_step}", color, tables)

    def to_dict(self) -> dict[str, Any]:
        """The profile as plain data, in the order of the file format."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "color": self.color,
            "tables": [list(table) for table in self.tables],
            "tie": self.tie,
            "chroma_upsampling": self.chroma_upsampling,
            "edge": self.edge,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "GuardProfile":
        """The inverse of `to_dict`. `tables` may also be one flat list of 64 steps.

        Raises:
            ProfileError: an unknown key or schema, a missing key, or a value out of range.
        """
        if unknown := sorted(set(data) - set(_KEYS)):
            raise ProfileError(f"unknown key {unknown[0]!r}")
        if data.get("schema") != SCHEMA or isinstance(data.get("schema"), bool):
            raise ProfileError(f"schema must be {SCHEMA}, got {data.get('schema')!r}")
        for key in ("color", "tables"):
            if key not in data:
                raise ProfileError(f"key {key!r} is missing")
        options = {key: data[key] for key in ("tie", "chroma_upsampling", "edge") if key in data}
        name = data.get("name", "")
        if not isinstance(name, str):
            raise ProfileError(f"name must be text, got {name!r}")
        return cls(name, data["color"], _parse_tables(data["tables"]), **options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as TOML, whole or not at all."""
        write_bytes(Path(path), self.to_toml().encode())

    def to_toml(self) -> str:
        """The profile as TOML text: the tables as 8x8 grids."""
        name = json.dumps(self.name, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML's basic string
        lines = [f"schema = {SCHEMA}", f"name = {name}", f'color = "{self.color}"', "tables = ["]
        for table in self.tables:
            rows = (", ".join(f"{step:3d}" for step in table[row : row + 8]) for row in range(0, 64, 8))
            lines += ["  [", *(f"    {row}," for row in rows), "  ],"]
        lines += [
            "]",
            f'tie = "{self.tie}"',
            f'chroma_upsampling = "{self.chroma_upsampling}"',
            f'edge = "{self.edge}"',
        ]
        return "\n".join(lines) + "\n"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "GuardProfile":
        """Read a profile file.

        Raises:
            ProfileError: with file and line, when it cannot be read or does not hold a profile.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ProfileError(f"cannot read the guard profile {path}: {reason}") from error
        try:
            return cls.from_dict(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ProfileError(f"{path}: not valid TOML: {error}") from error
        except ProfileError as error:
            raise ProfileError(f"{path}{_line_of(text, str(error))}: {error}") from error


def resolve_profile(text: str) -> GuardProfile | None:
    """A preset's name, the path of a .toml profile, or `none` (which gives None).

    Example:
        >>> resolve_profile("none") is None
        True
    """
    if text == "none":
        return None
    if text.endswith(".toml") or os.sep in text:
        return GuardProfile.load(text)
    return GuardProfile.preset(text)


def _parse_tables(value: Any) -> tuple[Table, ...]:
    if not isinstance(value, list) or not value:
        raise ProfileError("tables must be a list of 64 steps, or three such lists")
    tables = value if isinstance(value[0], list) else [value]
    if not all(isinstance(table, list) for table in tables):
        raise ProfileError("tables must be a list of 64 steps, or three such lists")
    return tuple(tuple(table) for table in tables)


def _check_table(table: Table) -> None:
    if len(table) != 64:
        raise ProfileError(f"tables: each table has 64 steps, got {len(table)}")
    for step in table:
        if not isinstance(step, int) or isinstance(step, bool) or not 1 <= step <= 255:
            raise ProfileError(f"tables: a step is a whole number 1..255, got {step!r}")


def _line_of(text: str, message: str) -> str:
    """`:N` for the first line that defines a key named in the message, or nothing."""
    for number, line in enumerate(text.splitlines(), start=1):
        key = line.split("=", 1)[0].strip().strip("\"'")
        if "=" in line and key and re.search(rf"(^|\W){re.escape(key)}(\W|$)", message):
            return f":{number}"
    return ""
