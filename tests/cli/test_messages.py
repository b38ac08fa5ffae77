"""What the library logs is what users read on stderr."""

import logging

import pytest

from edgeguard.cli.messages import messages_to, on_stderr
from edgeguard.cli.progress import FrameCounter, StepDisplay


def test_logged_lines_stand_on_stderr_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with messages_to(on_stderr):
        logging.getLogger("edgeguard.run.runner").warning("camera lost: %s; trying again", "unplugged")
        logging.getLogger("edgeguard_converters.pipeline").info("100% sure")
        logging.getLogger("edgeguard.camera.reader").debug("camera starting")
        logging.getLogger("somebody.else").info("hello")
    assert capsys.readouterr().err == "edgeguard: camera lost: unplugged; trying again\nedgeguard: 100% sure\n"


def test_displays_take_over_and_give_back(capsys: pytest.CaptureFixture[str]) -> None:
    log, outer = logging.getLogger("edgeguard.x"), list[str]()
    root = logging.getLogger("edgeguard")
    before = root.level, root.handlers[:]
    with messages_to(outer.append):
        with FrameCounter():
            log.info("in a counter")
        with StepDisplay(1):
            log.info("in steps")
        log.info("outside")
    assert outer == ["outside"] and (root.level, root.handlers) == before
    assert capsys.readouterr().err == "edgeguard: in a counter\nedgeguard: in steps\n"
