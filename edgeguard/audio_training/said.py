"""What the commands print of trainings on sound and of tables, a line each."""

import json
from collections.abc import Sequence
from pathlib import Path

from edgeguard.audio_training.config import SoundConfig
from edgeguard.audio_training.matrix import SoundCell
from edgeguard.audio_training.run import MODEL, TrainedSound, described
from edgeguard.statistics import wilson


def trained_lines(found: Sequence[TrainedSound], config: SoundConfig, output: Path, *, as_json: bool) -> list[str]:
    """A line for each speaker left out, and what holds for all; or one line of JSON."""
    spec, hits, n = found[0].spec, sum(one.hits for one in found), sum(one.n for one in found)
    low, high = wilson(hits, n)
    if as_json:
        folds = {one.folder.name: {"hits": one.hits, "n": one.n, "model": str(one.folder / MODEL)} for one in found}
        figures = {"test_accuracy": hits / n, "test_low": low, "test_high": high, "test_n": n}
        sizes = {"weights": found[0].weights, "bytes_a_clip": spec.stored_bytes}
        return [json.dumps({**figures, **sizes, "folds": folds})]
    lines = [f"{one.folder.name:12s} {_share(one.hits, one.n)}" for one in found] if len(found) > 1 else []
    what = found[0].source if len(found) == 1 else f"{len(found)} speakers, each left out once"
    return [
        *lines,
        f"test accuracy {_share(hits, n)}; {what}",
        f"{described(config)}; {found[0].weights:,} weights; a clip takes {spec.stored_bytes:,} bytes in memory, "
        f"{2 * spec.samples:,} as samples",
        f"wrote {output}{'/model.pt2 and curves.html' if len(found) == 1 else ', a folder for each speaker'}",
    ]


def table_lines(cells: Sequence[SoundCell]) -> list[str]:
    """The table, a line for each cell."""
    lines = []
    for cell in cells:
        db = "" if cell.db is None else f"  {cell.db:.0f} dB"
        costs = ""
        if cell.coded_bytes is not None:
            costs = f"  {cell.coded_bytes:,} B coded, {cell.stored_bytes:,} B in memory, {cell.clips_per_s:g} clips/s"
        lines.append(f"{cell.run:14s} {cell.codec:11s} {cell.title:24s} {_share(cell.correct, cell.n)}{db}{costs}")
    return lines


def _share(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{100 * hits / n:5.1f} % [{100 * low:.1f}, {100 * high:.1f}], n = {n}"
