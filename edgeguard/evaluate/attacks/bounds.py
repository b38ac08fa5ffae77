"""What the numbers of an attack may be: one that cannot mean what it says makes a weak attack look like a defense."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeguard.errors import InputError

WHOLE_LEVELS = "wants a whole number of levels from 1 to 255 (8/255 is eps_8bit = 8)"


@dataclass(frozen=True)
class Bounds:
    """Of a parameter, both included; `whole` where only whole numbers count."""

    low: float
    high: float
    whole: bool = False

    def hold(self, value: object) -> bool:
        """Whether a number lies within them; false for what is no number."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return not self.whole or value == int(value)

    @property
    def words(self) -> str:
        """What a value is told that does not lie within them."""
        return f"wants a {'whole ' if self.whole else ''}number from {self.low:g} to {self.high:g}"


#: Budgets: what a file or a wire can carry.
EPS_8BIT = Bounds(1, 255, whole=True)
#: By the parameter's name, for every kind of attack. One that is not here takes no number.
BOUNDS: dict[str, Bounds] = {
    "eps_8bit": EPS_8BIT,
    "step_8bit": Bounds(0.01, 255),
    "steps": Bounds(1, 100_000, whole=True),
    "restarts": Bounds(1, 1000, whole=True),
    "bands": Bounds(1, 64, whole=True),
    "queries": Bounds(1, 10_000_000, whole=True),
    "first_share": Bounds(0.001, 1),
    "rounds": Bounds(1, 1000, whole=True),
    "candidates": Bounds(1, 1000, whole=True),
    "searches": Bounds(1, 100, whole=True),
    "confidence": Bounds(0, 1000),
    "learning_rate": Bounds(1e-6, 1000),
    "initial_const": Bounds(1e-9, 1e9),
    "const": Bounds(1e-9, 1e9),
    "overshoot": Bounds(0, 100),
    "share": Bounds(0.001, 1),
    "momentum": Bounds(0, 1),
    "patience": Bounds(1, 100_000, whole=True),
}


def wrong_number(parameters: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first parameter whose number cannot be, and what it should have been; None where all can.

    Example:
        >>> wrong_number({"eps_8bit": 0.031})
        ('eps_8bit', 'wants a whole number of levels from 1 to 255 (8/255 is eps_8bit = 8)')
    """
    for name, value in parameters.items():
        bounds = BOUNDS.get(name)
        if bounds is not None and value is not None and not bounds.hold(value):
            return name, WHOLE_LEVELS if bounds is EPS_8BIT else bounds.words
    return None


def whole_budget(value: float, what: str) -> float:
    """A budget in levels, or the error that names it.

    Args:
        value: as it was given.
        what: the flag or key, for the error.

    Raises:
        InputError: no whole number from 1 to 255.
    """
    if not EPS_8BIT.hold(value):
        raise InputError(f"{what} {WHOLE_LEVELS}, got {value:g}")
    return value
