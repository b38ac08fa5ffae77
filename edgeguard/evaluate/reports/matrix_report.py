"""The matrix as one self-contained HTML page, and as lines for a terminal."""

from collections.abc import Iterator, Sequence
from html import escape

from edgeguard.evaluate.reports.results import Cell
from edgeguard.statistics import paired_proportions

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #ccd3dd}
table{border-collapse:collapse;font-size:.9rem}td,th{padding:.25rem .9rem .25rem 0;text-align:left;
border-bottom:1px solid #eef1f5}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th{font-weight:600;color:#5a6577}.dim{color:#5a6577;font-size:.8rem}.wide{overflow-x:auto}
"""
_KINDS = {
    "clean": "no attack",
    "fgsm": "gray box: FGSM on the model without a codec, by an attacker who does not know the defence",
    "deepfool": "gray box: DeepFool on the model without a codec, by an attacker who does not know the defence",
}
_WHITE = "white box: every attack knows the codec; the worst case for each image"


def table(cells: Sequence[Cell]) -> Iterator[tuple[str, list[str], list[tuple[str, list[Cell | None]]]]]:
    """For each attack and budget: its title, the test codecs, and a row of cells for each run."""
    rows = dict.fromkeys((cell.attack, cell.eps_8bit) for cell in cells)
    runs = list(dict.fromkeys(cell.protocol for cell in cells))
    for attack, eps in rows:
        mine = {(c.protocol, c.defence): c for c in cells if (c.attack, c.eps_8bit) == (attack, eps)}
        codecs = list(dict.fromkeys(codec for _, codec in mine))
        kind, _, maker = attack.partition(" of ")
        title = _KINDS.get(kind, _WHITE) + (f", made on {maker}" if maker else "")
        title += "" if eps is None else f", {eps:g} levels of 255"
        named = [(run.removeprefix("matrix:"), [mine.get((run, c)) for c in codecs]) for run in runs]
        yield title, codecs, [row for row in named if any(row[1])]


def differences(cells: Sequence[Cell]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """For each budget of the adaptive attacks: a title, and the accuracy of every cell but the first less the first's.

    Paired by image: narrower than the two intervals beside each other suggest.
    """
    white = [cell for cell in cells if cell.box == "white"]
    for attack, eps in dict.fromkeys((cell.attack, cell.eps_8bit) for cell in white):
        first, *others = (cell for cell in white if (cell.attack, cell.eps_8bit) == (attack, eps))
        if others:
            title = f"difference to {_name(first)}, in points, paired by image, {eps:g} levels of 255"
            yield title, [(_name(cell), _paired(first, cell)) for cell in others]


def _name(cell: Cell) -> str:
    return f"{cell.protocol.removeprefix('matrix:')}, {cell.defence}"


def lines(cells: Sequence[Cell]) -> Iterator[str]:
    """The matrix for a terminal: accuracy in percent with its interval."""
    for title, codecs, rows in table(cells):
        yield title
        yield f"  {'trained':24}" + "".join(f"{codec:>20}" for codec in codecs)
        for run, found in rows:
            yield f"  {run:24}" + "".join(f"{_text(cell):>20}" for cell in found)
    for title, compared in differences(cells):
        yield title
        for run, difference in compared:
            yield f"  {run:24}{difference:>20}"


def page(cells: Sequence[Cell], source: str, trained: Sequence[tuple[str, str]]) -> str:
    """The page.

    Args:
        cells: of `matrix`.
        source: what the images are.
        trained: each run's name and how it was trained, in words.
    """
    parts = [
        "<h1>Trained with a codec, tested with a codec</h1>",
        f'<p class="dim">{escape(source)}. Accuracy in percent, 95 % Wilson interval, n = {cells[0].n}. Columns: the '
        "codec at test time.</p>",
        "<table><tr><th>model</th><th>trained</th></tr>",
        *(f"<tr><td>{escape(name)}</td><td>{escape(how)}</td></tr>" for name, how in trained),
        "</table>",
    ]
    for title, codecs, rows in table(cells):
        head = "".join(f'<th class="n">{escape(codec)}</th>' for codec in codecs)
        body = "".join(
            f"<tr><td>{escape(run)}</td>" + "".join(f'<td class="n">{_text(c)}</td>' for c in found) + "</tr>"
            for run, found in rows
        )
        parts.append(
            f'<h2>{escape(title)}</h2><div class="wide"><table><tr><th>model</th>{head}</tr>{body}</table></div>'
        )
    for title, compared in differences(cells):
        body = "".join(f'<tr><td>{escape(run)}</td><td class="n">{found}</td></tr>' for run, found in compared)
        parts.append(f"<h2>{escape(title[0].upper() + title[1:])}</h2><table>{body}</table>")
    notes = [f"{_name(c)}: {c.note}" for c in cells if c.note]
    parts += ["<h2>What each adaptive attack took</h2><ul>", *(f"<li>{escape(note)}</li>" for note in notes), "</ul>"]
    parts.append(
        "<h2>What this does not say</h2><p>Gray-box rows are no robustness: the attacker does not know the defence. "
        "Where a white-box row stands beside them, it is the one that counts. Digital changes of whole images, not "
        "patches; float models, before quantisation.</p>"
    )
    head = f'<meta charset="utf-8"><title>Training matrix</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    low, high = cell.interval
    return f"{100 * cell.accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _paired(first: Cell, second: Cell) -> str:
    a, b = set(first.correct_images), set(second.correct_images)
    difference, low, high = paired_proportions(len(a - b), len(b - a), first.n)
    return f"{100 * difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
