"""The report of an evaluation: one self-contained HTML page, nothing loaded from anywhere."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeguard.evaluate.protocol import Protocol
from edgeguard.evaluate.reports.masking import GRADIENT_FREE_ONLY, SUMMARIES
from edgeguard.evaluate.reports.pictures import Example, amplified, png_uri, spectrum, spectrum_picture
from edgeguard.evaluate.reports.results import Cell
from edgeguard.reporting.charts import Point, Series, Svg, chart, histogram
from edgeguard.reporting.html import Entry, Figure, Table, page

_FLAT = re.compile(r"flat:(\d+)")
_THREATS = {
    "input": "digital changes of what the defense receives; the attacker stands right before it",
    "transit": "frames changed between pass 1 (sensor) and pass 2 (model)",
    "scene": "changes in the world, before pass 1: a printed patch; here digital, so at best an upper bound on harm",
}
_DETECTOR_LIMITS = (
    "An object counts as found where a box of its class overlaps it by half (IoU .5), each box for one object. AP50 "
    "and AP are pycocotools', of the boxes that the file reports above its threshold.",
    "The attacker knows the model and the guard. A better attack can only lower these figures.",
    "Patch guards are shown what was made without them: their rows say nothing of an attacker who knows them.",
    "Only the attacks listed were tried, with the budgets and steps of the protocol.",
)
_HEADINGS = {
    "classify": "Accuracy under attack, %",
    "detect": "Objects found as what they are, % (create: pictures in which nothing is invented)",
}


@dataclass(frozen=True, eq=False)
class Findings:
    """What the report shows beside the cells.

    Attributes:
        subject: the model's file name and the hash of its bytes.
        twin: how well the twin follows the file, in words.
        warnings: signs of gradient masking.
        examples: attacked images.
        certified: share of blocks that +-1 level cannot change, for each image after pass 1; empty without a proof.
        classes: how folders or labels.csv became class indices, in words.
        doubts: what a reader has to know first: odd clean accuracies, the guard's cost, what time did not allow.
    """

    subject: str
    twin: str
    warnings: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    certified: tuple[float, ...] = ()
    classes: str = ""
    doubts: tuple[str, ...] = ()


def html_report(protocol: Protocol, cells: Sequence[Cell], findings: Findings) -> str:
    """The page."""
    gray = protocol.box == "gray"
    threats = dict.fromkeys(cell.threat for cell in cells)
    return page(
        "evaluation.html",
        title=protocol.title,
        heading=_HEADINGS[protocol.task],
        subject=findings.subject,
        twin=findings.twin,
        classes=findings.classes,
        doubts=findings.doubts,
        warnings=findings.warnings,
        accuracy=_by_defence(cells) if gray else _by_attack(cells),
        paper_source=protocol.paper_source if gray and protocol.paper else "",
        summary_name="Worst case"
        if not any(c.attack == GRADIENT_FREE_ONLY for c in cells)
        else "Gradient-free attacks",
        budget_chart=_budget_chart([cell for cell in cells if cell.attack != "clean"]),
        frontier_chart=_frontier_chart(cells),
        step_charts=_step_charts(cells),
        spectra=_spectra(cells),
        examples=[_figures(example) for example in findings.examples],
        certificate_chart=_certificate_chart(findings.certified),
        violations=_violations(cells),
        threats=[(threat, _THREATS[threat]) for threat in threats if threat in _THREATS],
        limits=_limits(protocol, cells),
    )


def _by_attack(cells: Sequence[Cell]) -> Table:
    """Attacks down, the worst case of each budget last, defences across."""
    columns = list(dict.fromkeys((cell.threat, cell.defence) for cell in cells))
    found = {(cell.threat, cell.defence, cell.attack, cell.eps_8bit): cell for cell in cells}
    rows = sorted(
        dict.fromkeys((cell.attack, cell.eps_8bit) for cell in cells),
        key=lambda row: (row[0] != "clean", row[1] or 0.0, row[0] in SUMMARIES),
    )
    return Table(
        [(_heading(*row), *(_entry(found.get((*column, *row))) for column in columns)) for row in rows],
        ("attack", *(Entry(defence, threat) for threat, defence in columns)),
        numbers=len(columns),
        marked=frozenset(i for i, (attack, _) in enumerate(rows) if attack in SUMMARIES),
    )


def _by_defence(cells: Sequence[Cell]) -> Table:
    """Defences down, attacks across; each cell with its interval and the paper's figure."""
    columns = list(dict.fromkeys((cell.attack, cell.eps_8bit) for cell in cells))
    found = {(cell.threat, cell.defence, cell.attack, cell.eps_8bit): cell for cell in cells}
    rows: list[tuple[Entry | str, ...]] = []
    for threat, defence in dict.fromkeys((cell.threat, cell.defence) for cell in cells):
        row = [found.get((threat, defence, *column)) for column in columns]
        rows.append((defence, threat, *map(_entry, row), _average(row)))
    head = ("defense", "threat", *(_heading(*column) for column in columns), "average")
    return Table(rows, head, numbers=len(columns) + 1)


