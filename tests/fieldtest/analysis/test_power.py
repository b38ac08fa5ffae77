"""The chance that a plan states is the frequency with which sessions show the effect."""

import numpy as np
import pytest

from edgeguard.fieldtest.analysis.paired import paired_difference
from edgeguard.fieldtest.analysis.power import Outlook, chance_to_see, is_shown, outlook_lines, passes_to_see


def _session(rng: np.random.Generator, outlook: Outlook, passes: int) -> bool:
    """One session drawn in another way than the plan's: passes that go one way, mixed with independent frames."""
    columns = []
    for rate in (outlook.patch, outlook.control):
        one_way = rng.random(passes) < outlook.agreement
        frames = rng.binomial(outlook.frames, rate, passes) / outlook.frames
        columns.append(np.where(one_way, rng.random(passes) < rate, frames))
    found = paired_difference(columns[0], columns[1], int(rng.integers(1 << 30)))
    return found is not None and found.shown


@pytest.mark.parametrize(("effect", "passes"), [(0.3, 20), (0.2, 30), (0.1, 80)])
@pytest.mark.full
def test_the_stated_chance_is_the_frequency_over_2000_sessions(effect: float, passes: int) -> None:
    outlook = Outlook(effect)
    rng = np.random.default_rng(1)
    frequency = np.mean([_session(rng, outlook, passes) for _ in range(2000)])
    assert abs(chance_to_see(outlook, passes) - frequency) <= 0.05


def test_the_shortcut_of_the_test_decides_as_the_test_does() -> None:
    rng = np.random.default_rng(4)
    for passes in (6, 40):
        for number in range(25):
            differences = rng.choice([-1.0, -0.4, 0.0, 0.2, 1.0], passes) + rng.choice([0.0, 0.1, 0.2])
            found = paired_difference(differences, np.zeros(passes), number)
            assert found is not None and is_shown(differences, number) == found.shown


def test_no_effect_is_hardly_ever_seen_and_a_large_one_always() -> None:
    assert chance_to_see(Outlook(0.0, control=0.3), 40, sessions=400) <= 0.06
    assert chance_to_see(Outlook(0.9, control=0.05), 40, sessions=100) == 1.0
    assert chance_to_see(Outlook(1.0, control=0.0, agreement=1.0), 12, sessions=20) == 1.0


@pytest.mark.full
def test_how_many_passes_are_enough() -> None:
    outlook = Outlook(0.3)
    wanted = passes_to_see(outlook)
    assert wanted is not None and chance_to_see(outlook, wanted) == pytest.approx(0.8, abs=0.08)
    assert "for 80 % chance take" in outlook_lines(outlook, 6)[1]
    assert len(outlook_lines(outlook, 4 * wanted)) == 1
