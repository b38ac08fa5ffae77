from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.camera import Applied
from edgeguard.camera.reader import State
from edgeguard.demo.assets import bundled_model
from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.guard.passes import receive_jpeg
from edgeguard.model import Prediction, Score, load_model
from edgeguard.pipeline.counters import Counters
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus

Make = Callable[..., FrameResult]


@pytest.fixture
def make(scene: NDArray[np.uint8]) -> Make:
    """A live result with the camera's JPEG; keywords replace its fields."""
    received = receive_jpeg(encode_jpeg(scene, GuardProfile.preset("jpeg:90")), GuardProfile.preset("fd"))

    def made(frame: int = 0, label: str = "stop", **changes: Any) -> FrameResult:
        result = FrameResult(
            frame=frame, source="camera:0", captured_at=1000.0 + frame / 10, time_source="received", age_ms=12.0,
            prediction=Prediction((Score(label, 1, 0.9), Score("yield", 3, 0.1))), decode_ms=1.0, sanitize_ms=2.0,
            infer_ms=3.0, pass1="none", passes=1, certified_share=None, profile="p" * 64, model="m" * 64,
            undefended=None, rgb=None, received=received,
        )  # fmt: skip
        return replace(result, **changes)

    return made


@pytest.fixture
def status(make: Make) -> RunStatus:
    """A run with one result."""
    model = load_model(bundled_model())
    found = RunStatus("camera:0", model.contract, model.sha256, Counters(), Applied(320, 240, "MJPG", 30.0))
    found.state = State.RUNNING
    result = make(7)
    found.counters.add(result)
    found.update(result)
    return found
