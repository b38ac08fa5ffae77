"""The report of a field test: one self-contained HTML page, nothing loaded from anywhere."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError, JpegError
from edgeguard.fieldtest.analysis.findings import ArmResult, Counted, Findings
from edgeguard.fieldtest.analysis.score import OFF
from edgeguard.fieldtest.session.session import Session
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.reporting.charts import Point, Series, chart

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #ccd3dd}
table{border-collapse:collapse;margin:.5rem 0;font-size:.9rem}
td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top;border-bottom:1px solid #eef1f5}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th{font-weight:600;color:#5a6577}.small{font-size:11px}.dim{color:#5a6577;font-size:.85rem}
.note{background:#fdf1e3;border-left:4px solid #c8553d;padding:.3rem .8rem;margin:.3rem 0}
.answer{background:#eef4ee;border-left:4px solid #3d8b5f;padding:.3rem .8rem;margin:.3rem 0}
.none{background:#f2f2f5;border-left-color:#8a8fa0}
figure{display:inline-block;margin:.4rem .6rem .4rem 0;width:14rem;vertical-align:top}
figure img{width:14rem;display:block}figcaption{font-size:.8rem;color:#5a6577}.wide{overflow-x:auto}
table.heat td{padding:.3rem .7rem;border:1px solid #fff;text-align:right}
svg{width:100%;max-width:44rem;display:block}svg text{font:12px system-ui,sans-serif;fill:#3a4455}
"""
_LIMITS = (
    "The unit is the pass (one placement, or one drive-by): the paired tests are over passes. Intervals of single "
    "cells and bins are Wilson's over frames and only describe: frames of one pass are not independent.",
    "A frame is eligible where the clean object in the same placement was classified correctly without a guard.",
    "The guards were applied to the stored frames afterwards. What a camera's own JPEG does with a profile's tables "
    "can only be seen on frames that such a camera sent: the column 'coded by the camera' counts them.",
    "A result holds for this print, this camera, these places and lights. A better patch can only be worse for you.",
)


def html_report(session: Session, found: Findings) -> str:
    """The page."""
    plan, scores = found.plan, found.scores
    parts = [
        "<h1>Field test</h1>",
        f'<p class="dim">Session {plan.session}: {len(session.passes)} passes, '
        f"{sum(len(done.frames) for done in session.passes)} frames. Model SHA-256 {scores.model_sha256}. "
        f"Field of view {plan.field_of_view_deg:g} degrees, print scale {plan.print_scale:g}.</p>",
        _virtual_note(session),
        "<h2>Answers</h2>",
        *_answers(found),
        "<h2>What limits them</h2>",
        *(f'<div class="note">{escape(note)}</div>' for note in found.notes),
        "<h2>Success on eligible frames, %</h2>",
        _arms(found),
        "<h2>What the guards cost</h2>",
        _costs(found),
        *_curves(found),
        "<h2>Success by distance and angle, guards off, %</h2>",
        *_heat_maps(found),
        "<h2>What was before the camera</h2>",
        *_pictures(session, found),
        "<h2>How to read this</h2>",
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in _LIMITS) + "</ul>",
    ]
    head = f'<meta charset="utf-8"><title>Field test {plan.session}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _virtual_note(session: Session) -> str:
    if not (session.folder / "virtual").exists():
        return ""
    return (
        '<div class="note">These frames were rendered (virtual field). They show how a session goes; they do not '
        "predict what a print does before a camera.</div>"
    )


def _answers(found: Findings) -> Iterable[str]:
    if not found.comparisons:
        yield '<div class="note">Nothing can be compared: no patch arm with matching passes was recorded.</div>'
    for comparison in found.comparisons:
        kind = "answer" if comparison.difference.shown else "answer none"
        question = escape(comparison.question)
        yield f'<div class="{kind}"><b>{question[0].upper()}{question[1:]}</b><br>{escape(comparison.answer)}</div>'


def _percent(counted: Counted) -> str:
    if not counted.n:
        return "-"
    low, high = counted.interval
    return f"{100 * counted.share:.1f} [{100 * low:.0f}, {100 * high:.0f}]"


def _name(arm: ArmResult) -> str:
    sheet = arm.sheet
    if sheet.arm != "patch":
        return f"{sheet.object}: {sheet.arm}"
    through = f", made through {sheet.through_guard.split()[0]}" if sheet.through_guard else ""
    return f"{sheet.object}: patch &rarr; {escape(sheet.target or 'anything')}{through}"


def _arms(found: Findings) -> str:
    rows = "".join(
        f"<tr><td>{_name(arm)}</td><td>{escape(arm.guard)}</td>"
        f'<td class="n">{_percent(arm.targeted) if arm.sheet.target else "-"}</td>'
        f'<td class="n">{_percent(arm.untargeted)}</td><td class="n">{arm.untargeted.n}</td>'
        f'<td class="n">{_percent(arm.passes)}</td><td class="n">{arm.passes.n}</td>'
        f'<td class="n">{100 * arm.alarms.share:.0f}</td></tr>'
        for arm in found.arms
    )
    return (
        '<div class="wide"><table><tr><th>sheet</th><th>guard</th><th class="n">targeted</th>'
        '<th class="n">any wrong label</th>'
        '<th class="n">frames</th><th class="n">passes won</th><th class="n">passes</th>'
        '<th class="n">alarms, %</th></tr>'
        f"{rows}</table></div>"
        '<p class="dim">A pass is won where more than half of its eligible frames were a success. Brackets: '
        "Wilson 95 %, descriptive.</p>"
    )