def _heading(attack: str, eps: float | None) -> str:
    return attack if eps is None else f"{attack}, eps {eps:g}"


def _entry(cell: Cell | None) -> Entry:
    if cell is None:
        return Entry("-")
    low, high = cell.interval
    value = "capped" if cell.note == "capped" else f"{100 * cell.accuracy:.0f}"
    paper = "" if cell.paper is None else f" p {cell.paper:g}"
    precision = "" if cell.ap50 is None else f" AP50 {100 * cell.ap50:.1f} AP {100 * (cell.ap or 0):.1f}"
    return Entry(value, f"[{100 * low:.0f}, {100 * high:.0f}] {cell.n}{paper}{precision}")


def _average(row: Sequence[Cell | None]) -> Entry:
    """The mean over attacks; the paper's over the same attacks where it has them all."""
    attacked = [cell for cell in row if cell is not None and cell.attack != "clean"]
    if not attacked or any(cell.note == "capped" for cell in attacked):
        return Entry("-")
    mean = sum(cell.accuracy for cell in attacked) / len(attacked)
    papers = [cell.paper for cell in attacked if cell.paper is not None]
    return Entry(f"{100 * mean:.0f}", f"p {sum(papers) / len(papers):.0f}" if len(papers) == len(attacked) else "")


def _budget_chart(cells: Sequence[Cell]) -> Svg | None:
    swept = [cell for cell in cells if cell.eps_8bit is not None and cell.eps_8bit < 255]
    wanted = next((name for name in SUMMARIES if any(cell.attack == name for cell in swept)), None)
    budgets = sorted({cell.eps_8bit or 0.0 for cell in swept})
    if wanted is None or len(budgets) < 2:
        return None
    series = []
    for threat, defence in dict.fromkeys((cell.threat, cell.defence) for cell in swept):
        chosen = [c for c in swept if (c.threat, c.defence, c.attack) == (threat, defence, wanted)]
        points = tuple(
            _point(cell, cell.eps_8bit or 0.0) for cell in sorted(chosen, key=lambda cell: cell.eps_8bit or 0.0)
        )
        series.append(Series(defence, points))
    return chart(series, "budget, levels of 255 (Linf)", "accuracy, %", budgets)


