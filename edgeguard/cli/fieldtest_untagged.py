"""`edgeguard fieldtest record --untagged`: passes of an object that has no tags, on a key or by the clock."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cli.messages import on_stderr, on_stdout
from edgeguard.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from edgeguard.camera.source import Source

_DONE = ("q", "quit")


class _Operator:
    """Who says when a pass begins: lines of standard input, each of which is one pass, or a clock."""

    def __init__(self, every_s: float | None) -> None:
        self._every_s, self._next = every_s, 0.0
        self._waiting, self.is_over = threading.Semaphore(0), False
        if every_s is None:
            threading.Thread(target=self._listen, name="operator", daemon=True).start()

    def wants(self) -> bool:
        """Whether a pass shall begin now."""
        if self._every_s is None:
            return self._waiting.acquire(blocking=False)
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._every_s
        return True

    def ended(self) -> bool:
        """Whether it is over, and each pass that was wanted is stored."""
        if not self.is_over:
            return False
        if self._waiting.acquire(blocking=False):
            self._waiting.release()
            return False
        return True

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip().lower() in _DONE:
                break
            self._waiting.release()
        self.is_over = True


def record_untagged_passes(
    session: Path, name: str, *, light: str | None, every_s: float | None, spec: str, source: Callable[[str], "Source"]
) -> None:
    """The command; see `fieldtest.session.untagged`.

    Args:
        session: its folder.
        name: what lies on the object.
        light: that is on; the plan's first where None.
        every_s: seconds between the beginnings of two passes; None waits for a line of standard input.
        spec: the camera.
        source: opens it.

    Raises:
        InputError: the plan has no such sheet or light.
        CheckFailed: nothing was recorded.
    """
    from edgeguard.fieldtest.session.plan import read_plan
    from edgeguard.fieldtest.session.untagged import photographs_beside, record_untagged, untagged_folder

    if every_s is not None and not 0 < every_s < 1e6:
        raise InputError(f"--every is a time above 0 s, got {every_s:g}")
    plan = read_plan(session)
    if light is not None and light not in plan.lights:
        raise InputError(f"the plan has no light {light!r}: {', '.join(plan.lights)}")
    folder = untagged_folder(session, plan, name, light or plan.lights[0])
    opened = source(spec)
    operator = _Operator(every_s)
    if every_s is None:
        on_stderr(f"place the object and press Enter: a pass of {plan.frames} frames is stored; q ends")
    try:
        count = record_untagged(
            opened,
            folder,
            plan.frames,
            is_wanted=operator.wants,
            is_over=operator.ended,
            stored=lambda place: on_stderr(f"stored {place}"),
        )
    finally:
        opened.close()
    if not count:
        raise CheckFailed("nothing was recorded: no pass was begun, or the camera ended before one was whole")
    on_stdout(f"{count} passes stored in {folder}")
    photographs = photographs_beside(session)
    on_stdout(f"next: edgeguard fieldtest import {photographs} --plan {session} --port 8000, and mark the object")
