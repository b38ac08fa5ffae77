"""The matrix as one self-contained HTML page, and as lines for a terminal."""

from collections.abc import Iterator, Sequence

from edgeguard.evaluate.reports.results import Cell
from edgeguard.reporting import html
from edgeguard.statistics import paired_proportions

_KINDS = {
    "clean": "no attack",
    "fgsm": "gray box: FGSM on the model without a codec, by an attacker who does not know the defense",
    "deepfool": "gray box: DeepFool on the model without a codec, by an attacker who does not know the defense",
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
    attacks = [
        (title, html.Table([(run, *map(_text, found)) for run, found in rows], ("model", *codecs), numbers=len(codecs)))
        for title, codecs, rows in table(cells)
    ]
    attacks += [
        (title[0].upper() + title[1:], html.Table(compared, numbers=1)) for title, compared in differences(cells)
    ]
    return html.page(
        "matrix.html",
        title="Training matrix",
        source=source,
        n=cells[0].n,
        trained=html.Table(trained, ("model", "trained")),
        attacks=attacks,
        notes=[f"{_name(c)}: {c.note}" for c in cells if c.note],
    )


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    low, high = cell.interval
    return f"{100 * cell.accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _paired(first: Cell, second: Cell) -> str:
    a, b = set(first.correct_images), set(second.correct_images)
    difference, low, high = paired_proportions(len(a - b), len(b - a), first.n)
    return f"{100 * difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
