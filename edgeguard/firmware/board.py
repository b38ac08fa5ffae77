"""Board profiles: one TOML file each, of ours or the user's, checked against a schema."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edgeguard.errors import InputError
from edgeguard.settings.check import shown
from edgeguard.settings.declare import Key, key, keys_of, version
from edgeguard.settings.lines import line_of
from edgeguard.settings.reader import Problem, check_document, place, read_toml

SCHEMA = 1
Control = Literal["table_source", "table_patch", "quality", "qs", "levels", "bitrate", "none"]
Order = Literal["natural", "zigzag", "fixed"]
Rounding = Literal["none", "vc8000"]
Checked = Literal["read", "compiled", "run", "device"]
Format = Literal["c", "pillow", "sensor"]
Snippet = Literal["openmv-stream", "openmv-vcp", "esp-register", "esp-encoder", "picamera2", "v4l2-encoder"]
SNIPPETS: tuple[Snippet, ...] = get_args(Snippet)
#: In a wheel inside the package, in a checkout at its top.
INSTALLED = next(
    (folder for folder in (Path(__file__).parents[level] / "firmware_configs" for level in (1, 2)) if folder.is_dir()),
    Path(__file__).parents[1] / "firmware_configs",
)


def _ordered(ends: tuple[int, int]) -> tuple[int, int]:
    if ends[0] >= ends[1]:
        raise ValueError("wants the lower end first")
    return ends


@dataclass(frozen=True)
class Board:
    """What a board's JPEG encoder can be told: the keys of its file."""

    board: str = key("Its name here.")
    title: str = key("Its name for people.")
    control: Control = key(
        "What can be set: compiled-in tables (table_source, table_patch with a patch), an IJG quality, one register "
        "that scales the encoder's own tables (qs), a few fixed levels, a bit rate, or nothing."
    )
    order: Order = key("Of the tables that it takes; fixed where it takes none.")
    subsampling: Literal["gray", "444", "422", "420", "any", "unknown"] = key(
        "Of its JPEGs; any where it can be chosen, unknown where nobody has read it."
    )
    source_file: str = key("Where this was read: the file.")
    source_commit: str = key("Where this was read: the commit or the date.")
    checked: Checked = key(
        "How far: read, compiled (the export went through a compiled encoder), run (on a host), device."
    )
    neutral_quality: int | None = key("The IJG quality at which a table is used as it stands.", None, low=1, high=100)
    range: tuple[int, int] | None = key(
        "Of the setting.", None, wants="wants two whole numbers", values="[LOW, HIGH]", check=_ordered
    )
    lower_is_better: bool = key("Whether the lower end of the range is the finer one.", False)
    rounding: Rounding = key("What the hardware does to steps.", "none")
    format: Format | None = key("What export writes: a C fragment, a Pillow or a sensor snippet.", None)
    luma_symbol: str = key("Of the C fragment: the luma table.", "", values="identifier")
    chroma_symbol: str = key("Of the C fragment: the chroma table.", "", values="identifier")
    c_type: str = key("Of the C fragment: the type of a step.", "")
    apply: str = key("The line that uses the C fragment.", "")
    registers: tuple[str, ...] = key("How a setting is made; VALUE stands for it.", (), values="list of texts")
    snippets: tuple[Snippet, ...] = key("Code for the board itself.", (), values=f"list of {', '.join(SNIPPETS)}")
    host: Literal["vc0706", "openmv", "v4l2"] | None = key(
        "How apply reaches it: over a serial port (vc0706, openmv), or through a device's control (v4l2).", None
    )
    note: str = key("What else one has to know.", "")

    @property
    def takes_tables(self) -> bool:
        """Whether exact tables can be set."""
        return self.control in ("table_source", "table_patch")


@dataclass(frozen=True, kw_only=True)
class BoardFile(Board):
    """A board's file."""

    schema: Literal[1] = version(SCHEMA)


def file_keys() -> dict[str, Key]:
    """The keys of a board's file."""
    return keys_of(BoardFile)


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
        InputError: there is none; the nearest names are suggested, of a family all of its boards.
    """
    known = boards()
    if name not in known:
        family = [one for one in known if one.split("-")[0] == name.split("-")[0]]
        near = difflib.get_close_matches(name, family or known, 3 if not family else len(family), 0 if family else 0.4)
        hint = f": do you mean {' or '.join(near)}?" if near else " (edgeguard firmware list)"
        raise InputError(f"there is no board {name!r}{hint}")
    return known[name]


def read_board(path: Path) -> Board:
    """A board profile from its file.

    Raises:
        InputError: with the file's name and what is wrong.
    """
    text, data = read_toml(path)
    values = check_document(data, file_keys(), str(path), text, _sentence)
    del values["schema"]
    made = Board(**values)
    for name, good in _fits(made).items():
        if not good:
            raise InputError(f"{place(str(path), line_of(text, (name,)))}{name} is {shown(getattr(made, name))}")
    return made


def _sentence(problem: Problem) -> str:
    if problem.key is None:
        return problem.text
    return f"{problem.key} is {shown(problem.value)}; it {problem.text}"


def _fits(made: Board) -> dict[str, bool]:
    """What one key says of another."""
    return {
        "format": not made.takes_tables or made.format is not None,
        "neutral_quality": not made.takes_tables or made.neutral_quality is not None,
        "luma_symbol": made.format != "c" or all(s.isidentifier() for s in (made.luma_symbol, made.chroma_symbol)),
    }
