"""Films of a pass, every arm beside the others, with what the model said: an MP4 to keep, a GIF for the page."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import DeviceError, InputError, JpegError
from edgeguard.fieldtest.analysis.findings import Findings
from edgeguard.fieldtest.analysis.score import OFF, Outcome
from edgeguard.fieldtest.analysis.tables import sheet_name
from edgeguard.fieldtest.session.place import Corners
from edgeguard.fieldtest.session.session import FrameRecord, Pass, Session
from edgeguard.fieldtest.sheets.sheet import ARMS, Sheet
from edgeguard.reporting.shown import size_within
from edgeguard.system.files import replaced, write_bytes
from edgeguard.system.names import folder_inside, utf8_path
from edgeguard.system.redirect import muted

_PANEL, _HIGHEST, _TITLE, _GAP = 320, 960, 34, 4
_MOST_FRAMES = 40
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_RIGHT, _WRONG, _OTHER = (90, 220, 120), (240, 80, 60), (150, 160, 175)
_TRUE, _PAPER, _INK = (255, 255, 255), (24, 28, 34), (240, 240, 240)


@dataclass(frozen=True)
class Film:
    """One pass of each arm.

    Attributes:
        title: which pass.
        mp4: path.
        gif: its bytes.
        frames: how many.
    """

    title: str
    mp4: Path
    gif: bytes
    frames: int


@dataclass(frozen=True)
class _Row:
    """One pass of one arm, with what was said of its frames."""

    sheet: Sheet
    done: Pass
    said: dict[int, Outcome]


def write_films(session: Session, found: Findings, folder: Path, most: int) -> list[Film]:
    """Films of the passes that tell most: approaches first, then the nearest placement and the farthest.

    Args:
        session: its frames are read.
        found: its scores, without a guard.
        folder: gets film-1.mp4, film-1.gif, and so on.
        most: films.

    Raises:
        InputError: the folder is a link.
        DeviceError: the folder cannot be written.
    """
    films: list[Film] = []
    for title, rows in _chosen(session, found, most):
        pictures = _pictures(session, found, rows)
        if not pictures:
            continue
        folder_inside(folder.parent, folder.name)
        path, fps = folder / f"film-{len(films) + 1}.mp4", _rate(rows)
        _write_mp4(path, pictures, fps)
        gif = _gif(pictures, fps)
        write_bytes(path.with_suffix(".gif"), gif)
        films.append(Film(title, path, gif, len(pictures)))
    return films


def _chosen(session: Session, found: Findings, most: int) -> list[tuple[str, list[_Row]]]:
    said: dict[int, dict[int, Outcome]] = {}
    for outcome in found.scores.outcomes:
        if outcome.guard == OFF:
            said.setdefault(outcome.number, {})[outcome.shot] = outcome
    groups: dict[tuple[str, object, int], list[_Row]] = {}
    for done in session.passes:
        sheet = session.plan.sheet(done.sheet)
        if sheet is not None and done.number in said:
            key = (sheet.object, done.cell, done.repeat)
            groups.setdefault(key, []).append(_Row(sheet, done, said[done.number]))
    whole = [(key, rows) for key, rows in groups.items() if len({row.sheet.number for row in rows}) > 1]
    whole.sort(key=lambda one: (one[0][1] is not None, -len(one[1]), one[1][0].done.frames[0].distance_mm))
    approaches = [one for one in whole if one[0][1] is None]
    placed = [one for one in whole if one[0][1] is not None]
    order = [*approaches, *placed[:1], *placed[:0:-1]]
    return [(_title(key, rows), sorted(rows, key=_place)) for key, rows in order[:most]]


def _place(row: _Row) -> tuple[int, int]:
    return ARMS.index(row.sheet.arm), row.sheet.number


def _title(key: tuple[str, object, int], rows: Sequence[_Row]) -> str:
    cell = rows[0].done.cell
    if cell is None:
        return f"{key[0]}: approach {key[2] + 1}"
    return f"{key[0]}: {cell.distance_mm:g} mm, {cell.angle_deg:g} degrees, {cell.light}, pass {key[2] + 1}"


def _rate(rows: Sequence[_Row]) -> float:
    """Frames a second as they were taken, between 2 and 15."""
    times = [frame.captured_at for frame in rows[0].done.frames]
    span = times[-1] - times[0]
    return float(np.clip((len(times) - 1) / span, 2, 15)) if span > 0 else 2.0


def _pictures(session: Session, found: Findings, rows: Sequence[_Row]) -> list[NDArray[np.uint8]]:
    longest = max(rows, key=lambda row: len(row.done.frames))
    count = min(len(longest.done.frames), _MOST_FRAMES)
    steps = [int(k) for k in np.linspace(0, len(longest.done.frames) - 1, count)]
    pictures = []
    for k in steps:
        panels = [_panel(session, found, row, _matching(row, longest.done.frames[k], k)) for row in rows]
        pictures.append(_tiled(panels))
    return pictures


def _matching(row: _Row, wanted: FrameRecord, index: int) -> int:
    """The frame of another arm that belongs beside it: of an approach the one at the nearest distance."""
    frames = row.done.frames
    if row.done.cell is not None:
        return min(index, len(frames) - 1)
    return min(range(len(frames)), key=lambda k: abs(frames[k].distance_mm - wanted.distance_mm))


def _panel(session: Session, found: Findings, row: _Row, shot: int) -> NDArray[np.uint8]:
    frame, outcome = row.done.frames[shot], row.said.get(shot)
    try:
        rgb = decode_whole(session.read_frame(frame))
    except (InputError, JpegError):
        rgb = np.zeros((_PANEL * 3 // 4, _PANEL, 3), np.uint8)
    width, height = size_within(rgb.shape[1], rgb.shape[0], (_PANEL, _HIGHEST))
    scale = width / rgb.shape[1]
    canvas = np.full((height + _TITLE, _PANEL, 3), _PAPER, np.uint8)
    canvas[_TITLE:, :width] = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    _draw_object(canvas[_TITLE:], frame.corners, scale)
    truth = found.scores.labels.index(row.sheet.label)
    _draw_boxes(canvas[_TITLE:], found, outcome, truth, scale)
    said = "?" if outcome is None else found.scores.said(outcome.index)
    good = outcome is not None and outcome.index == truth
    _write(canvas, sheet_name(row.sheet).replace("→", "to"), (5, 14), _INK)
    _write(canvas, f"{frame.distance_mm:.0f} mm: {said}", (5, 29), _RIGHT if good else _WRONG)
    return canvas


def _draw_object(canvas: NDArray[np.uint8], corners: Corners | None, scale: float) -> None:
    if corners is not None:
        points = np.rint((np.array(corners) + 0.5) * scale * 16 - 8).astype(np.int32)
        cv2.polylines(canvas, [points], True, _TRUE, 1, cv2.LINE_AA, 4)


def _draw_boxes(canvas: NDArray[np.uint8], found: Findings, outcome: Outcome | None, truth: int, scale: float) -> None:
    for index, score, *sides in (outcome.boxes or ()) if outcome is not None else ():
        if not np.isfinite(sides).all():  # scores may come from a stranger
            continue
        left, top, right, bottom = (round(float(v)) for v in np.clip(np.array(sides) * scale, -1e4, 1e4))
        color = _RIGHT if index == truth else _WRONG if outcome is not None and index == outcome.index else _OTHER
        cv2.rectangle(canvas, (left, top), (right, bottom), color, 2)
        _write(canvas, f"{found.scores.said(index)} {score:.2f}", (max(left, 2), max(top - 4, 10)), color)


def _write(canvas: NDArray[np.uint8], text: str, at: tuple[int, int], color: tuple[int, int, int]) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's fonts hold ASCII only
    cv2.putText(canvas, plain, at, _FONT, 0.42, _PAPER, 3, cv2.LINE_AA)
    cv2.putText(canvas, plain, at, _FONT, 0.42, color, 1, cv2.LINE_AA)


def _tiled(panels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Two beside each other, one of three columns for five and more; sides are even, as films want them."""
    columns = 2 if len(panels) <= 4 else 3
    rows = -(-len(panels) // columns)
    height = max(panel.shape[0] for panel in panels)
    across, down = columns * (_PANEL + _GAP) - _GAP, rows * (height + _GAP) - _GAP
    out = np.full((down + down % 2, across + across % 2, 3), 255, np.uint8)
    for k, panel in enumerate(panels):
        top, left = k // columns * (height + _GAP), k % columns * (_PANEL + _GAP)
        out[top : top + panel.shape[0], left : left + _PANEL] = panel
    return out


def _write_mp4(path: Path, pictures: Sequence[NDArray[np.uint8]], fps: float) -> None:
    height, width = pictures[0].shape[:2]
    with replaced(path, durable=False) as partial:
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(utf8_path(partial), cv2.CAP_FFMPEG, fourcc, fps, (width, height))
        if not writer.isOpened():
            raise DeviceError(f"cannot write {path}: is the disk full?")
        for rgb in pictures:
            writer.write(np.ascontiguousarray(_fitted(rgb, width, height)[:, :, ::-1]))
        writer.release()
        if _frames_in(partial) != len(pictures):  # FFmpeg tells nobody that a disk is full
            raise DeviceError(f"cannot write {path}: is the disk full?")


def _frames_in(path: Path) -> int:
    with muted():
        reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) if reader.isOpened() else 0
    reader.release()
    return count


def _gif(pictures: Sequence[NDArray[np.uint8]], fps: float) -> bytes:
    from PIL import Image

    height, width = pictures[0].shape[:2]
    first, *rest = (Image.fromarray(_fitted(rgb, width, height)).quantize(128) for rgb in pictures)
    stream = io.BytesIO()
    first.save(stream, "GIF", save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, optimize=True)
    return stream.getvalue()


def _fitted(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Photographs of one pass may be upright and lying: a film has one size."""
    if rgb.shape[:2] == (height, width):
        return rgb
    out = np.full((height, width, 3), 255, np.uint8)
    part = rgb[:height, :width]
    out[: part.shape[0], : part.shape[1]] = part
    return out
