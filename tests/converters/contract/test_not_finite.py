"""Models that overflow or answer nothing are refused by that name, not as models that were saved in training mode."""

from typing import Any, cast

import numpy as np
import pytest

from edgeguard.errors import InputError
from edgeguard_converters.contract.infer import _check_repeatable
from edgeguard_converters.load.source import Source


class _Answers:
    """A source that answers each picture with the same numbers."""

    def __init__(self, *outputs: list[float]) -> None:
        self._outputs = outputs

    def outputs(self, normalized: Any) -> tuple[Any, ...]:
        return tuple(np.array([values] * len(normalized), np.float32) for values in self._outputs)


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_said_to_be_so(wrong: float) -> None:
    source = cast(Source, _Answers([1.0, 2.0], [0.5, wrong, 0.5]))
    with pytest.raises(InputError, match=r"output 2 of 2 is not finite: 1 of its 3 numbers .* overflows"):
        _check_repeatable(source, np.zeros((2, 8, 8, 3), np.float32))


def test_large_numbers_are_fine() -> None:
    _check_repeatable(cast(Source, _Answers([3e38, -3e38])), np.zeros((2, 8, 8, 3), np.float32))


@pytest.mark.parametrize(
    ("outputs", "why"), [(([1.0], []), "output 2 of 2 holds no numbers .* 1x0"), ((), "no outputs")]
)
def test_what_answers_nothing_is_refused(outputs: tuple[list[float], ...], why: str) -> None:
    """Empty outputs ended in exit code 70."""
    with pytest.raises(InputError, match=why):
        _check_repeatable(cast(Source, _Answers(*outputs)), np.zeros((2, 8, 8, 3), np.float32))
