import tomllib
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.evaluate import protocol as protocol_module
from edgeguard.evaluate.attacks import KINDS
from edgeguard.evaluate.attacks.bounds import BOUNDS
from edgeguard.evaluate.protocol import (
    BUILT_IN,
    AttackPlan,
    AttackTable,
    DefensePlan,
    ProtocolFile,
    load_protocol,
    parse_protocol,
)
from edgeguard.settings.declare import keys_of

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


def test_the_lattice_attack_alone_is_an_example() -> None:
    protocol = load_protocol(str(Path(__file__).parents[2] / "examples" / "stronger-attack.toml"))
    assert [plan.kind for plan in protocol.attacks] == ["lattice", "lattice"] and protocol.budgets == "smallest"
    assert {defence.when for defence in protocol.defenses} == {"computed"}
    assert {"proof-1", "proof-2", "fd"} < {defence.name for defence in protocol.defenses}


def test_the_example_of_every_key_has_every_key_and_stands_in_the_docs() -> None:
    root = Path(__file__).parents[2]
    text = (root / "examples" / "every-key.toml").read_text()
    data = tomllib.loads(text)
    assert set(data) == set(keys_of(ProtocolFile)) and len(text.splitlines()) == len(data), "a line for each key"
    for name, table in (("attack", AttackTable), ("defence", DefensePlan)):
        declared = {key for key, one in keys_of(table).items() if not one.rest}
        assert declared <= {key for entry in data[name] for key in entry}
    parse_protocol(text, "every-key.toml")
    assert f"```toml\n{text}```" in (root / "docs" / "evaluate.md").read_text()


def test_the_short_protocol_of_the_page_is_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")
    behind = page.partition("A protocol is a TOML file. This one runs:\n\n")[2]
    text = "\n".join(line[4:] for line in behind.partition("\n\n`[paper")[0].splitlines())
    found = parse_protocol(text, "page.toml")
    assert [(plan.kind, plan.eps_8bit) for plan in found.attacks] == [("pgd", 1), ("pgd", 4)]
    assert [plan.when for plan in found.defenses][-1] == "computed"


def test_a_list_of_budgets_is_one_attack_each() -> None:
    assert [plan.eps_8bit for plan in parse_protocol(GOOD, "t.toml").attacks] == [1.0, 2.0]


def test_smallest_budgets_need_budgets_and_a_white_box() -> None:
    text = GOOD.replace('place = "input"', 'place = "input"\nbudgets = "smallest"')
    assert parse_protocol(text, "t.toml").budgets == "smallest"
    for old, new, why in (
        ('"white"', '"gray"', "box"),
        ("eps_8bit = [1, 2]\nsteps = 3", 'kind = "deepfool"', "eps_8bit"),
    ):
        with pytest.raises(InputError, match=rf"t\.toml:7: budgets = .smallest. looks for a budget: .*{why}"):
            parse_protocol(text.replace(old, new), "t.toml")


