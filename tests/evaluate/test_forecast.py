"""How long an evaluation takes, before it starts."""

from dataclasses import replace

import pytest

from edgeguard.errors import InputError
from edgeguard.evaluate.forecast import Costs, Forecast, Part, calls, duration, forecast
from edgeguard.evaluate.protocol import BUILT_IN, AttackPlan, load_protocol


@pytest.mark.parametrize(
    ("kind", "parameters", "gradients", "queries"),
    [
        ("pgd", {"eps_8bit": 2, "steps": 40, "restarts": 3}, 120, 0),
        ("fgsm", {"eps_8bit": 2}, 1, 0),
        ("cw-l2", {"steps": 50, "searches": 3}, 150, 0),
        ("cw-l0", {"rounds": 20, "steps": 40}, 800, 0),
        ("autoattack", {"eps_8bit": 2, "parts": ["apgd-ce", "square"], "steps": 50, "queries": 70}, 50, 70),
        ("square", {"eps_8bit": 2, "queries": 500}, 0, 500),
        ("art", {"attack": "ElasticNet", "parameters": {"max_iter": 7}}, 7, 0),
    ],
)
def test_what_an_attack_asks_of_the_model(
    kind: str, parameters: dict[str, object], gradients: int, queries: int
) -> None:
    assert calls(AttackPlan(kind, kind, parameters)) == (gradients, queries)


def test_hop_skip_jump_asks_thousands_of_times_with_a_budget() -> None:
    queries = calls(AttackPlan("h", "hop-skip-jump", {"eps_8bit": 2, "steps": 14, "queries": 10_000}))[1]
    assert 3000 < queries < 6000


def test_the_parts_add_up() -> None:
    parts = (Part("clean, fd", 0.1, None, True), Part("pgd, fd", 2.0, None, False), Part("pgd, tvm", 2.0, 3, False))
    ahead = Forecast(parts, workers=2, batch=5)
    start = ahead.seconds(0, 0)
    assert ahead.of(parts[0], 10, 100) == pytest.approx(5)
    assert ahead.of(parts[1], 10, 100) == pytest.approx(10) and ahead.of(parts[1], 11, 100) == pytest.approx(20)
    assert ahead.of(parts[2], 10, 100) == pytest.approx(6), "its limit, on one core: a unit of work is not shared"
    assert ahead.seconds(10, 100) == pytest.approx(start + 21)


def test_what_fits() -> None:
    ahead = Forecast((Part("clean", 0.1, None, True), Part("pgd", 2.0, None, False)), workers=1, batch=1)
    attacked, clean = ahead.fitting(100.0, 100, 1000, minutes=2)
    assert ahead.seconds(attacked, clean) <= 100 < ahead.seconds(attacked + 1, clean)
    assert clean < 1000 and ahead.fitting(1e6, 100, 1000, minutes=9e9) == (100, 1000)
    with pytest.raises(InputError, match="0.2 minutes are not enough: one image takes about"):
        ahead.fitting(10.0, 100, 1000, minutes=0.2)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_protocol_has_a_forecast(name: str) -> None:
    protocol = load_protocol(name)
    names = {"none", *(defense.name for defense in protocol.defenses)}
    ahead = forecast(protocol, protocol.defenses, Costs(dict.fromkeys(names, 0.01), dict.fromkeys(names, 0.1)), 2)
    titles = [part.title for part in ahead.parts]
    for defense in protocol.defenses:
        assert f"clean, {defense.title}" in titles
        assert all(f"{plan.name}, {defense.title}" in titles for plan in protocol.attacks)
    assert ahead.seconds(100, 500) > 60


def test_the_quick_look_says_what_it_cannot_tell() -> None:
    quick = load_protocol("quick")
    assert quick.minutes == 5 and "not that it holds" in quick.caveat
    assert {plan.eps_8bit for plan in quick.attacks} == {1, 2}


def test_durations() -> None:
    assert [duration(seconds) for seconds in (8, 250, 9000)] == ["8 s", "4 min", "2.5 h"]


def test_halving_tries_some_budgets_and_one_search_serves_all() -> None:
    audit = load_protocol("guard-audit")
    names = {"none", "contract"}
    ahead = forecast(audit, audit.defenses[-1:], Costs(dict.fromkeys(names, 0.01), dict.fromkeys(names, 0.1)), 2)
    lattice = [part.seconds for part in ahead.parts if part.title.startswith("lattice")]
    assert len(lattice) == 4 and sum(seconds > 0 for seconds in lattice) == 3
    asking = tuple(AttackPlan("h", "hop-skip-jump", {"eps_8bit": eps}) for eps in (1, 2, 4))
    each = replace(audit, budgets="each", attacks=asking)
    found = forecast(each, audit.defenses[-1:], Costs(dict.fromkeys(names, 0.01), dict.fromkeys(names, 0.1)), 2)
    assert [part.seconds > 0 for part in found.parts] == [True, True, False, False]


def test_what_is_usual_is_less_than_the_most() -> None:
    """24 photographs, two cores, .17 s a gradient behind the guard: what an audit of int8 MobileNetV2 asks."""
    audit = load_protocol("guard-audit")
    costs = Costs({"none": 0.01, "contract": 0.02}, {"none": 0.15, "contract": 0.17})
    ahead = forecast(audit, audit.defenses, costs, 2)
    assert ahead.usual(24, 100) < ahead.seconds(24, 100) / 4
    assert 10 * 60 < ahead.usual(24, 100) < 30 * 60
    each = forecast(replace(audit, budgets="each"), audit.defenses, costs, 2)
    assert each.usual(24, 100) == each.seconds(24, 100)
