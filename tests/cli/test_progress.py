import sys
import time

import pytest

from edgeguard.cli import progress
from edgeguard.cli.progress import FrameCounter, Pulse, StepDisplay, UnitCounter


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_on_a_terminal_only(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    with StepDisplay(2) as display:
        display.step("first")
        display.say("a line that stays")
        display.step("second")
    with FrameCounter() as counter:
        counter.total = 7
        counter.show(3)
    shown = capsys.readouterr().err
    assert "edgeguard: a line that stays\n" in shown
    assert ("first" in shown and "3 of 7 frames" in shown) == terminal
    assert shown.endswith("\x1b[K") == terminal


def _wait_for(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    shown, end = "", time.monotonic() + 60
    while text not in shown and time.monotonic() < end:
        time.sleep(0.01)
        shown += capsys.readouterr().err
    assert text in shown
    return shown


@pytest.mark.parametrize("terminal", [True, False])
def test_long_work_says_in_a_pipe_that_it_goes_on(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(progress, "Pulse", lambda: Pulse(0.02))
    with StepDisplay(1) as display:
        time.sleep(0.1)
        assert capsys.readouterr().err == ""  # nothing is going on yet
        display.step("calibrating")
        if terminal:
            time.sleep(0.1)
            assert "edgeguard: calibrating (" not in capsys.readouterr().err
        else:
            assert "\x1b" not in _wait_for("edgeguard: calibrating (0 s)\n", capsys)
    with UnitCounter() as counter:
        counter.show("attacks", 3, 7)
        if not terminal:
            _wait_for("edgeguard: attacks: 3 of 7 (0 s)\n", capsys)
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""  # it ended with the work


def test_what_takes_minutes_says_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    with Pulse(0.02) as pulse:
        pulse.going_on("calibrating", since=time.monotonic() - 95)
        _wait_for("edgeguard: calibrating (for 1 min 35 s)\n", capsys)


def test_a_note_that_changes_leaves_the_estimate() -> None:
    with UnitCounter() as counter:
        for done in (1, 2, 3):
            counter.show("patch", done, 4, f"{done} % of the last views")
        said = counter._pulse._what
    assert said == "patch: 3 of 4, 0 s left; 3 % of the last views"
