"""Freed memory stays with the process, where the C library offers it."""

import subprocess
import sys

import pytest

from edgeguard.system.heap import keep_freed_memory

PROGRAM = """
import resource, sys
import numpy as np
from edgeguard.system.heap import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(300):
    blocks = [np.empty(2 << 20, np.uint8) for _ in range(4)]
    for block in blocks:
        block[::4096] = 1
    del block, blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has mallopt")
def test_pages_are_not_cleared_again_and_again() -> None:
    keeps, gives_back = (
        int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "not")
    )
    assert keeps < gives_back / 3


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
