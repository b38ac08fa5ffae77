"""The label that holds: windows of sound overlap, and the labels of single ones flicker."""

from dataclasses import dataclass

from edgeguard.model.prediction import Prediction

_SHARE = 0.5  # of the newest window in the moving average of scores


@dataclass(frozen=True)
class HeardSettings:
    """When a label begins to hold, and when it is over.

    Attributes:
        on: a label whose mean score reaches it holds.
        off: a label whose mean score falls below it does not hold any more.
        quiet_dbfs: a window whose loudest 32 ms are below it is silence: nothing holds.
    """

    on: float = 0.6
    off: float = 0.4
    quiet_dbfs: float = -50.0


class Heard:
    """Hysteresis over the windows of one sound.

    Example:
        >>> from edgeguard.model.prediction import Score
        >>> heard = Heard(HeardSettings())
        >>> heard.update(Prediction((Score("seven", 7, 0.9),)), level_dbfs=-20.0, continues=False)
        'seven'
        >>> heard.update(Prediction((Score("nine", 9, 0.5), Score("seven", 7, 0.4))), level_dbfs=-20.0, continues=True)
        'seven'
        >>> heard.update(Prediction((Score("nine", 9, 0.5),)), level_dbfs=-70.0, continues=True) is None
        True
    """

    def __init__(self, settings: HeardSettings) -> None:
        self._settings = settings
        self._means: dict[str, float] = {}
        self._holds: str | None = None

    def update(self, prediction: Prediction, *, level_dbfs: float, continues: bool) -> str | None:
        """The label that holds after this window; None where none does.

        Args:
            prediction: of the window: its best labels with their scores.
            level_dbfs: of its loudest part.
            continues: it follows the window before; else everything before is forgotten.
        """
        if not continues or level_dbfs < self._settings.quiet_dbfs:
            self._means, self._holds = {}, None
        if level_dbfs < self._settings.quiet_dbfs:
            return None
        scores = {score.label: score.score for score in prediction.top}
        if self._means:
            labels = self._means.keys() | scores.keys()
            self._means = {
                label: (1 - _SHARE) * self._means.get(label, 0.0) + _SHARE * scores.get(label, 0.0) for label in labels
            }
        else:
            self._means = scores
        if self._holds is not None and self._means.get(self._holds, 0.0) < self._settings.off:
            self._holds = None
        best = max(self._means, key=lambda label: self._means[label], default=None)
        if best is not None and self._means[best] >= self._settings.on:
            self._holds = best
        return self._holds
