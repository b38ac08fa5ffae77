"""The report of an evaluation: one self-contained HTML page, nothing loaded from anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from edgeguard.evaluate.protocol import Protocol
from edgeguard.evaluate.reports.masking import WORST_CASE
from edgeguard.evaluate.reports.pictures import Example, amplified, data_uri, spectrum, spectrum_picture
from edgeguard.evaluate.reports.results import Cell
from edgeguard.reporting.charts import Point, Series, chart, histogram

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #ccd3dd}
table{border-collapse:collapse;margin:.5rem 0;font-size:.9rem}
td,th{padding:.2rem .7rem .2rem 0;text-align:left;vertical-align:top;border-bottom:1px solid #eef1f5}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th{font-weight:600;color:#5a6577}.small{font-size:11px}.dim{color:#5a6577;font-size:.8rem}
.warning{background:#fdf1e3;border-left:4px solid #c8553d;padding:.4rem .8rem;margin:.4rem 0}
figure{display:inline-block;margin:.4rem .6rem .4rem 0;width:11rem;vertical-align:top}
figure img{width:11rem;display:block}figcaption{font-size:.8rem;color:#5a6577}
.wide{overflow-x:auto}tr.worst{background:#f2f5f9;font-weight:600}
svg{width:100%;max-width:40rem;display:block}svg text{font:12px system-ui,sans-serif;fill:#3a4455}
"""
_THREATS = {
    "input": "digital changes of what the defence receives; the attacker stands right before it",
    "transit": "frames changed between pass 1 (sensor) and pass 2 (model)",
    "scene": "changes in the world, before pass 1: a printed patch; here digital, so at best an upper bound on harm",
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
    """

    subject: str
    twin: str
    warnings: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    certified: tuple[float, ...] = ()


def html_report(protocol: Protocol, cells: Sequence[Cell], findings: Findings) -> str:
    """The page."""
    attacked = [cell for cell in cells if cell.attack != "clean"]
    parts = [
        f"<h1>{escape(protocol.title)}</h1>",
        f'<p class="dim">{escape(findings.subject)}. {escape(findings.twin)}</p>',
        *(f'<div class="warning">Possible gradient masking: {escape(line)}.</div>' for line in findings.warnings),
        "<h2>Accuracy under attack, %</h2>",
        _by_defence(cells, protocol) if protocol.box == "gray" else _by_attack(cells),
        _eps_chart(attacked),
        _frontier(cells),
        _examples(findings.examples),
        _certificates(findings.certified, cells),
        _what_it_does_not_say(protocol, cells),
    ]
    head = f'<meta charset="utf-8"><title>{escape(protocol.title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _by_attack(cells: Sequence[Cell]) -> str:
    """Attacks down, the worst case of each budget last, defences across."""
    columns = list(dict.fromkeys((cell.threat, cell.defence) for cell in cells))
    found = {(cell.threat, cell.defence, cell.attack, cell.eps_8bit): cell for cell in cells}
    rows = sorted(
        dict.fromkeys((cell.attack, cell.eps_8bit) for cell in cells),
        key=lambda row: (row[0] != "clean", row[1] or 0.0, row[0] == WORST_CASE),
    )
    head = "".join(f'<th class="n">{escape(defence)}<br>{threat}</th>' for threat, defence in columns)
    body = "".join(
        f"<tr{' class=worst' if attack == WORST_CASE else ''}><td>{escape(_heading(attack, eps))}</td>"
        f"{''.join(_entry(found.get((*column, attack, eps))) for column in columns)}</tr>"
        for attack, eps in rows
    )
    return (
        f'<div class="wide"><table><tr><th>attack</th>{head}</tr>{body}</table></div>'
        '<p class="dim">Small figures: [95 % interval, Wilson] n.</p>'
    )


def _by_defence(cells: Sequence[Cell], protocol: Protocol) -> str:
    """Defences down, attacks across; each cell with its interval and the paper's figure."""
    columns = list(dict.fromkeys((cell.attack, cell.eps_8bit) for cell in cells))
    rows = list(dict.fromkeys((cell.threat, cell.defence) for cell in cells))
    found = {(cell.threat, cell.defence, cell.attack, cell.eps_8bit): cell for cell in cells}
    head = "".join(f'<th class="n">{escape(_heading(attack, eps))}</th>' for attack, eps in columns)
    body = []
    for threat, defence in rows:
        row = [found.get((threat, defence, attack, eps)) for attack, eps in columns]
        body.append(
            f"<tr><td>{escape(defence)}</td><td>{threat}</td>{''.join(_entry(cell) for cell in row)}"
            f"{_average(row)}</tr>"
        )
    note = f" Small figures: [95 % interval, Wilson] n. p: {escape(protocol.paper_source)}." if protocol.paper else ""
    return (
        f'<div class="wide"><table><tr><th>defence</th><th>threat</th>{head}<th class="n">average</th></tr>'
        f"{''.join(body)}</table></div>"
        f'<p class="dim">{note or "Small figures: [95 % interval, Wilson] n."}</p>'
    )


def _heading(attack: str, eps: float | None) -> str:
    return attack if eps is None else f"{attack}, eps {eps:g}"


def _entry(cell: Cell | None) -> str:
    if cell is None:
        return '<td class="n">-</td>'
    low, high = cell.interval
    value = "capped" if cell.note == "capped" else f"{100 * cell.accuracy:.0f}"
    paper = "" if cell.paper is None else f" p {cell.paper:g}"
    small = f"[{100 * low:.0f}, {100 * high:.0f}] {cell.n}{paper}"
    return f'<td class="n">{value}<br><span class="dim">{small}</span></td>'


def _average(row: Sequence[Cell | None]) -> str:
    """The mean over attacks; the paper's over the same attacks where it has them all."""
    attacked = [cell for cell in row if cell is not None and cell.attack != "clean"]
    if not attacked or any(cell.note == "capped" for cell in attacked):
        return '<td class="n">-</td>'
    mean = sum(cell.accuracy for cell in attacked) / len(attacked)
    papers = [cell.paper for cell in attacked if cell.paper is not None]
    paper = f"p {sum(papers) / len(papers):.0f}" if len(papers) == len(attacked) else ""
    return f'<td class="n">{100 * mean:.0f}<br><span class="dim">{paper}</span></td>'


def _eps_chart(cells: Sequence[Cell]) -> str:
    swept = [cell for cell in cells if cell.eps_8bit is not None and cell.eps_8bit < 255]
    wanted = WORST_CASE if any(cell.attack == WORST_CASE for cell in swept) else None
    budgets = sorted({cell.eps_8bit or 0.0 for cell in swept})
    if wanted is None or len(budgets) < 2:
        return ""
    series = []
    for threat, defence in dict.fromkeys((cell.threat, cell.defence) for cell in swept):
        chosen = [c for c in swept if (c.threat, c.defence, c.attack) == (threat, defence, wanted)]
        points = tuple(
            _point(cell, cell.eps_8bit or 0.0) for cell in sorted(chosen, key=lambda cell: cell.eps_8bit or 0.0)
        )
        series.append(Series(defence, points))
    drawn = chart(series, "budget, levels of 255 (Linf)", "accuracy, %", budgets)
    return f"<h2>Worst case of each image against the budget</h2>{drawn}"


def _frontier(cells: Sequence[Cell]) -> str:
    """Clean accuracy against the worst case at the middle budget, over the tables that were tried."""
    clean = {(c.threat, c.defence): c for c in cells if c.attack == "clean"}
    worst = [c for c in cells if c.attack == WORST_CASE and c.eps_8bit is not None and c.eps_8bit < 255]
    budgets = sorted({c.eps_8bit or 0.0 for c in worst})
    if len({cell.accuracy for cell in clean.values()}) < 3 or not budgets:
        return ""
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
    drawn = chart(series, "clean accuracy, %", f"worst case at eps {middle:g}, %", list(range(first, last + 1, 5)))
    return f"<h2>What robustness costs</h2>{drawn}"


def _point(cell: Cell, x: float, label: str = "") -> Point:
    low, high = cell.interval
    return Point(x, 100 * cell.accuracy, 100 * low, 100 * high, label)


def _examples(examples: Sequence[Example]) -> str:
    rows = []
    for example in examples:
        shown, gain = amplified(example)
        pictures = {
            "before": example.before,
            f"after {example.attack}": example.after,
            f"the change, {gain:.0f} times": shown,
            "its DCT spectrum (8x8, DC top left)": spectrum_picture(spectrum(example)),
        }
        figures = "".join(
            f'<figure><img alt="{escape(text)}" src="{data_uri(picture)}">'
            f"<figcaption>{escape(text)}</figcaption></figure>"
            for text, picture in pictures.items()
        )
        rows.append(f"<div>{figures}</div>")
    return f"<h2>Attacked images</h2>{''.join(rows)}" if rows else ""


def _certificates(shares: Sequence[float], cells: Sequence[Cell]) -> str:
    if not shares:
        return ""
    counted = [cell for cell in cells if cell.violations is not None]
    told = "".join(
        f"<li>{escape(cell.defence)}, {escape(_heading(cell.attack, cell.eps_8bit))}: {cell.violations} violations, "
        f"accuracy {100 * cell.accuracy:.0f} %, {100 * (cell.certified_share or 0):.1f} % of blocks certified</li>"
        for cell in counted
    )
    drawn = histogram(shares, "share of blocks that no change of +-1 level in transit can alter, image by image")
    listed = (
        f"<p>Blocks that the certificate calls safe and that changed all the same:</p><ul>{told}</ul>" if told else ""
    )
    return f"<h2>Certificate</h2>{drawn}{listed}"


def _what_it_does_not_say(protocol: Protocol, cells: Sequence[Cell]) -> str:
    threats = dict.fromkeys(cell.threat for cell in cells)
    told = [f"<b>{threat}</b>: {_THREATS[threat]}." for threat in threats if threat in _THREATS]
    told.append(
        "Attacks are made on the undefended model and shown to each defence (gray box). An attacker who knows the "
        "defence does better: see a white-box protocol before you trust any of these figures."
        if protocol.box == "gray"
        else "The attacker knows the model and the defence. A better attack can only lower these figures."
    )
    told += [
        "Only the attacks listed were tried, with the budgets and steps of the protocol; accuracy is an upper bound.",
        "Images were chosen among those that the undefended model gets right; clean columns use all images.",
        "Where the attack comes before both passes, two passes are one: a printed patch is not removed. Use fieldtest.",
    ]
    if any(cell.note == "capped" for cell in cells):
        told.append(
            f"capped: the attack left the undefended model above {100 * protocol.undefended_at_most:.0f} %; what "
            "defences show against it is no success of theirs."
        )
    return f"<h2>What these numbers do not say</h2><ul>{''.join(f'<li>{line}</li>' for line in told)}</ul>"