def _frontier_chart(cells: Sequence[Cell]) -> Svg | None:
    """Clean accuracy against the worst case at the middle budget, over the tables that were tried."""
    clean = {(c.threat, c.defence): c for c in cells if c.attack == "clean"}
    worst = [c for c in cells if c.attack in SUMMARIES and c.eps_8bit is not None and c.eps_8bit < 255]
    budgets = sorted({c.eps_8bit or 0.0 for c in worst})
    if len({cell.accuracy for cell in clean.values()}) < 3 or not budgets:
        return None
    middle = budgets[len(budgets) // 2]
    series = [
        Series(
            cell.defence, (_point(cell, 100 * clean[cell.threat, cell.defence].accuracy, cell.defence),), joined=False
        )
        for cell in worst
        if cell.eps_8bit == middle and (cell.threat, cell.defence) in clean
    ]
    xs = [series_.points[0].x for series_ in series]
    first, last = int(min(xs) // 5 * 5), int(-(-max(xs) // 5) * 5)
    return chart(
        series, "clean accuracy, %", f"{worst[0].attack} at eps {middle:g}, %", list(range(first, last + 1, 5))
    )


def _step_charts(cells: Sequence[Cell]) -> list[Svg]:
    """Accuracy over the step of tables with one step (`flat:N`), a chart for each number of passes; dashed: the step
    that removes a perturbation of so many levels, 16 times the levels (Liu et al. 2019, equation 5)."""
    found = [(int(match[1]), cell) for cell in cells if (match := _FLAT.match(cell.defence))]
    ticks = sorted({step for step, _ in found})
    if len(ticks) < 3:
        return []
    charts = []
    for passes in sorted({cell.passes for _, cell in found}):
        series = []
        for attack, eps in dict.fromkeys((cell.attack, cell.eps_8bit) for _, cell in found):
            mine = [
                (step, cell)
                for step, cell in found
                if (cell.attack, cell.eps_8bit, cell.passes) == (attack, eps, passes)
            ]
            series.append(
                Series(_heading(attack, eps), tuple(_point(cell, step) for step, cell in sorted(mine, key=_step)))
            )
        budgets = sorted({cell.eps_8bit for _, cell in found if cell.eps_8bit is not None})
        marks = [(16 * eps, f"{eps:g}") for eps in budgets]
        title = "step, one pass" if passes == 1 else "step, two passes"
        charts.append(chart(series, title, "accuracy, %", ticks, marks=marks))
    return charts


def _step(pair: tuple[int, Cell]) -> int:
    return pair[0]


def _spectra(cells: Sequence[Cell]) -> list[Figure]:
    """A picture for each attack and budget: where in the 8x8 spectrum its change lies, the mean over all images."""
    found = {(cell.attack, cell.eps_8bit): cell.spectrum for cell in reversed(cells) if cell.spectrum}
    figures = []
    for (attack, eps), values in reversed(found.items()):
        text = f"{_heading(attack, eps)}: DC {values[0]:.1f}, mean of the rest {sum(values[1:]) / 63:.1f}"
        figures.append(Figure(png_uri(spectrum_picture(np.array(values).reshape(8, 8))), text, (text,)))
    return figures


def _point(cell: Cell, x: float, label: str = "") -> Point:
    low, high = cell.interval
    return Point(x, 100 * cell.accuracy, 100 * low, 100 * high, label)


def _figures(example: Example) -> list[Figure]:
    shown, gain = amplified(example)
    pictures = {
        "before": example.before,
        f"after {example.attack}": example.after,
        f"the change, {gain:.0f} times": shown,
        "its DCT spectrum (8x8, DC top left)": spectrum_picture(spectrum(example)),
    }
    return [Figure(png_uri(picture), text, (text,)) for text, picture in pictures.items()]


def _certificate_chart(shares: Sequence[float]) -> Svg | None:
    if not shares:
        return None
    return histogram(shares, "share of blocks that no change of +-1 level in transit can alter, image by image")


def _violations(cells: Sequence[Cell]) -> list[str]:
    return [
        f"{cell.defence}, {_heading(cell.attack, cell.eps_8bit)}: {cell.violations} violations, "
        f"accuracy {100 * cell.accuracy:.0f} %, {100 * (cell.certified_share or 0):.1f} % of blocks certified"
        for cell in cells
        if cell.violations is not None
    ]


def _limits(protocol: Protocol, cells: Sequence[Cell]) -> list[str]:
    """What the numbers do not say."""
    told = [protocol.caveat] if protocol.caveat else []
    if protocol.task == "detect":
        return [*told, *_DETECTOR_LIMITS]
    told += [
        "Attacks are made on the undefended model and shown to each defense (gray box). An attacker who knows the "
        "defense does better: see a white-box protocol before you trust any of these figures."
        if protocol.box == "gray"
        else "The attacker only asks the deployed file for its outputs: no attack had a gradient. Whoever rebuilds "
        "the model does better, so that no row is a worst case."
        if any(cell.attack == GRADIENT_FREE_ONLY for cell in cells)
        else "The attacker knows the model and the defense. A better attack can only lower these figures.",
        "Only the attacks listed were tried, with the budgets and steps of the protocol; accuracy is an upper bound.",
        "Images were chosen among those that the undefended model gets right; clean columns use all images.",
        "Where the attack comes before both passes, two passes are one: a printed patch is not removed. Use fieldtest.",
    ]
    if any(cell.note == "capped" for cell in cells):
        told.append(
            f"capped: the attack left the undefended model above {100 * protocol.undefended_at_most:.0f} %; what "
            "defenses show against it is no success of theirs."
        )
    return told