def _costs(found: Findings) -> str:
    rows = []
    for cost in found.costs:
        change = "-"
        if cost.change is not None:
            d = cost.change
            change = f"{100 * d.mean:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}], p {d.p:.3g}"
        rows.append(
            f'<tr><td>{escape(cost.guard)}</td><td class="n">{_percent(cost.clean)}</td>'
            f'<td class="n">{cost.clean.n}</td>'
            f'<td class="n">{change}</td><td class="n">{cost.ms_p50:.1f}</td><td class="n">{cost.ms_p95:.1f}</td>'
            f'<td class="n">{cost.camera_coded}</td></tr>'
        )
    return (
        '<table><tr><th>guard</th><th class="n">clean right, %</th><th class="n">frames</th>'
        '<th class="n">change over passes, points</th><th class="n">ms p50</th><th class="n">p95</th>'
        f'<th class="n">coded by the camera</th></tr>{"".join(rows)}</table>'
        '<p class="dim">Milliseconds from the stored bytes to the label, one core of the machine that scored.</p>'
    )


def _curves(found: Findings) -> Iterable[str]:
    patches = [arm for arm in found.arms if arm.sheet.arm == "patch"]
    controls = [arm for arm in found.arms if arm.sheet.arm in ("plain", "noise") and arm.guard == OFF]
    shown = [*patches, *controls]
    if not shown:
        return
    for title, values in (("distance, mm", "by_distance"), ("angle, degrees", "by_angle")):
        series = [Series(f"{_plain(arm)}, {arm.guard}", _points(getattr(arm, values))) for arm in shown]
        ticks = sorted({p.x for line in series for p in line.points})
        if ticks:
            yield f"<h2>Success by {title.split(',')[0]}</h2>{chart(series[:8], title, 'success, %', ticks)}"
    lights = sorted({light for arm in shown for light in arm.by_light})
    if len(lights) > 1:
        head = "".join(f'<th class="n">{escape(light)}</th>' for light in lights)
        rows = "".join(
            f"<tr><td>{_name(arm)}</td><td>{escape(arm.guard)}</td>"
            + "".join(f'<td class="n">{_percent(arm.by_light.get(light, Counted(0, 0)))}</td>' for light in lights)
            + "</tr>"
            for arm in shown
        )
        yield f"<h2>Success by light, %</h2><table><tr><th>sheet</th><th>guard</th>{head}</tr>{rows}</table>"


def _plain(arm: ArmResult) -> str:
    through = f" through {arm.sheet.through_guard.split()[0]}" if arm.sheet.through_guard else ""
    return f"{arm.sheet.arm}{through}"


def _points(bins: dict[float, Counted]) -> tuple[Point, ...]:
    return tuple(
        Point(x, 100 * c.share, 100 * c.interval[0], 100 * c.interval[1]) for x, c in sorted(bins.items()) if c.n
    )


def _heat_maps(found: Findings) -> Iterable[str]:
    for arm in found.arms:
        if arm.guard != OFF or arm.sheet.arm == "clean":
            continue
        distances = sorted({cell.distance_mm for cell in arm.by_cell})
        angles = sorted({cell.angle_deg for cell in arm.by_cell})
        head = "".join(f"<th>{angle:g}&deg;</th>" for angle in angles)
        rows = []
        for distance in distances:
            cells = []
            for angle in angles:
                inside = [
                    c for cell, c in arm.by_cell.items() if (cell.distance_mm, cell.angle_deg) == (distance, angle)
                ]
                total = Counted(sum(c.hits for c in inside), sum(c.n for c in inside))
                shade = f"background:rgba(200,85,61,{0.08 + 0.8 * total.share:.2f})" if total.n else ""
                cells.append(
                    f'<td style="{shade}" title="n {total.n}">{100 * total.share:.0f}</td>' if total.n else "<td>-</td>"
                )
            rows.append(f"<tr><th>{distance:g} mm</th>{''.join(cells)}</tr>")
        yield f'<h3>{_name(arm)}</h3><table class="heat"><tr><th></th>{head}</tr>{"".join(rows)}</table>'


def _pictures(session: Session, found: Findings) -> Iterable[str]:
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
                picture = _data_uri(decode_rgb(session.read_frame(frame)))
            except (InputError, JpegError):
                continue
            label = found.scores.labels[outcome.index] if outcome is not None else "?"
            yield (
                f'<figure><img src="{picture}" alt="{escape(sheet.object)}"><figcaption>{escape(sheet.object)}, '
                f"{sheet.arm}: {frame.distance_mm:.0f} mm, {frame.angle_deg:.0f}&deg;, {escape(frame.cell.light)}; "
                f"guards off: <b>{escape(label)}</b></figcaption></figure>"
            )


def _data_uri(rgb: NDArray[np.uint8]) -> str:
    scale = 448 / rgb.shape[1]
    small = cv2.resize(rgb, (448, max(round(rgb.shape[0] * scale), 1)), interpolation=cv2.INTER_AREA)
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.asarray(small, np.uint8)).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def text_report(found: Findings) -> Sequence[str]:
    """The answers and limits as lines, for the terminal."""
    return [*(f"{c.question} {c.answer}" for c in found.comparisons), *(f"note: {note}" for note in found.notes)]
