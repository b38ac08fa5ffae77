"""What to give a board: its tables in its order and rounding, or the nearest setting and what that misses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.firmware.board import Board, boards
from edgeguard.firmware.snippets import snippets
from edgeguard.jpeg.tables import ANNEX_K_CHROMA, ANNEX_K_LUMA, ZIGZAG, Table, ijg_scaled

_LARGEST_STEP = 255  # baseline JPEG's, and what 8-bit tables hold


@dataclass(frozen=True)
class Export:
    """What `export` writes.

    Attributes:
        name: of the file.
        text: its content.
        exact: the board then codes with exactly the profile's tables.
        said: lines for people: what is missed, what to do next.
        others: names and texts of more files: code for the board itself.
    """

    name: str
    text: str
    exact: bool
    said: tuple[str, ...]
    others: tuple[tuple[str, str], ...] = ()


def export(board: Board, profile: GuardProfile) -> Export:
    """The fragment, snippet or setting for a board.

    Raises:
        InputError: a profile that JPEG cannot carry, steps beyond 8 bits, or a board that can be told nothing.
    """
    if profile.is_pixel_domain:
        raise InputError(f"{profile.name} is a {profile.color} profile, which no JPEG encoder has: use fd-jpeg")
    luma, chroma = profile.component_tables[0], profile.component_tables[1]
    if max(*luma, *chroma) > _LARGEST_STEP:
        raise InputError(f"{profile.name} has steps beyond {_LARGEST_STEP}, which {board.title} cannot hold")
    setting = setting_for(board, profile)
    if board.takes_tables:
        made = _tables(board, profile, luma, chroma)
    elif board.control == "quality":
        made = _nearest(board, profile, luma, chroma)
    elif board.control in ("qs", "levels"):
        made = _by_trial(board, profile)
    else:
        raise _told_nothing(board)
    return replace(made, others=snippets(board, profile, setting or 0))


def exact_relatives(board: Board, profile: GuardProfile) -> list[str]:
    """Names of the boards of the same family that apply a profile exactly: those whose names begin alike."""
    family = board.board.split("-")[0]
    found = []
    for name, one in boards().items():
        try:
            if name != board.board and name.split("-")[0] == family and export(one, profile).exact:
                found.append(name)
        except InputError:  # it can be told nothing
            continue
    return found


def setting_for(board: Board, profile: GuardProfile) -> int | None:
    """The number that a board is set to for a profile: the quality at which tables stand as they are, the nearest
    quality, or the coarsest setting of an encoder that scales tables of its own; None where it has no such number."""
    if board.takes_tables:
        return board.neutral_quality
    if board.control == "quality":
        return nearest_quality(*profile.component_tables[:2])
    if board.control in ("qs", "levels") and board.range is not None:
        return board.range[1] if board.lower_is_better else board.range[0]
    return None


def _told_nothing(board: Board) -> InputError:
    why = "takes a bit rate and changes its tables as it likes" if board.control == "bitrate" else "can be told nothing"
    note = f" ({board.note})" if board.note else ""
    return InputError(f"{board.title} {why}{note}: put edgeguard sensor on a machine at the camera")


def rounded(table: Table, rounding: str) -> Table:
    """A table as the hardware uses it: the VC8000 rounds steps down, above 128 to 8, above 64 to 4, above 32 to 2.

    Example:
        >>> rounded((24, 33, 67, 131), "vc8000")
        (24, 32, 64, 128)
    """
    if rounding == "none":
        return table
    return tuple(s - s % (8 if s > 128 else 4 if s > 64 else 2 if s > 32 else 1) for s in table)


def ordered(table: Table, order: str) -> Table:
    """A natural-order table in the order that a board wants."""
    return tuple(table[i] for i in ZIGZAG) if order == "zigzag" else table


def nearest_quality(luma: Table, chroma: Table) -> int:
    """The IJG quality whose tables are nearest, by the mean ratio of steps (twice as large counts like half)."""
    wanted = np.log(np.array([luma, chroma], np.float64))

    def distance(quality: int) -> float:
        scaled = np.array([ijg_scaled(ANNEX_K_LUMA, quality), ijg_scaled(ANNEX_K_CHROMA, quality)], np.float64)
        return float(np.abs(np.log(scaled) - wanted).mean())

    return min(range(1, 101), key=distance)


def compared(found: Table, wanted: Table, name: str) -> str:
    """The steps that differ, band by band: `v,u: found instead of wanted`."""
    pairs = enumerate(zip(found, wanted, strict=True))
    differing = [f"{i // 8},{i % 8}: {a} instead of {b}" for i, (a, b) in pairs if a != b]
    shown = "; ".join(differing[:6]) + (f"; and {len(differing) - 6} more" if len(differing) > 6 else "")
    return f"{name}: {len(differing)} of 64 steps differ ({shown})" if differing else f"{name}: as wanted"


def _tables(board: Board, profile: GuardProfile, luma: Table, chroma: Table) -> Export:
    used = [rounded(table, board.rounding) for table in (luma, chroma)]
    named = zip(used, (luma, chroma), ("luma", "chroma"), strict=True)
    said = [compared(a, b, name) for a, b, name in named if a != b]
    sampling = board.subsampling
    other_sampling = sampling not in ("any", "unknown") and profile.color != f"ycbcr{sampling}"
    if sampling == "unknown":
        said.append("which subsampling the board uses was not read: check a frame with edgeguard firmware verify")
    if other_sampling:
        said.append(f"the board codes 4:{sampling[1]}:{sampling[2]}, the profile is {profile.color}")
    exact = used == [luma, chroma] and not other_sampling
    if not exact:
        said.append("make a profile of what the board really does and use that for pass 2 (firmware probe FRAME.jpg)")
    if board.format == "pillow":
        return Export(f"{board.board}.py", _pillow(profile, luma, chroma), exact, tuple(said))
    if board.format == "sensor":
        return Export(f"{board.board}.sh", _sensor(profile), exact, tuple(said))
    if board.control == "table_patch":
        said.append("this board takes tables only in firmware that you build yourself; the file says where they go")
    said.append(f"set the quality to {board.neutral_quality}, at which tables are used as they stand")
    return Export(f"{board.board}.h", _c(board, profile, used), exact, tuple(said))


def _c(board: Board, profile: GuardProfile, tables: Sequence[Table]) -> str:
    symbols = (board.luma_symbol, board.chroma_symbol)
    what = f"{profile.name} ({profile.sha256[:12]}) for {board.title}"
    parts = [
        f"/* {what}: {board.order} order, quality {board.neutral_quality}.",
        f" * Goes into {board.source_file}. */",
        "#include <stdint.h>",
    ]
    for symbol, table in zip(symbols, tables, strict=True):
        steps = ordered(table, board.order)
        rows = [", ".join(f"{s:3d}" for s in steps[i : i + 8]) for i in range(0, 64, 8)]
        parts += ["", f"static const {board.c_type} {symbol}[64] = {{", *(f"    {row}," for row in rows), "};"]
    if board.apply:
        parts += ["", f"/* {board.apply} */"]
    return "\n".join(parts) + "\n"


def _pillow(profile: GuardProfile, luma: Table, chroma: Table) -> str:
    subsampling = {"ycbcr444": 0, "ycbcr422": 1, "ycbcr420": 2}[profile.color]
    return (
        f'"""Pass 1 with Pillow: {profile.name} ({profile.sha256[:12]})."""\n\n'
        "from PIL import Image\n\n"
        f"LUMA = {list(luma)}\nCHROMA = {list(chroma)}\n\n\n"
        "def save(image: Image.Image, path: str) -> None:\n"
        f'    image.save(path, "JPEG", qtables=[LUMA, CHROMA], subsampling={subsampling})\n'
    )


def _sensor(profile: GuardProfile) -> str:
    return f"edgeguard sensor --source picamera2:0 --guard {profile.name} --listen 127.0.0.1:8090\n"


def _nearest(board: Board, profile: GuardProfile, luma: Table, chroma: Table) -> Export:
    quality = nearest_quality(luma, chroma)
    scaled = ijg_scaled(ANNEX_K_LUMA, quality), ijg_scaled(ANNEX_K_CHROMA, quality)
    said = [
        f"quality {quality} only approximates {profile.name}: {compared(scaled[0], luma, 'luma')}; "
        f"{compared(scaled[1], chroma, 'chroma')}",
        f"use --guard jpeg:{quality} for pass 2, which matches it, after edgeguard firmware verify",
    ]
    if board.note:
        said.append(board.note)
    text = "\n".join(line.replace("VALUE", str(quality)) for line in board.registers) + "\n"
    return Export(f"{board.board}.txt", text, scaled == (luma, chroma), tuple(said))


def _by_trial(board: Board, profile: GuardProfile) -> Export:
    coarse = setting_for(board, profile)
    said = [
        f"{board.title} scales tables of its own, which were not read anywhere: {profile.name} cannot be set",
        f"the coarsest setting is {coarse}; take a frame with each and read its tables: firmware probe FRAME.jpg",
    ]
    text = "\n".join(line.replace("VALUE", str(coarse)) for line in board.registers) + "\n"
    return Export(f"{board.board}.txt", text, False, tuple(said))
