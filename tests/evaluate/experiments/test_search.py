import json
from pathlib import Path

import pytest

from edgeguard.errors import InputError
from edgeguard.evaluate.experiments import search as search_module
from edgeguard.evaluate.experiments.search import Candidate, _with_frontier, candidate_profiles, search
from edgeguard.evaluate.protocol import AttackPlan, Protocol
from edgeguard.evaluate.rebuild.network import CannotRebuild
from edgeguard.evaluate.reports.masking import summary_title
from edgeguard.evaluate.reports.results import Cell
from edgeguard.guard import GuardProfile


def test_candidates_are_tables_of_their_own() -> None:
    found = candidate_profiles()
    assert {"fd", "fd-paper"} <= set(found) and len(found) > 20
    assert len({profile.sha256 for profile in found.values()}) == len(found)


def test_the_frontier_holds_what_nothing_beats() -> None:
    candidates = [
        Candidate("best clean", 0.9, 10, 0.1, 0.2),
        Candidate("beaten", 0.8, 10, 0.1, 0.1),
        Candidate("most robust", 0.7, 10, 0.1, 0.6),
        Candidate("best certified", 0.6, 10, 0.9, 0.1),
        Candidate("not attacked", 0.95, 10, 0.9),
    ]
    kept = {c.name for c in _with_frontier(candidates) if c.on_frontier}
    assert kept == {"best clean", "most robust", "best certified"}


@pytest.mark.parametrize("name", ["profiles", "clean", "attacked"])
def test_nothing_is_written_where_a_link_leads(name: str, card_model: Path, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / name).symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        search(card_model, tmp_path, tmp_path / "s", limit=1)
    assert not list(tmp_path.glob("*.toml"))


@pytest.mark.parametrize("has_twin", [True, False])
def test_the_search_uses_the_twin_where_there_is_one(
    has_twin: bool, card_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one it asks the file, and no figure is called a worst case."""
    given: list[tuple[AttackPlan, ...]] = []

    def cells(model: Path, images: Path, plan: Protocol, output: Path, **_: object) -> list[Cell]:
        given.append(plan.attacks)
        title = summary_title(plan.attacks) if plan.attacks else "clean"
        return [
            Cell("guard-search", "white", "transit", "frame", title, None, d.title, 2, 10, 5, "0", certified_share=0.5)
            for d in plan.defenses
        ]

    def without(model: Path) -> None:
        raise CannotRebuild("the twin does not know X")

    monkeypatch.setattr(search_module, "evaluate", cells)
    if not has_twin:
        monkeypatch.setattr(search_module, "twin", without)
    found = search(card_model, tmp_path, tmp_path / "s", limit=1)
    kinds = [plan.kind for plan in given[1]]
    assert kinds == (["lattice", "pgd", "dct-pgd"] if has_twin else ["square", "hop-skip-jump"])
    assert {plan.eps_8bit for plan in given[1]} == {2}
    summary = "worst case" if has_twin else "gradient-free attacks only"
    assert {c.summary for c in found if c.robust is not None} == {summary}
    page = (tmp_path / "s" / "search.html").read_text()
    assert summary in page and ("worst case" in page) == has_twin


@pytest.mark.full
def test_a_small_search(card_model: Path, card_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = GuardProfile.preset("fd")
    few = {
        "fd": fd,
        "fd-paper": GuardProfile.preset("fd-paper"),
        "coarse": GuardProfile("coarse", "rgb", ((64,) * 64,)),
    }
    monkeypatch.setattr(search_module, "candidate_profiles", lambda: few)
    monkeypatch.setattr(search_module, "_STEPS", 2)
    found = search(card_model, card_images, tmp_path / "s", eps_8bit=4, limit=2, workers=2)
    by = {c.name: c for c in found}
    assert set(by) == set(few) and any(c.on_frontier for c in found)
    assert by["fd"].robust is not None and by["fd"].n_robust == 2 and (by["fd"].certified_share or 0) > 0.5
    assert GuardProfile.load(tmp_path / "s" / "profiles" / "fd.toml").sha256 == fd.sha256
    assert len(json.loads((tmp_path / "s" / "search.json").read_text())) == 3
    assert "<svg" in (tmp_path / "s" / "search.html").read_text()
