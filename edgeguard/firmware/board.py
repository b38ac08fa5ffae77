"""Board profiles: one TOML file each, of ours or the user's, checked against a schema."""

import difflib
import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from edgeguard.errors import InputError

SCHEMA = 1
Control = Literal["table_source", "table_patch", "quality", "qs", "levels", "bitrate", "none"]
Order = Literal["natural", "zigzag", "fixed"]
Rounding = Literal["none", "vc8000"]
Checked = Literal["read", "compiled", "run", "device"]
SNIPPETS = ("openmv-stream", "openmv-vcp", "esp-register", "esp-encoder", "picamera2", "v4l2-encoder")
#: In a wheel inside the package, in a checkout at its top.
INSTALLED = next(
    (folder for folder in (Path(__file__).parents[level] / "firmware_configs" for level in (1, 2)) if folder.is_dir()),
    Path(__file__).parents[1] / "firmware_configs",
)


@dataclass(frozen=True)
class Board:
    """What a board's JPEG encoder can be told.

    Attributes:
        board, title: its name here, and for people.
        control: `table_source` tables are compiled in, `table_patch` with a small patch, `quality` an IJG quality,
            `qs` one register that scales the encoder's own tables, `levels` a few fixed settings, `bitrate`, `none`.
        order: of the tables that it takes; `fixed` where it takes none.
        neutral_quality: the IJG quality at which a table is used as it stands.
        range: of the setting; `lower_is_better` says which end is the finer one.
        rounding: what the hardware does to steps.
        subsampling: of its JPEGs; `any` where it can be chosen, `unknown` where nobody has read it.
        format: what `export` writes: a C fragment, a Pillow or a sensor snippet.
        luma_symbol, chroma_symbol, c_type: of the C fragment; `apply` is the line that uses it.
        registers: how a setting is made; VALUE stands for it.
        snippets: code for the board itself, by the names in `SNIPPETS`.
        host: how `apply` reaches it: `vc0706` or `openmv` over a serial port, `v4l2` through a device's control.
        source_file, source_commit: where this was read.
        checked: read, compiled (the export went through a compiled encoder), run (on a host), device.
        note: what else one has to know.
    """

    board: str
    title: str
    control: Control
    order: Order
    subsampling: str
    source_file: str
    source_commit: str
    checked: Checked
    neutral_quality: int | None = None
    range: tuple[int, int] | None = None
    lower_is_better: bool = False
    rounding: Rounding = "none"
    format: Literal["c", "pillow", "sensor"] | None = None
    luma_symbol: str = ""
    chroma_symbol: str = ""
    c_type: str = ""
    apply: str = ""
    registers: tuple[str, ...] = ()
    snippets: tuple[str, ...] = ()
    host: Literal["vc0706", "openmv", "v4l2"] | None = None
    note: str = ""

    @property
    def takes_tables(self) -> bool:
        """Whether exact tables can be set."""
        return self.control in ("table_source", "table_patch")


def user_folder() -> Path:
    """Where a user's own boards are looked for first."""
    return Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "edgeguard" / "firmware_configs"


def boards() -> dict[str, Board]:
    """All boards by name; a user's own file replaces one of ours.

    Raises:
        InputError: a file that is no board profile, with its name.
    """
    found: dict[str, Board] = {}
    for folder in (INSTALLED, user_folder()):
        for path in sorted(folder.glob("*.toml")):
            one = read_board(path)
            found[one.board] = one
    return found


def board(name: str) -> Board:
    """A board by name.

    Raises:
        InputError: there is none; the nearest name is suggested.
    """
    known = boards()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.4)
        hint = f": do you mean {near[0]}?" if near else " (edgeguard firmware list)"
        raise InputError(f"there is no board {name!r}{hint}")
    return known[name]


def read_board(path: Path) -> Board:
    """A board profile from its file.

    Raises:
        InputError: with the file's name and what is wrong.
    """
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    if data.pop("schema", None) != SCHEMA:
        raise InputError(f"{path}: this version reads schema {SCHEMA}")
    if unknown := sorted(set(data) - {one.name for one in fields(Board)}):
        raise InputError(f"{path}: unknown key {unknown[0]!r}")
    lists = {key: tuple(data[key]) for key in ("range", "registers", "snippets") if isinstance(data.get(key), list)}
    try:
        made = Board(**{**data, **lists})
    except TypeError as error:
        raise InputError(f"{path}: {str(error).replace('Board.__init__() ', '')}") from error
    _check(made, path)
    return made


def _check(made: Board, path: Path) -> None:
    checks = {
        "control": made.control in get_args(Control),
        "order": made.order in get_args(Order),
        "rounding": made.rounding in get_args(Rounding),
        "checked": made.checked in get_args(Checked),
        "subsampling": made.subsampling in ("gray", "444", "422", "420", "any", "unknown"),
        "format": not made.takes_tables or made.format in ("c", "pillow", "sensor"),
        "neutral_quality": not made.takes_tables or made.neutral_quality in range(1, 101),
        "luma_symbol": made.format != "c" or all(s.isidentifier() for s in (made.luma_symbol, made.chroma_symbol)),
        "snippets": set(made.snippets) <= set(SNIPPETS),
        "host": made.host in (None, "vc0706", "openmv", "v4l2"),
        "range": made.range is None or (len(made.range) == 2 and made.range[0] < made.range[1]),
    }
    for key, good in checks.items():
        if not good:
            raise InputError(f"{path}: {key} is {getattr(made, key)!r}")
