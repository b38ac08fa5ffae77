"""Searching quantisation tables for one model and its images: what clean accuracy, robustness and certificate cost."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from edgeguard.dct.profile import GuardProfile
from edgeguard.evaluate.engine.evaluation import Progress
from edgeguard.evaluate.protocol import AttackPlan, DefensePlan, Protocol
from edgeguard.evaluate.rebuild.network import CannotRebuild
from edgeguard.evaluate.reports.masking import SUMMARIES, WORST_CASE
from edgeguard.evaluate.reports.results import Cell
from edgeguard.evaluate.run import asking_attacks, evaluate
from edgeguard.evaluate.twin import twin
from edgeguard.jpeg.tables import corner_table
from edgeguard.model import load_model
from edgeguard.model.contract import require_pixels
from edgeguard.reporting.charts import Point, Series, chart
from edgeguard.reporting.html import Table, page
from edgeguard.system.files import write_bytes
from edgeguard.system.names import folder_inside
from edgeguard.system.outputs import into_folder

_log = logging.getLogger(__name__)

_PRESETS = ("fd", "fd-paper")
_DC_STEPS, _CORNER_STEPS, _REST_STEPS = (16, 24, 32, 40), (16, 24, 32), (24, 32, 40)
_MOST_ATTACKED = 8
_STEPS, _LATTICE_STEPS = 20, 100


@dataclass(frozen=True)
class Candidate:
    """One table: accuracies with their counts, and the share of blocks that +-1 level in transit cannot change.

    `robust` is the worst case over the attacks, None where the table was not attacked (others are better in everything
    that was measured without an attack). `certified_at_budget` is the share of blocks of the attacked images that no
    change within the attacks' budget can alter. `summary` says what `robust` is: no worst case where no attack had a
    gradient.
    """

    name: str
    clean: float
    n_clean: int
    certified_share: float | None
    robust: float | None = None
    robust_low: float | None = None
    robust_high: float | None = None
    n_robust: int = 0
    on_frontier: bool = False
    certified_at_budget: float | None = None
    summary: str = WORST_CASE


def candidate_profiles() -> dict[str, GuardProfile]:
    """The presets and a grid of corner tables: DC step, step of the low 4x4 corner, step of the rest."""
    found = {name: GuardProfile.preset(name) for name in _PRESETS}
    for dc in _DC_STEPS:
        for corner in _CORNER_STEPS:
            for rest in _REST_STEPS:
                if rest < corner:
                    continue
                table = (dc, *corner_table(corner, rest)[1:])
                profile = GuardProfile(f"dc{dc}-{corner}-{rest}", "rgb", (table,))
                if profile.sha256 not in {other.sha256 for other in found.values()}:
                    found[profile.name] = profile
    return found


@into_folder("output", "profiles/*.toml", "profiles", "clean", "attacked")
def search(
    model: Path,
    images: Path,
    output: Path,
    *,
    eps_8bit: int = 2,
    limit: int = 50,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> list[Candidate]:
    """Measure tables for a model at its guard's place and mark those that no other beats in everything.

    Clean accuracy and certified share of every candidate first; then the worst case of the lattice attack, PGD and
    DCT-aware PGD through the model's twin (Square and HopSkipJump where it has none), on at most eight that are on the
    frontier of the first two, and on the presets.

    Args:
        model: the deployed .tflite.
        images: labelled images.
        output: folder for profiles (.toml), search.json, search.html and what `evaluate` keeps.
        eps_8bit: budget of the attacks.
        limit: images that are attacked.
    """
    contract = load_model(model).contract
    require_pixels(contract, "guard search")
    place = contract.guard.place
    when: Literal["once", "computed"] = "once" if place in ("input", "in-graph") else "computed"
    profiles = candidate_profiles()
    folder, clean_folder, attacked_folder = (folder_inside(output, name) for name in ("profiles", "clean", "attacked"))
    paths = {}
    for name, profile in profiles.items():
        paths[name] = str(folder / f"{name}.toml")
        write_bytes(Path(paths[name]), profile.to_toml().encode())

    def run(names: Sequence[str], attacks: tuple[AttackPlan, ...], part: Path) -> list[Cell]:
        defenses = tuple(DefensePlan(paths[name], when) for name in names)
        plan = Protocol(
            "guard-search", f"Guard search, {part.name}", "white", "contract", attacks, defenses, images=limit,
            seed=seed, batch=5, budgets="smallest",
        )  # fmt: skip
        return evaluate(model, images, plan, part, workers=workers, progress=progress)

    clean = {_name(cell): cell for cell in run(list(profiles), (), clean_folder)}
    chosen = _worth_attacking(clean)
    attacks = _attacks(model, eps_8bit)
    attacked = run(chosen, attacks, attacked_folder)
    worst = {_name(cell): cell for cell in attacked if cell.attack in SUMMARIES}
    safe = {_name(cell): cell.certified_share for cell in attacked if cell.attack == attacks[0].name}
    found = _with_frontier([_candidate(name, cell, worst.get(name), safe.get(name)) for name, cell in clean.items()])
    write_bytes(output / "search.json", (json.dumps([asdict(c) for c in found], indent=1) + "\n").encode())
    write_bytes(output / "search.html", _page(found, eps_8bit, place).encode())
    return found


def _attacks(model: Path, eps_8bit: int) -> tuple[AttackPlan, ...]:
    """Those with gradients where the model has a twin."""
    try:
        twin(model)
    except CannotRebuild as error:
        _log.warning("%s: the search asks the file alone, and NO FIGURE IS A WORST CASE", error)
        return asking_attacks(eps_8bit)
    steps = {"eps_8bit": eps_8bit, "steps": _STEPS, "early_stop": True}
    return (
        AttackPlan("lattice", "lattice", {"eps_8bit": eps_8bit, "steps": _LATTICE_STEPS}),
        AttackPlan("pgd", "pgd", steps, ("straight-through", "identity")),
        AttackPlan("dct-3", "dct-pgd", {**steps, "bands": 3}),
    )


def _name(cell: Cell) -> str:
    return Path(cell.defence.removesuffix(", two passes (computed)")).stem


def _candidate(name: str, clean: Cell, worst: Cell | None, safe: float | None) -> Candidate:
    if worst is None:
        return Candidate(name, clean.accuracy, clean.n, clean.certified_share)
    low, high = worst.interval
    return Candidate(
        name, clean.accuracy, clean.n, clean.certified_share, worst.accuracy, low, high, worst.n, False, safe,
        worst.attack,
    )  # fmt: skip


def _worth_attacking(clean: dict[str, Cell]) -> list[str]:
    """Presets and the frontier of clean accuracy and certified share, spread evenly where there are many."""
    values = {name: (cell.accuracy, cell.certified_share or 0.0) for name, cell in clean.items()}
    frontier = sorted((n for n, v in values.items() if not _beaten(v, values.values())), key=lambda n: values[n])
    spread = {round(i * (len(frontier) - 1) / max(_MOST_ATTACKED - 1, 1)) for i in range(_MOST_ATTACKED)}
    return list(dict.fromkeys([*_PRESETS, *(frontier[i] for i in sorted(spread))]))


def _with_frontier(candidates: Sequence[Candidate]) -> list[Candidate]:
    attacked = {c.name: (c.clean, c.certified_share or 0.0, c.robust) for c in candidates if c.robust is not None}
    kept = {name for name, values in attacked.items() if not _beaten(values, attacked.values())}
    marked = [Candidate(**{**asdict(c), "on_frontier": c.name in kept}) for c in candidates]
    return sorted(marked, key=lambda c: (not c.on_frontier, -(c.robust or -1), -c.clean))


def _beaten(values: tuple[float, ...], others: Iterable[tuple[float, ...]]) -> bool:
    """True where another one is at least as good in everything and better in something."""
    return any(other != values and all(b >= a for a, b in zip(values, other, strict=True)) for other in others)


def _page(candidates: Sequence[Candidate], eps_8bit: int, place: str) -> str:
    attacked = [c for c in candidates if c.robust is not None]
    summary = attacked[0].summary if attacked else WORST_CASE
    series = [
        Series(
            f"{c.name}{' (preset)' if c.name in _PRESETS else ''}",
            (Point(100 * c.clean, 100 * (c.robust or 0), 100 * (c.robust_low or 0), 100 * (c.robust_high or 0)),),
            joined=False,
        )
        for c in attacked
    ]
    xs = [s.points[0].x for s in series]
    ticks = [float(x) for x in range(int(min(xs) // 5 * 5), int(-(-max(xs) // 5) * 5) + 1, 5)] if xs else [0.0, 100.0]
    return page(
        "search.html",
        title="Guard search",
        eps=eps_8bit,
        threat="in transit, after pass 1" if place == "frame" else "at the model's input",
        frontier_chart=chart(series, "clean accuracy, %", f"{summary} at eps {eps_8bit}, %", ticks),
        candidates=Table(
            [_row(c) for c in candidates],
            ("table", "frontier", "clean, %", f"{summary}, %", "certified at +-1", f"certified at +-{eps_8bit}"),
            numbers=4,
        ),
    )


def _row(c: Candidate) -> tuple[str, ...]:
    worst = "-"
    if c.robust is not None:
        worst = (
            f"{100 * c.robust:.0f} [{100 * (c.robust_low or 0):.0f}, {100 * (c.robust_high or 0):.0f}], n {c.n_robust}"
        )
    shares = ("-" if share is None else f"{share:.3f}" for share in (c.certified_share, c.certified_at_budget))
    return c.name, "yes" if c.on_frontier else "", f"{100 * c.clean:.1f}", worst, *shares
