from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.evaluate.protocol import BUILT_IN, load_protocol, parse_protocol

GOOD = """
schema = 1
name = "t"
title = "a test"
box = "white"
place = "input"
[[attack]]
name = "pgd"
eps_8bit = [1, 2]
steps = 3
[[defence]]
name = "none"
"""


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_protocols_load(name: str) -> None:
    protocol = load_protocol(name)
    assert protocol.name == name and protocol.attacks and protocol.defenses
    titles = {defence.title for defence in protocol.defenses}
    for figures in protocol.paper.values():
        assert set(figures) <= titles


def test_the_example_loads() -> None:
    protocol = load_protocol(str(Path(__file__).parents[2] / "examples" / "frame-budgets.toml"))
    assert protocol.place == "frame" and "examples/dc40.toml" in {defence.name for defence in protocol.defenses}


def test_a_list_of_budgets_is_one_attack_each() -> None:
    assert [plan.eps_8bit for plan in parse_protocol(GOOD, "t.toml").attacks] == [1.0, 2.0]


def test_an_attack_of_the_toolbox_is_named_by_its_class() -> None:
    text = GOOD.replace("steps = 3", 'kind = "art"\nattack = "BasicIterativeMethod"\nparameters = {max_iter = 3}')
    assert all(plan.kind == "art" for plan in parse_protocol(text, "t.toml").attacks)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("schema = 1", "schema = 2", "schema"),
        ('box = "white"', 'box = "pink"', "box"),
        ('place = "input"', 'place = "roof"', "place"),
        ("steps = 3", "stepps = 3", "pgd"),
        ('title = "a test"', 'tittle = "a test"', "tittle"),
        ('name = "none"', 'name = "none"\npass = 2', "pass"),
        ('name = "none"', 'name = "none"\nwhen = "later"', "when"),
        ("[[defence]]", "[[defense]]", "defence"),
        ("eps_8bit = [1, 2]", 'eps_8bit = 1\nbackwards = ["up"]', "up"),
        ("schema = 1", "schema = 1\nimages = 0", "images"),
        ("steps = 3", "steps = ", "t.toml"),
    ],
)
def test_mistakes_are_named(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=said):
        parse_protocol(GOOD.replace(old, new), "t.toml")


@given(st.text(max_size=200))
def test_any_text_is_a_protocol_or_an_input_error(text: str) -> None:
    try:
        parse_protocol(text, "fuzz.toml")
    except InputError:
        pass


def test_no_such_protocol() -> None:
    with pytest.raises(InputError, match="known: feature"):
        load_protocol("table3")
