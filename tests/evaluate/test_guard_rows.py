"""A guard in front of a file that carries none, or another than it carries."""

from dataclasses import replace

import pytest

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.evaluate.guard_rows import unmeasured, with_guard
from edgeguard.evaluate.protocol import load_protocol
from edgeguard.model.contract import Contract, ContractGuard, InputSpec

BARE = Contract(input=InputSpec(32, 32), labels=("a", "b"))


def _behind(place: str) -> Contract:
    return replace(BARE, guard=ContractGuard(GuardProfile.preset("fd"), place))  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", ["quick", "guard-audit", "detector-audit"])
def test_a_named_guard_stands_where_the_files_own_would(protocol: str) -> None:
    plan = load_protocol(protocol)
    wanted = [("fd" if one.name == "contract" else one.name, one.when) for one in plan.defenses]
    made = with_guard(plan, "fd", BARE)
    assert [(one.name, one.when) for one in made.defenses] == list(dict.fromkeys(wanted))
    assert any(one.when == "computed" and one.name == "fd" for one in made.defenses)


def test_two_passes_are_for_frames() -> None:
    made = with_guard(load_protocol("quick"), "fd", _behind("input"))
    assert [(one.name, one.when) for one in made.defenses] == [("none", "once"), ("fd", "once")]


@pytest.mark.parametrize(
    ("protocol", "guard", "contract", "line"),
    [
        ("quick", "no-such", BARE, "--guard no-such: "),
        ("quick", "none", BARE, "has a row without a guard"),
        ("quick", "fd", _behind("in-graph"), "inside the graph"),
        ("lossy-codecs-lsb", "fd", BARE, "names its defenses itself"),
    ],
)
def test_what_no_guard_can_stand_in_for(protocol: str, guard: str, contract: Contract, line: str) -> None:
    with pytest.raises(InputError, match=line):
        with_guard(load_protocol(protocol), guard, contract)


def test_a_file_without_a_guard_is_told_so() -> None:
    quick = load_protocol("quick")
    line = unmeasured(quick, BARE)
    assert line is not None and "CARRIES NO GUARD" in line and "--guard fd" in line
    assert unmeasured(quick, _behind("frame")) is None and unmeasured(with_guard(quick, "fd", BARE), BARE) is None
