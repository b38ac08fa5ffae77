"""The guard's profile: what the codec does, without where and how often (that belongs to the contract)."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.color import Color
from edgeguard.dct.design import design_tables
from edgeguard.dct.slack import provable, smallest_steps
from edgeguard.errors import InputError, ProfileError
from edgeguard.jpeg.tables import ANNEX_K_CHROMA, ANNEX_K_LUMA, Table, corner_table, ijg_scaled
from edgeguard.settings.check import checked, shown
from edgeguard.settings.declare import Key, key, keys_of, version
from edgeguard.settings.lines import line_of
from edgeguard.settings.reader import check_document, parse_toml, place
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import LARGEST_SETTINGS, read_bounded
from edgeguard.system.located import located

PRESETS = ("fd", "fd-paper", "fd-jpeg", "jpeg:Q", "proof-1", "proof-2", "proof-3")
#: Levels in transit, slack and room of the tables that come from the proof (docs/guard.md has their measured frontier).
_PROOFS = {"proof-1": (1, 1.0, 16), "proof-2": (2, 1.0, 8), "proof-3": (3, 1.0, 12)}
SCHEMA = 1
MAX_ROOM = 64

#: Which pass a frame goes through. `first` ends, and `second` begins, with the levels that travel between them, which
#: keep the profile's room; `only` is both in one. Without room and proof levels all three are the same function.
Pass = Literal["only", "first", "second"]

_STEP = {"type": "integer", "minimum": 1, "maximum": 255}
_TABLE = {"type": "array", "items": _STEP, "minItems": 64, "maxItems": 64}
_TABLES = {
    "type": "array",
    "anyOf": [_TABLE, *({"type": "array", "items": _TABLE, "minItems": count, "maxItems": count} for count in (1, 3))],
}


def _tables(value: list[Any]) -> tuple[Table, ...]:
    """One flat list of steps, or lists of them, as tables."""
    tables = value if value and isinstance(value[0], list) else [value]
    if not all(isinstance(table, list) for table in tables):
        raise ValueError("must be a list of 64 steps, or three such lists")
    found = tuple(tuple(table) for table in tables)
    for table in found:
        _check_table(table)
    return found


@dataclass(frozen=True)
class ProfileFile:
    """The file of a profile; `GuardProfile` is what is made of it."""

    schema: Literal[1] = version(SCHEMA)
    color: Color = key(
        "rgb and gray quantize decoded frames; the others are real JPEG, with the subsampling in their name.",
        wants=f"must be one of {', '.join(get_args(Color))}",
    )
    tables: list[Any] = key(
        "Quantization steps in natural order: one table, or one for each component.",
        wants="must be a list of 64 steps, or three such lists",
        values="a list of 64 whole numbers from 1 to 255, or three",
        check=_tables,
        schema=_TABLES,
    )
    name: str = key("For people; not part of the hash.", "", wants="must be text")
    tie: Literal["away"] = key(
        "Rounding of coefficients that fall half-way, as libjpeg does.", "away", wants='must be "away"'
    )
    chroma_upsampling: Literal["fancy"] = key(
        "How a decoder enlarges subsampled chroma: libjpeg's triangle filter.", "fancy", wants='must be "fancy"'
    )
    edge: Literal["replicate"] = key(
        "How frames are padded whose sides are no multiples of the block.", "replicate", wants='must be "replicate"'
    )
    room: int = key(
        "rgb and gray: levels 0..255 travel as room..255 - room, so that pass 1 does not clip; pass 2 undoes it.",
        0,
        low=0,
        high=MAX_ROOM,
    )
    proof_levels: int = key(
        "rgb and gray: pass 1 rounds so that so many levels alter no block, where it can; 0: to the nearest.",
        0,
        low=0,
        high=4,
    )


def file_keys() -> dict[str, Key]:
    """The keys of a profile's file."""
    return keys_of(ProfileFile)


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
        room: `rgb` and `gray` only: levels 0..255 are mapped to room..255 - room before the transform of pass 1, and
            back after pass 2, so that what travels between them is not clipped.
        proof_levels: `rgb` and `gray` only: pass 1 rounds its pixels so that no change of this many levels alters a
            block, where few changes by one level can have it so. 0: to the nearest level.

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
    room: int = 0
    proof_levels: int = 0

    def __post_init__(self) -> None:
        declared = file_keys()
        for name in ("color", "tie", "chroma_upsampling", "edge", "room", "proof_levels"):
            try:
                checked(declared[name], getattr(self, name), name)
            except InputError as error:
                raise ProfileError(str(error)) from error
        if len(self.tables) not in (1, 3) or (self.color == "gray" and len(self.tables) == 3):
            raise ProfileError(f"tables must be one list of 64 steps{'' if self.color == 'gray' else ' or three'}")
        for table in self.tables:
            try:
                _check_table(table)
            except ValueError as error:
                raise ProfileError(f"tables {error}") from error
        for name in ("room", "proof_levels"):
            if getattr(self, name) and not self.is_pixel_domain:
                raise ProfileError(f"{name} is for rgb and gray profiles; a {self.color} profile codes real JPEG")
        if self.proof_levels:
            _check_provable(self)

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
        """One of `fd`, `fd-paper`, `fd-jpeg`, `jpeg:Q` with Q = 1..100, `proof-1`, `proof-2`, `proof-3`.

        `none` is the absence of a profile and therefore not a preset here; see `resolve_profile`.
        """
        if name == "fd":
            return cls(name, "rgb", (corner_table(24, 32),))
        if name == "fd-paper":
            return cls(name, "rgb", (corner_table(20, 30),))
        if name == "fd-jpeg":
            return cls(name, "ycbcr420", (corner_table(24, 32),))
        if name in _PROOFS:
            levels, slack, room = _PROOFS[name]
            return cls(name, "rgb", (smallest_steps(levels, slack),), room=room, proof_levels=levels)
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
        return replace(self, name=f"{self.name} x{factor:g}", tables=tables, proof_levels=0)

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
        """The profile as plain data, in the order of the file format; what is 0 by default is left out."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.name,
            "color": self.color,
            "tables": [list(table) for table in self.tables],
            "tie": self.tie,
            "chroma_upsampling": self.chroma_upsampling,
            "edge": self.edge,
        }
        return data | {name: value for name in ("room", "proof_levels") if (value := getattr(self, name))}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "GuardProfile":
        """The inverse of `to_dict`. `tables` may also be one flat list of 64 steps.

        Raises:
            ProfileError: an unknown key or schema, a missing key, or a value out of range.
        """
        if not isinstance(data, dict):
            raise ProfileError(f"a profile is a table of keys, got {shown(data)}")
        return cls._of(data, "", "")

    @classmethod
    def _of(cls, data: dict[str, Any], origin: str, text: str) -> "GuardProfile":
        """See `from_dict`; `origin` and `text` are those of the file, for errors."""
        try:
            values = check_document(data, file_keys(), origin, text)
        except InputError as error:
            raise ProfileError(str(error)) from error
        del values["schema"]
        try:
            return cls(**{"name": "", **values})
        except ProfileError as error:  # what one key says of another: a gray profile has one table
            first = str(error).split()[0]
            where = line_of(text, (first if first in ("room", "proof_levels") else "tables",))
            raise ProfileError(f"{place(origin, where)}{error}") from error

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
            *(f"{name} = {value}" for name in ("room", "proof_levels") if (value := getattr(self, name))),
        ]
        return "\n".join(lines) + "\n"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "GuardProfile":
        """Read a profile file.

        Raises:
            ProfileError: with file and line, when it cannot be read or does not hold a profile.
        """
        try:
            text = read_bounded(located(os.fspath(path)), LARGEST_SETTINGS, "the guard profile").decode("utf-8")
        except InputError as error:
            raise ProfileError(str(error)) from error
        except UnicodeDecodeError as error:
            raise ProfileError(f"cannot read the guard profile {path}: it is not UTF-8 text") from error
        try:
            data = parse_toml(text)
        except ValueError as error:
            raise ProfileError(f"{path}: not valid TOML: {error}") from error
        return cls._of(data, str(path), text)


def resolve_profile(text: str) -> GuardProfile | None:
    """A preset's name, the path of a .toml profile, or `none` (which gives None).

    Example:
        >>> resolve_profile("none") is None
        True
    """
    if text == "none":
        return None
    return GuardProfile.load(text) if is_profile_file(text) else GuardProfile.preset(text)


def is_profile_file(text: str) -> bool:
    """Whether `resolve_profile` reads a file of this name."""
    return text.endswith(".toml") or os.sep in text


def _check_provable(profile: GuardProfile) -> None:
    """Raises ProfileError where the steps are too small for a proof at the profile's levels."""
    for table in profile.tables:
        if not provable(table, profile.proof_levels):
            raise ProfileError(
                f"steps too small for proof_levels {profile.proof_levels}: "
                f"edgeguard guard design --certify {profile.proof_levels} makes a table"
            )


def _check_table(table: Table) -> None:
    """Raises ValueError for what is no table; the text follows `tables`."""
    if len(table) != 64:
        raise ValueError(f"have 64 steps each, one has {len(table)}")
    for step in table:
        if not isinstance(step, int) or isinstance(step, bool) or not 1 <= step <= 255:
            raise ValueError(f"have steps that are whole numbers 1..255, one is {shown(step)}")
