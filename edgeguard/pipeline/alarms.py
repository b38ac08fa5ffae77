"""Alarms with hysteresis: they ring on a sustained sign and stop only when it is clearly over."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edgeguard.pipeline.result import FrameResult

_RELEASE = 0.5  # an alarm ends at half of the level that it began at


@dataclass
class Alarm:
    """A share of recent signs against a level.

    Attributes:
        name: for people and topics.
        level: rings when the mean of the window reaches it; ends when the mean falls below half of it.
        window: signs that are looked at; it does not ring before it is full.
        why: for people, of an alarm that is held.

    Example:
        >>> alarm = Alarm("disagreement", level=0.5, window=4)
        >>> [alarm.sign(s) for s in (1, 1, 0, 0, 0, 0, 1)]
        [False, False, False, True, True, False, False]
        >>> alarm = Alarm("disagreement", level=0.75, window=4)
        >>> [alarm.sign(s) for s in (1, 1, 1, 0, 0, 0, 0)]
        [False, False, False, True, True, False, False]
    """

    name: str
    level: float
    window: int
    ringing: bool = False
    count: int = 0
    why: str = ""
    _signs: deque[float] = field(default_factory=deque)

    def sign(self, value: float) -> bool:
        """Add a sign from 0 to 1; returns whether it rings now."""
        self._signs.append(value)
        if len(self._signs) > self.window:
            self._signs.popleft()
        if len(self._signs) == self.window:
            mean = sum(self._signs) / self.window
            if not self.ringing and mean >= self.level:
                self.ringing, self.count = True, self.count + 1
            elif self.ringing and mean < _RELEASE * self.level:
                self.ringing = False
        return self.ringing


class Alarms:
    """The alarms of a run.

    `disagreement`: the undefended path says something else than the defended one, on a share of the compared frames.
    `patch`: the patch guard rings. `certified`: fewer blocks than usual are certified, the mean is below a level.
    `unproven`: too large a share of the frames that were looked at is not proven.
    `certified-patch`: the patch that provably cannot change the label is smaller than wanted, in half of the frames.
    Alarms without a window are held while their cause lasts: `frozen` and `refused`.

    Args:
        disagreement: level from 0 to 1; 0 switches it off.
        certified: a certified share from 0 to 1 below which it rings; 0 switches it off.
        unproven: share of the frames that were looked at, from 0 to 1; 0 switches it off.
        certified_patch: side in pixels of the model's input below which it rings; 0 switches it off.
        window: signs.
        changed: called with an alarm that begins or ends.
    """

    def __init__(
        self,
        *,
        disagreement: float,
        certified: float,
        unproven: float = 0.0,
        certified_patch: int = 0,
        window: int,
        changed: Callable[[Alarm], None] = lambda alarm: None,
    ) -> None:
        self._changed, self._certified_level = changed, certified
        self._certified_patch = certified_patch
        self.alarms = {"patch": Alarm("patch", 0.5, window)}
        if disagreement > 0:
            self.alarms["disagreement"] = Alarm("disagreement", disagreement, window)
        if certified > 0:
            self.alarms["certified"] = Alarm("certified", 0.5, window)
        if unproven > 0:
            self.alarms["unproven"] = Alarm("unproven", unproven, window)
        if certified_patch > 0:
            self.alarms["certified-patch"] = Alarm("certified-patch", 0.5, window)

    @property
    def ringing(self) -> tuple[str, ...]:
        """Names of those that ring."""
        return tuple(alarm.name for alarm in list(self.alarms.values()) if alarm.ringing)

    def update(self, result: FrameResult) -> tuple[str, ...]:
        """Take the signs of a result; returns the names of the alarms that ring."""
        if result.patch_alarm is not None:
            self._sign("patch", float(result.patch_alarm))
        if result.undefended is not None:
            self._sign("disagreement", float(result.undefended.index != result.prediction.index))
        if result.certified_share is not None:
            self._sign("certified", float(result.certified_share < self._certified_level))
        if result.proven is not None:
            self._sign("unproven", float(not result.proven))
        if (proven := result.prediction.certified_patch) is not None:
            self._sign("certified-patch", float(proven < self._certified_patch))
        return self.ringing

    def hold(self, name: str, rings: bool, why: str = "") -> None:
        """Begin or end an alarm whose cause is known.

        Args:
            name: of the alarm.
            rings: whether its cause lasts.
            why: for people.
        """
        alarm = self.alarms.get(name)
        if alarm is None:
            alarm = self.alarms[name] = Alarm(name, 1.0, 1)
        if alarm.ringing == rings:
            return
        alarm.ringing, alarm.why = rings, why
        alarm.count += rings
        self._changed(alarm)

    def _sign(self, name: str, value: float) -> None:
        alarm = self.alarms.get(name)
        if alarm is None:
            return
        before = alarm.ringing
        if alarm.sign(value) != before:
            self._changed(alarm)
