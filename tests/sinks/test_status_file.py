"""How a run is, as a file."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeguard.errors import DeviceError
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.sinks.queued import QueuedSink
from edgeguard.sinks.status_file import StatusFile


def test_the_file_is_there_before_any_result_and_holds_all_at_the_end(
    tmp_path: Path, status: RunStatus, make: Callable[..., FrameResult]
) -> None:
    path = tmp_path / "status.json"
    with QueuedSink("status", lambda: StatusFile(path, status)) as sink:
        until = time.monotonic() + 10
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert json.loads(path.read_bytes())["labels"] == {}
        for number in range(50):
            sink.write(make(number, label=f"label {number % 40}"))
        while sink.written < 50 and time.monotonic() < until:
            time.sleep(0.05)
    assert sink.failure is None
    with StatusFile(path, status) as again:
        for number in range(50):
            again.write(make(number, label=f"label {number % 40}"))
    found = json.loads(path.read_bytes())
    assert sum(found["labels"].values()) == 50 and len(found["labels"]) == 33 and found["labels"]["other"] == 8
    assert found["camera"] == "running" and found["infer_ms"][1] == 3.0 and found["model"] == status.model


@pytest.mark.parametrize("place", ["folder", "pipe", "no/such", "/dev/null"])
def test_a_file_that_cannot_be_is_said_before_the_run(tmp_path: Path, status: RunStatus, place: str) -> None:
    """The run went on for ever, and nobody saw how it was."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DeviceError, match="cannot write"):
        StatusFile(tmp_path / place, status)
