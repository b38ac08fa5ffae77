"""What a patch does beside a control, or behind a guard, in a sentence with its numbers."""

from dataclasses import dataclass

from edgeguard.fieldtest.analysis.paired import Difference

_NO_ROOM = 0.8  # of a control's success: a patch can do hardly more


@dataclass(frozen=True)
class Comparison:
    """A paired comparison over passes, in words and numbers.

    Attributes:
        question, difference: what is compared, and its figures.
        control: arm of the control, and how often it succeeds, 0..1; None where a patch is compared with itself.
    """

    question: str
    difference: Difference
    control: tuple[str, float] | None = None

    @property
    def answer(self) -> str:
        """The honest sentence."""
        d = self.difference
        interval = f"{100 * d.mean:+.0f} points [{100 * d.low:+.0f}, {100 * d.high:+.0f}], p {d.p:.3g}, {d.n} passes"
        if d.shown and d.mean < 0 and "does it beat" in self.question:
            return f"An effect was shown, the other way round: the control succeeds more often: {interval}."
        if d.shown:
            return f"An effect was shown: {interval}."
        why = "the interval includes zero" if d.low <= 0 <= d.high else "the test does not exclude chance"
        return f"No effect was shown: {why} ({interval}).{self._no_room}"

    @property
    def _no_room(self) -> str:
        if self.control is None or self.control[1] < _NO_ROOM:
            return ""
        arm, share = self.control
        return f" The {arm} control alone succeeds on {100 * share:.0f} %: there is no room for an effect."
