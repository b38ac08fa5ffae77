"""`edgeguard fieldtest record --untagged`: passes of an object that has no tags, on a key or by the clock."""

import shlex
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
        self._waiting, self._is_over = threading.Semaphore(0), False
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
        return self._is_over and self.unanswered() == 0

    def unanswered(self) -> int:
        """Passes that were wanted and not begun."""
        count = 0
        while self._waiting.acquire(blocking=False):
            count += 1
        if count:
            self._waiting.release(count)
        return count

    def _listen(self) -> None:
        try:
            for line in sys.stdin:
                if line.strip().lower() in _DONE:
                    break
                self._waiting.release()
        finally:
            self._is_over = True


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
        InputError: the plan has no such sheet or light, nobody can press a key, or the source is no camera.
        CheckFailed: nothing was recorded.
    """
    from edgeguard.fieldtest.session.plan import read_plan
    from edgeguard.fieldtest.session.untagged import photographs_beside, record_untagged, untagged_folder
    from edgeguard.system.termination import clean_end_on_sigterm

    if every_s is not None and not 0 < every_s < 1e6:
        raise InputError(f"--every is a time above 0 s, got {every_s:g}")
    plan = read_plan(session)
    if light is not None and light not in plan.lights:
        raise InputError(f"the plan has no light {light!r}: {', '.join(plan.lights)}")
    folder = untagged_folder(session, plan, name, light or plan.lights[0])
    if every_s is None and sys.stdin is None:
        raise InputError("standard input is closed, so that nobody can press Enter: give --every SECONDS")
    opened, stored = source(spec), list[Path]()
    if not opened.live:
        opened.close()
        raise InputError(f"{spec} is not a camera: give photographs and films to edgeguard fieldtest import")

    def keep(place: Path) -> None:
        stored.append(place)
        on_stderr(f"stored {place}")

    on_stderr(
        f"place the object and press Enter: a pass of {plan.frames} frames is stored; q ends"
        if every_s is None
        else f"a pass of {plan.frames} frames every {every_s:g} s; Ctrl-C ends"
    )
    operator = _Operator(every_s)
    try:
        with clean_end_on_sigterm():
            record_untagged(opened, folder, plan.frames, is_wanted=operator.wants, is_over=operator.ended, stored=keep)
    except (KeyboardInterrupt, SystemExit):  # how `--every` ends; half a pass was not stored
        pass
    finally:
        opened.close()
    if not stored:
        raise CheckFailed("nothing was recorded: no pass was begun, or the camera ended before one was whole")
    if unanswered := operator.unanswered():
        on_stderr(f"the camera ended: {unanswered} more were wanted")
    photographs = photographs_beside(session)
    on_stdout(f"{len(stored)} passes stored in {folder}")
    following = shlex.join(
        ["edgeguard", "fieldtest", "import", str(photographs), "--plan", str(session), "--port", "8000"]
    )
    on_stdout(f"next: {following}")
