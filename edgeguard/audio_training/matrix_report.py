"""The page of a table of sound: one row for each codec and attack of each model."""

from collections.abc import Sequence

from edgeguard.audio_training.matrix import SoundCell
from edgeguard.reporting import html


def page(cells: Sequence[SoundCell], source: str, trained: Sequence[tuple[str, str]]) -> str:
    """The page.

    Args:
        cells: of `sound_matrix`.
        source: what the clips are.
        trained: each run's name and how it was trained, in words.
    """
    codecs = list(dict.fromkeys(cell.codec for cell in cells))
    models = []
    for run, how in trained:
        mine = {(cell.title, cell.codec): cell for cell in cells if cell.run == run}
        titles = list(dict.fromkeys(title for title, _ in mine))
        rows = [(title, *(_text(mine.get((title, codec))) for codec in codecs)) for title in titles]
        models.append((f"{run}: {how}", html.Table(rows, ("attack", *codecs), numbers=len(codecs))))
    costs = [
        (f"{c.run}, {c.codec}", f"{c.coded_bytes:,}", f"{c.stored_bytes:,}", f"{c.clips_per_s:g}")
        for c in cells
        if c.attack == "clean" and c.clips_per_s is not None
    ]
    return html.page(
        "sound_matrix.html",
        title="Table of sound",
        source=source,
        models=models,
        costs=html.Table(costs, ("model, codec", "bytes coded", "bytes of features", "clips/s"), numbers=3),
    )


def _text(cell: SoundCell | None) -> str:
    if cell is None:
        return "-"
    low, high = cell.interval
    db = "" if cell.db is None else f", {cell.db:.0f} dB"
    return f"{100 * cell.correct / cell.n:.1f} [{100 * low:.0f}, {100 * high:.0f}] n {cell.n}{db}"
