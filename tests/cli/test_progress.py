import sys

import pytest

from edgeguard.cli.progress import FrameCounter, StepDisplay


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
