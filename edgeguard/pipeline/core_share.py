"""What one of several cameras may take of the cores, so that one that floods harms no other.

Reading has a part of its own. A camera that is not read from does not wait: its frames do, in buffers on the way, and
come out old with a fresh time of arrival. So one whose frames are more than its share can infer is read all the same,
and the latest frame counts. Only one that sends more than reading's part can take is read more slowly, and that is
said: its frames are then older than they look.
"""

import os
import threading
import time
from collections.abc import Callable

from edgeguard.system.http.budget import CpuBudget

_READING = 0.5  # of the share; a JPEG of 100 kB takes about a millisecond, a decoded frame of a video stream ten
#: A camera that floods: its results come at moments that nobody can foresee, and each may hold up a frame of another
#: camera, so they cost more of its share. It is read while nothing else is to be computed.
_DEARER, _NICE = 3.0, 19
_SLOWED, _LOOKED_S = 0.1, 10.0  # of the time, in so many seconds: then it is said


class CoreShare:
    """A camera's share: its capture thread and the one that works for it pay what they compute.

    Args:
        share: of one core; more than 1 for several.
        burst_s: seconds of processor time that may be used at once.
        slowed: called once, in the capture thread, when reading has waited for a tenth of ten seconds.

    Example:
        >>> share = CoreShare(0.5, 0.5)
        >>> share.after_reading(), share.before_work(), share.spend(0.01)  # at once: less than the burst was used
        (None, None, None)
    """

    def __init__(self, share: float, burst_s: float, slowed: Callable[[], None] = lambda: None) -> None:
        self._whole, self._reading = CpuBudget(share, burst_s), CpuBudget(_READING * share, burst_s)
        self._paid = threading.local()
        self._slowed, self._said = slowed, False
        self._waited_s, self._looked_at = 0.0, time.monotonic()

    def after_reading(self) -> None:
        """In the capture thread, after each frame: pay, and wait while reading has used up its part."""
        used_s = self._used_s()
        self._whole.spend(used_s)
        self._reading.spend(used_s)
        if self._reading.is_used_up() and not getattr(self._paid, "is_last", False):
            self._paid.is_last = True
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)  # of this thread, until it ends
        began = time.monotonic()
        self._reading.wait()
        now = time.monotonic()
        self._waited_s += now - began
        if now - self._looked_at >= _LOOKED_S:
            if not self._said and self._waited_s >= _SLOWED * (now - self._looked_at):
                self._said = True
                self._slowed()
            self._waited_s, self._looked_at = 0.0, now

    def before_work(self) -> None:
        """In the thread that takes frames: pay, and wait while the whole share is used up."""
        self._whole.spend(self._price() * self._used_s())
        self._whole.wait()

    def spend(self, seconds: float) -> None:
        """Processor time of other threads, as a graph's."""
        self._whole.spend(self._price() * seconds)

    def _price(self) -> float:
        return _DEARER if self._reading.is_used_up() else 1.0

    def _used_s(self) -> float:
        """What this thread has computed since it paid last."""
        now = time.thread_time()
        used_s = now - getattr(self._paid, "at", now)
        self._paid.at = now
        return float(used_s)
