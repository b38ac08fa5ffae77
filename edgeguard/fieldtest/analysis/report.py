"""The report of a field test: one self-contained HTML page, nothing loaded from anywhere."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError, JpegError
from edgeguard.fieldtest.analysis.counted import Counted
from edgeguard.fieldtest.analysis.films import Film
from edgeguard.fieldtest.analysis.findings import ArmResult, Findings
from edgeguard.fieldtest.analysis.image_map import image_maps
from edgeguard.fieldtest.analysis.score import OFF
from edgeguard.fieldtest.analysis.tables import (
    detector_arms,
    first_seen_table,
    percent,
    remembered_table,
    sheet_name,
    why_section,
)
from edgeguard.fieldtest.analysis.why_files import Why
from edgeguard.fieldtest.session.session import Session
from edgeguard.reporting.charts import Point, Series, Svg, chart
from edgeguard.reporting.html import Entry, Figure, Table, data_uri, page
from edgeguard.reporting.shown import size_within

_LINES = 8  # of a chart
_SHOWN_PX = 448, 1344  # width and height of a picture, at most
_LIMITS = (
    "The unit is the pass (one placement, or one drive-by): the paired tests are over passes. Intervals of single "
    "cells and bins are Wilson's over frames and only describe: frames of one pass are not independent.",
    "Each question is tested at 5 % by itself: where nothing has an effect, one of twenty shows one by chance.",
    "A frame is eligible where the model was right about the clean object in the same placement, without a guard.",
    "The guards were applied to the stored frames afterwards. What a camera's own JPEG does with a profile's tables "
    "can only be seen on frames that such a camera sent: the column 'coded by the camera' counts them.",
    "A result holds for this print, this camera, these places and lights. A better patch can only be worse for you.",
)


def html_report(session: Session, found: Findings, films: Sequence[Film] = (), why: Sequence[Why] = ()) -> str:
    """The page.

    Args:
        session: its frames are shown.
        found: its findings.
        films: that lie in a folder beside the page.
        why: what takes each patch's strength.
    """
    plan, scores = found.plan, found.scores
    return page(
        "field_test.html",
        title=f"Field test {plan.session}",
        subject=f"Session {plan.session}: {len(session.passes)} passes, "
        f"{sum(len(done.frames) for done in session.passes)} frames. Model SHA-256 {scores.model_sha256}. "
        f"Field of view {plan.field_of_view_deg:g} degrees, print scale {plan.print_scale:g}.",
        virtual=(session.folder / "virtual").exists(),
        answers=[(c.question[0].upper() + c.question[1:], c.answer, c.difference.shown) for c in found.comparisons],
        notes=found.notes,
        arms=_arms(found),
        remembered=remembered_table(found),
        first_seen=first_seen_table(found),
        memory=found.memory.frames,
        detects=found.scores.task == "detect",
        costs=_costs(found),
        curves=list(_curves(found)),
        by_light=_by_light(found),
        heat_maps=list(_heat_maps(found)),
        image_maps=[
            Figure(_jpeg_uri(picture), "where in the image", (sheet_name(arm.sheet),))
            for arm, picture in image_maps(session, found)
        ],
        films=[
            (
                film.title,
                data_uri(film.gif, "image/gif"),
                f"./{quote(film.mp4.parent.name)}/{film.mp4.name}",
                film.frames,
            )
            for film in films
        ],
        why=[why_section(session, one) for one in why],
        pictures=list(_pictures(session, found)),
        limits=_LIMITS,
    )


def _arms(found: Findings) -> Table:
    if found.scores.task == "detect":
        return detector_arms(found)
    rows = [
        (
            sheet_name(arm.sheet), arm.guard, percent(arm.targeted) if arm.sheet.target else "-",
            percent(arm.untargeted), str(arm.untargeted.n), percent(arm.passes), str(arm.passes.n),
            f"{100 * arm.alarms.share:.0f}",
        )
        for arm in found.arms
    ]  # fmt: skip
    head = ("sheet", "guard", "targeted", "any wrong label", "frames", "passes won", "passes", "alarms, %")
    return Table(rows, head, numbers=6)


def _costs(found: Findings) -> Table:
    rows = []
    for cost in found.costs:
        change = "-"
        if cost.change is not None:
            d = cost.change
            change = f"{100 * d.mean:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}], p {d.p:.3g}"
        rows.append((
            cost.guard, percent(cost.clean), str(cost.clean.n), change, f"{cost.ms_p50:.1f}", f"{cost.ms_p95:.1f}",
            str(cost.camera_coded),
        ))  # fmt: skip
    head = (
        "guard", "clean right, %", "frames", "change over passes, points", "ms p50", "p95", "coded by the camera",
    )  # fmt: skip
    return Table(rows, head, numbers=6)


def _attacked(found: Findings) -> list[ArmResult]:
    """Patches behind every guard, and the controls without one."""
    patches = [arm for arm in found.arms if arm.sheet.arm == "patch"]
    return patches + [arm for arm in found.arms if arm.sheet.arm in ("plain", "noise") and arm.guard == OFF]


def _curves(found: Findings) -> Iterable[tuple[str, Svg]]:
    """Of each object by distance and by angle; a chart has colors for eight lines, more take several charts."""
    shown = _attacked(found)
    objects = list(dict.fromkeys(arm.sheet.object for arm in shown))
    for title, values in (("distance, mm", "by_distance"), ("angle, degrees", "by_angle")):
        for name in objects:
            lines = [
                Series(f"{_plain(arm)}, {arm.guard}", _points(getattr(arm, values)))
                for arm in shown if arm.sheet.object == name
            ]  # fmt: skip
            ticks = sorted({p.x for line in lines for p in line.points})
            parts = [lines[k : k + _LINES] for k in range(0, len(lines), _LINES)] if ticks else []
            for number, part in enumerate(parts, start=1):
                of = f", {name}" if len(objects) > 1 else ""
                which = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
                yield f"Success by {title.split(',')[0]}{of}{which}", chart(part, title, "success, %", ticks)


def _by_light(found: Findings) -> Table | None:
    shown = _attacked(found)
    lights = sorted({light for arm in shown for light in arm.by_light})
    if len(lights) < 2:
        return None
    rows = [
        (sheet_name(arm.sheet), arm.guard, *(percent(arm.by_light.get(light, Counted(0, 0))) for light in lights))
        for arm in shown
    ]
    return Table(rows, ("sheet", "guard", *lights), numbers=len(lights))


def _plain(arm: ArmResult) -> str:
    through = f" through {arm.sheet.through_guard.split()[0]}" if arm.sheet.through_guard else ""
    return f"{arm.sheet.arm}{through}"


def _points(bins: dict[float, Counted]) -> tuple[Point, ...]:
    return tuple(
        Point(x, 100 * c.share, 100 * c.interval[0], 100 * c.interval[1]) for x, c in sorted(bins.items()) if c.n
    )


@dataclass(frozen=True)
class _HeatMap:
    """Success of one sheet without a guard: a row for each distance, a column for each angle."""

    title: str
    angles: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Counted, ...]], ...]


def _heat_maps(found: Findings) -> Iterable[_HeatMap]:
    for arm in found.arms:
        if arm.guard != OFF or arm.sheet.arm == "clean":
            continue
        distances = sorted({cell.distance_mm for cell in arm.by_cell})
        angles = sorted({cell.angle_deg for cell in arm.by_cell})
        rows = tuple((f"{d:g} mm", tuple(_at(arm, d, angle) for angle in angles)) for d in distances)
        yield _HeatMap(sheet_name(arm.sheet), tuple(f"{angle:g}°" for angle in angles), rows)


def _at(arm: ArmResult, distance_mm: float, angle_deg: float) -> Counted:
    """All lights of a position together."""
    inside = [c for cell, c in arm.by_cell.items() if (cell.distance_mm, cell.angle_deg) == (distance_mm, angle_deg)]
    return Counted(sum(c.hits for c in inside), sum(c.n for c in inside))


def _pictures(session: Session, found: Findings) -> Iterable[Figure]:
    """A stored frame of each sheet, near and far, with what the model said of it."""
    said = {(o.number, o.shot): o for o in found.scores.outcomes if o.guard == OFF}
    for sheet in found.plan.sheets:
        done = [one for one in session.passes if one.sheet == sheet.number]
        if not done:
            continue
        by_distance = sorted(done, key=lambda one: one.frames[0].distance_mm)
        for one in (by_distance[0], by_distance[-1]):
            frame, outcome = one.frames[0], said.get((one.number, 0))
            try:
                picture = _jpeg_uri(decode_whole(session.read_frame(frame)))
            except (InputError, JpegError):
                continue
            label = found.scores.said(outcome.index) if outcome is not None else "?"
            place = f"{frame.distance_mm:.0f} mm, {frame.angle_deg:.0f}°, {frame.cell.light}"
            said_of_it = (f"{sheet.object}, {sheet.arm}: {place}; guards off:", Entry(label, look="strong"))
            yield Figure(picture, sheet.object, said_of_it)


def _jpeg_uri(rgb: NDArray[np.uint8]) -> str:
    small = cv2.resize(rgb, size_within(rgb.shape[1], rgb.shape[0], _SHOWN_PX), interpolation=cv2.INTER_AREA)
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.asarray(small, np.uint8)).save(buffer, "JPEG", quality=85)
    return data_uri(buffer.getvalue(), "image/jpeg")


def text_report(found: Findings) -> Sequence[str]:
    """The answers and limits as lines, for the terminal."""
    return [*(f"{c.question} {c.answer}" for c in found.comparisons), *(f"note: {note}" for note in found.notes)]
