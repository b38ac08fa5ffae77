"""The finished file is answered in other environments too."""

import stat
import sys
from pathlib import Path

import pytest

from edgeguard.errors import CheckFailed
from edgeguard.guard import GuardProfile

pytestmark = pytest.mark.convert

#: A Python whose runtime answers with noise.
_WRONG = """#!{python}
import sys, numpy as np
inputs = np.load(sys.argv[4])
np.savez(sys.argv[5], np.random.default_rng(0).integers(0, 256, (len(inputs), 4), dtype=np.uint8))
"""


@pytest.mark.full
@pytest.mark.parametrize("wrong", [False, True])
def test_another_runtime_has_to_agree(trained: Path, squares: list, tmp_path: Path, wrong: bool) -> None:
    from edgeguard_converters import convert

    python = tmp_path / "python"
    if wrong:
        python.write_text(_WRONG.format(python=sys.executable))
    else:
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    fields = {
        "output": tmp_path / "m.tflite", "calibration": squares, "profile": GuardProfile.preset("fd"),
        "preprocess": "tf", "crop": "none", "runtimes": (str(python),),
    }  # fmt: skip
    if wrong:
        with pytest.raises(CheckFailed, match="answers otherwise"):
            convert(trained, **fields)
        assert not (tmp_path / "m.tflite").exists()
    else:
        done = convert(trained, **fields)
        assert any("the file answers within inf dB on 8 images" in note for note in done.notes)
