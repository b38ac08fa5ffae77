"""How a run is, as a file."""

import json
import time
from collections.abc import Callable
from pathlib import Path

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
