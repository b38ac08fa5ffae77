"""The names of `edgeguard` itself: each is there, none costs anything before it is used."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

import edgeguard


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    assert sorted(edgeguard.__all__) == list(edgeguard.__all__)
    named = {name for names in edgeguard._MODULES.values() for name in names}
    assert named | {"__version__"} == set(edgeguard.__all__)
    assert all((getattr(edgeguard, name).__doc__ or "").strip() for name in named)
    assert set(edgeguard.__all__) <= set(dir(edgeguard))


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Runner'; it has .*Pipeline"):
        _ = edgeguard.Runner  # type: ignore[attr-defined]  # there is none


def test_the_package_imports_nothing_heavy() -> None:
    code = "import sys, edgeguard; print(sorted({'numpy', 'cv2', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_frame_that_you_hold_is_answered(scene: NDArray[np.uint8]) -> None:
    from edgeguard.demo.assets import bundled_model

    assert edgeguard.load_model(bundled_model())(scene).label == "danger"