def test_fidelity_is_for_gray_boxes() -> None:
    gray = GOOD.replace("schema = 1", "schema = 1\nfidelity = true", 1).replace('"white"', '"gray"')
    assert parse_protocol(gray, "t.toml").fidelity
    with pytest.raises(InputError, match=r"t\.toml:\d+: fidelity is for box = .gray."):
        parse_protocol(gray.replace('"gray"', '"white"'), "t.toml")


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


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "a test"', "title = 3", 't.toml:4: title wants a text in quotes ("3"), got 3'),
        ("schema = 1", "schema = 1\nimages = true", "t.toml:3: images wants a whole number from 1 to 1e+06, got True"),
        ("schema = 1", "schema = 1\nbatch = 1001", "t.toml:3: batch is 1 to 1000, got 1001"),
        ("schema = 1", "schema = 1\nundefended_at_most = 'x'", "t.toml:3: undefended_at_most wants a number"),
        ("schema = 1", "schema = 1\nundefended_at_most = nan", "t.toml:3: undefended_at_most is 0 to 1, got nan"),
        ("schema = 1", "schema = 1\nseed = -1", "t.toml:3: seed is 0 to"),
        ("schema = 1", "schema = 1\npaper = 3", "t.toml:3: paper wants a table for each attack"),
        ("schema = 1", "schema = 1\n[paper.pgd]\nnone = 'x'", "t.toml:3: paper wants a table for each attack"),
        ("schema = 1", "schema = true", "t.toml:2: schema must be 1"),
        ("[[defence]]", "[[defence]]\nname = 'fd'\n[[defence]]\nlimit = 0", "t.toml:14: limit is 1 to"),
        ("[[defence]]", "[[defence]]\nname = 'fd'\n[[defence]]\nodd = 0", "t.toml:14: [[defence]] has no key 'odd'"),
        ('[[defence]]\nname = "none"', "[[defence]]", "t.toml:11: [[defence]] missing 1 required key 'name'"),
        ('[[defence]]\nname = "none"', "defence = [1]", "defence"),
        ("eps_8bit = [1, 2]", "eps_8bit = [1, 300]", "t.toml:9: eps_8bit wants a whole number of levels from 1"),
        ("eps_8bit = [1, 2]", "eps_8bit = []", "t.toml:9: eps_8bit wants a whole number"),
        ("eps_8bit = [1, 2]", "eps_8bit = nan", "t.toml:9: eps_8bit wants a whole number"),
        ("eps_8bit = [1, 2]", "eps_8bit = true", "t.toml:9: eps_8bit wants a whole number"),
        ("eps_8bit = [1, 2]", "transfer = 1", "t.toml:9: transfer is true or false, got 1"),
        ("eps_8bit = [1, 2]", "backwards = 'identity'", "t.toml:9: backwards wants a list of straight-through"),
        (
            "eps_8bit = [1, 2]",
            "eps_8bit = 0.031",
            "t.toml:9: eps_8bit wants a whole number of levels from 1 to 255",
        ),
        ("eps_8bit = [1, 2]", "eps_8bit = [1, 1.9]", "or a list of them, got [1, 1.9]"),
        ("eps_8bit = [1, 2]", "eps_8bit = -4", "(8/255 is eps_8bit = 8), or a list of them, got -4"),
        ("steps = 3", "steps = 0", "t.toml:10: steps wants a whole number from 1 to 100000, got 0"),
        ("steps = 3", "step_8bit = 0.001", "t.toml:10: step_8bit wants a number from 0.01 to 255, got 0.001"),
        ("steps = 3", "step_8bit = -1", "t.toml:10: step_8bit wants"),
        ('name = "pgd"', 'name = "square"\nqueries = 0', "t.toml:9: queries wants a whole number from 1"),
        ("steps = 3", "stepps = 3", "t.toml:10: the attack pgd cannot take stepps"),
        ("steps = 3", "steps = 'three'", "t.toml:10: the attack pgd cannot take steps = 'three'"),
        ("steps = 3", "steps = [[3]]", "t.toml:10: the attack pgd cannot take steps"),
        ('name = "none"', 'name = "fdd"', "t.toml:12: name: no guard preset 'fdd'"),
        ('name = "none"', 'name = "bits:x"', "t.toml:12: name: the defense 'bits:x' wants a whole number"),
        ("schema = 1", "schema = 1\nminutes = 0", "t.toml:3: minutes is 0.1 to"),
        ('name = "pgd"', 'name = "pdg"', "t.toml:7: there is no attack 'pdg'"),
        ('name = "pgd"\n', "", "t.toml:7: there is no attack ''"),
    ],
)
def test_mistakes_are_named_with_their_line(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        parse_protocol(GOOD.replace(old, new, 1), "t.toml")
    assert said in str(caught.value)


def test_every_number_of_an_attack_has_bounds() -> None:
    for kind, made in KINDS.items():
        for name, hint in get_type_hints(made).items():
            if {int, float} & {hint, *get_args(hint)}:
                assert name in BOUNDS, f"{kind}: {name}"


def test_budgets_of_scripts_are_bounded_too() -> None:
    plan = AttackPlan("pgd", "pgd", {"eps_8bit": 0.031})
    with pytest.raises(InputError, match="8/255 is eps_8bit = 8"):
        plan.gradient_free  # noqa: B018


def test_numbers_stay_as_they_are_written() -> None:
    """Whole budgets and figures name the results that a folder already has."""
    protocol = parse_protocol(GOOD + "[paper.pgd]\nnone = 3\n", "t.toml")
    assert [type(plan.parameters["eps_8bit"]) for plan in protocol.attacks] == [int, int]
    assert protocol.paper == {"pgd": {"none": 3}} and isinstance(protocol.paper["pgd"]["none"], int)


VALUES = st.recursive(
    st.one_of(
        st.integers(), st.floats(), st.booleans(), st.none(),
        st.sampled_from(["pgd", "art", "autoattack", "square", "white", "input", "fd", "once", "identity", "", "x\n"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
ATTACK_KEYS = [*keys_of(AttackTable), "steps", "attack", "parts", "parameters", "queries", "targeted_next", "odd"]


def _entries(keys: list[str]) -> st.SearchStrategy[list[dict[str, object]]]:
    return st.lists(st.dictionaries(st.sampled_from(keys), VALUES, max_size=5), min_size=1, max_size=2)


@given(
    top=st.dictionaries(
        st.sampled_from([name for name in keys_of(ProtocolFile) if name != "schema"]), VALUES, max_size=4
    ),
    attacks=_entries(ATTACK_KEYS),
    defences=_entries(list(keys_of(DefensePlan))),
    kind=st.sampled_from(["pgd", "art", "autoattack", "square", "cw-l0", "hop-skip-jump"]),
)
def test_any_values_of_known_keys_are_a_protocol_or_an_input_error(
    top: dict[str, object], attacks: list[dict[str, object]], defences: list[dict[str, object]], kind: str
) -> None:
    good = {"schema": 1, "name": "t", "title": "t", "box": "white", "place": "input"}
    tables = {"attack": [{"kind": kind, **entry} for entry in attacks], "defence": defences}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol_module, "parse_toml", lambda text: {**good, **tables, **top})
        try:
            parse_protocol("", "fuzz.toml")
        except InputError as error:
            assert "fuzz.toml" in str(error)


@given(st.text(max_size=200))
def test_any_text_is_a_protocol_or_an_input_error(text: str) -> None:
    try:
        parse_protocol(text, "fuzz.toml")
    except InputError:
        pass


def test_no_such_protocol() -> None:
    with pytest.raises(InputError, match="known: feature"):
        load_protocol("table3")
