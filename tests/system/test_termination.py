"""SIGTERM: a clean end, and an end in any case."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeguard.system.termination import clean_end_on_sigterm

_PROGRAM = """
import hashlib, sys, time
from edgeguard.system.termination import clean_end_on_sigterm
def native():
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10**9)  # minutes, in which no Python step is made
def waits():
    time.sleep(60)
def hangs_at_the_end():
    try:
        time.sleep(60)
    finally:
        time.sleep(60)
with clean_end_on_sigterm({}):
    print("here", flush=True)
    {}()
"""


@pytest.mark.parametrize(("busy", "code"), [("waits", 0), ("native", 3), ("hangs_at_the_end", 3)])
def test_it_ends_whatever_it_does(busy: str, code: int) -> None:
    seconds = 15.0 if code == 0 else 1.0  # a clean end may take its time on a busy machine
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(seconds, busy)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    time.sleep(0.1)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code and time.monotonic() - began < 10
    assert ("no clean end within 1 s" in said) == (code == 3)


def test_without_a_signal_everything_is_as_before() -> None:
    before, files = signal.getsignal(signal.SIGTERM), len(list(Path("/proc/self/fd").iterdir()))
    with clean_end_on_sigterm():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(list(Path("/proc/self/fd").iterdir())) == files


_BESIDE = """
import sys, threading
import cv2, numpy as np
from edgeguard.system.termination import end_beside_threads
picture = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8))[1]
decoding = threading.Event()
def decode():
    while True:
        decoding.set()
        cv2.imdecode(picture, 1)
threading.Thread(target=decode, daemon=True).start()
decoding.wait()
def run():
    print("said")
    sys.exit({})
end_beside_threads(run)
"""


@pytest.mark.parametrize(("given", "code"), [("", 0), ("3", 3), ("'why'", 1)])
def test_a_thread_in_native_code_does_not_abort_the_end(given: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", _BESIDE.format(given)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "said\n"), done.stderr
    assert "terminate called" not in done.stderr
