"""What the library logs is what users read on stderr."""

import io
import logging
import os
import subprocess
import sys

import pytest

from edgeguard.cli.messages import messages_to, on_stderr
from edgeguard.cli.progress import FrameCounter, StepDisplay


def test_a_librarys_handler_with_a_closed_stream_stays_silent(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    stream.close()
    logging.getLogger().addHandler(handler)
    said: list[str] = []
    try:
        with messages_to(said.append):
            logging.getLogger("edgeguard.demo").info("converting")
    finally:
        logging.getLogger().removeHandler(handler)
    assert said == ["converting"] and capfd.readouterr().err == ""
    assert logging.getLogger("edgeguard").propagate


def test_logged_lines_stand_on_stderr_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with messages_to(on_stderr):
        logging.getLogger("edgeguard.run.runner").warning("camera lost: %s; trying again", "unplugged")
        logging.getLogger("edgeguard_converters.pipeline").info("100% sure")
        logging.getLogger("edgeguard.camera.reader").debug("camera starting")
        logging.getLogger("somebody.else").info("hello")
    assert capsys.readouterr().err == "edgeguard: camera lost: unplugged; trying again\nedgeguard: 100% sure\n"


def test_a_line_is_cut_in_its_middle(capsys: pytest.CaptureFixture[str]) -> None:
    on_stderr(f"{'x' * 1_000_000}: say it in fewer words")
    said = capsys.readouterr().err
    assert said.startswith("edgeguard: xxx") and said.endswith("xxx: say it in fewer words\n")
    assert said.count("\n") == 1 and len(said) < 2100


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


_NOISY = """
import logging, subprocess, sys, warnings
from edgeguard.cli import main

def command(**rest):
    warnings.warn("from a library")
    from edgeguard.cli.messages import messages_to, on_stderr
    with messages_to(on_stderr):
        logging.getLogger("some.library").warning("from its logger")
        logging.getLogger("edgeguard.x").warning("of ours")
    subprocess.run([sys.executable, "-c", "import warnings; warnings.warn('from a child')"], check=True)

main.app = command
main.main()
"""


def test_warnings_of_libraries_do_not_reach_the_user() -> None:
    def said(*words: str, **environment: str) -> str:
        command = [sys.executable, "-c", _NOISY, *words]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False).stderr

    assert said() == "edgeguard: of ours\n"
    assert "from a library" in said("--debug") and "from a child" in said("--debug")
    assert "from a library" in said(PYTHONWARNINGS="default")
