"""When the next frame is taken: as late as the model allows, so that it is fresh when its turn comes."""

import threading
import time

_SLACK_S = 0.001
_OLD = 0.85  # of the camera's interval: a frame that would be older when it is prepared waits for the next one
_YOUNG = 0.5  # but not one that is younger than this, however long preparing takes
_LATE = 0.25  # of a rate's interval: by so much the next frame may come earlier, to make up for a late one


class Timing:
    """Moving averages of what preparing and inferring take, and the waits that follow from them.

    Args:
        fps: results a second at most; None for as many as there are.
    """

    def __init__(self, fps: float | None = None) -> None:
        self.fps = fps
        self._prepare_s = self._infer_s = 0.0
        self._infer_began: float | None = None
        self._due = 0.0
        self._changed = threading.Condition()
        self._stopped = False

    def stop(self) -> None:
        """End every wait."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def until_wanted(self) -> None:
        """Wait until preparing the next frame would end when the model is free, and the frame rate allows it.

        The rate counts from taking to taking, whatever preparing takes: in any t seconds at most fps * t + 1.25 frames.
        """
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                ready_at = self._due
                if self._infer_began is not None:
                    ready_at = max(ready_at, self._infer_began + self._infer_s - self._prepare_s - _SLACK_S)
                if now >= ready_at:
                    break
                self._changed.wait(ready_at - now)
            if self.fps is not None:
                now, interval_s = time.monotonic(), 1 / self.fps
                self._due = (self._due if now - self._due < _LATE * interval_s else now) + interval_s

    def prepared(self, seconds: float) -> None:
        """A frame was prepared."""
        self._prepare_s = _mean(self._prepare_s, seconds)

    def infer_begins(self) -> None:
        """The model starts."""
        with self._changed:
            self._infer_began = time.monotonic()

    def infer_ends(self) -> None:
        """The model is free."""
        with self._changed:
            if self._infer_began is not None:
                self._infer_s = _mean(self._infer_s, time.monotonic() - self._infer_began)
            self._infer_began = None
            self._changed.notify_all()

    def wait_for_next_s(self, age_s: float, interval_s: float | None) -> float:
        """How long to wait for the camera's next frame instead of taking one of this age; 0 to take it.

        Example:
            >>> timing = Timing()
            >>> timing.wait_for_next_s(0.010, 0.033), round(timing.wait_for_next_s(0.030, 0.033), 4)
            (0.0, 0.0063)
        """
        if interval_s is None or not _YOUNG * interval_s < age_s < 1.2 * interval_s:
            return 0.0
        if age_s + self._prepare_s < _OLD * interval_s:
            return 0.0
        return interval_s - age_s + 0.1 * interval_s


def _mean(mean: float, value: float) -> float:
    return value if mean == 0 else 0.8 * mean + 0.2 * value
