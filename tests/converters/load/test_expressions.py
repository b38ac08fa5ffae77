"""Arithmetic of a model file: what torch writes passes, and what would take for ever to work out does not."""

import pytest

from edgeguard_converters.load.expressions import checked_expression
from edgeguard_converters.load.refused import PickleRefused


@pytest.mark.parametrize(
    "text",
    [
        "Pow(9, 99999999999)", "Mod(Pow(9, 99999999999), 7)", "Pow(9, Pow(9, 9999999))",
        "((((9**63)**63)**63)**63)**63",
        "LShift(1, 99999999999999)", "RShift(1, 99999999999999)", "FloatPow(9, 9e19)", "Pow(9, Integer(99999999999))",
        "PowByNatural(2, s0 * 99999999999)", "Pow(Pow(Pow(9, 63), 63), 63)", "9 ** Rational(99999999999, 1)", "Pow(9)",
        "Pow(9, Integer)", "1 << 99999999", "Pow(9, 2, 99)", "9 ** --99999",
    ],
)  # fmt: skip
def test_numbers_that_grow_without_bound_are_refused(text: str) -> None:
    with pytest.raises(PickleRefused, match="not arithmetic"):
        checked_expression(text, "the program")


@pytest.mark.parametrize(
    "text",
    [
        "Pow(Symbol('s0', positive=True, integer=True), Integer(2))", "Pow(Symbol('s0'), Integer(-1))", "s0 ** 2",
        "Pow(s0, Rational(1, 2))", "FloatPow(ToFloat(s0), 0.5)", "s0 ** (-1)", "LShift(s0, 3)", "2 * s0 + Mod(s1, 3)",
        "Pow(Add(Pow(s0, Integer(2)), Integer(1)), Integer(2)) * Pow(s1, Integer(3))",
    ],
)  # fmt: skip
def test_what_torch_writes_passes(text: str) -> None:
    assert checked_expression(text, "the program") == text
