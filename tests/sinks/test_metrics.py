"""Prometheus' own parser reads what is served; /healthz tells old frames."""

import urllib.error
import urllib.request
from collections.abc import Callable
from unittest import mock

import pytest

from edgeguard.camera.reader import State
from edgeguard.errors import DeviceError
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.sinks.metrics import MetricsServer
from edgeguard.sinks.queued import QueuedSink
from edgeguard.system.power import Power

parser = pytest.importorskip("prometheus_client.parser", reason="the extra metrics is not installed")


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_what_prometheus_reads(status: RunStatus) -> None:
    status.power, status.ringing = Power(61.5, ("throttled",), ()), ("patch",)
    sink = mock.create_autospec(QueuedSink, instance=True)
    sink.name, sink.dropped = "mqtt", 3
    status.sinks.append(sink)
    with MetricsServer("127.0.0.1", 0, status=status, stale_after_s=10.0) as server:
        code, text = _get(f"{server.url}metrics")
        assert _get(f"{server.url}nothing")[0] == 404
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert code == 200 and samples["edgeguard_frames_total",] == 1
    assert samples["edgeguard_frame_age_seconds",] == 0.012 and samples["edgeguard_temperature_celsius",] == 61.5
    assert samples["edgeguard_throttled",] == 1 and samples["edgeguard_sink_dropped_total", "mqtt"] == 3
    assert samples["edgeguard_alarm", "patch"] == 1 and samples["edgeguard_alarm", "disagreement"] == 0
    assert samples["edgeguard_camera_state", "running"] == 1 and samples["edgeguard_camera_state", "lost"] == 0
    assert samples["edgeguard_stage_seconds_total", "infer"] == pytest.approx(0.003)


def test_frames_that_were_proven(status: RunStatus, make: Callable[..., FrameResult]) -> None:
    for number, (proven, proven_2) in enumerate(((True, True), (True, False), (False, False), (None, None))):
        share = None if proven is None else 0.9
        status.counters.add(make(number, certified_share=share, certifies=True, proven=proven, proven_2=proven_2))
    status.ringing = ("unproven",)
    with MetricsServer("127.0.0.1", 0, status=status, stale_after_s=10.0) as server:
        lines = _get(f"{server.url}metrics")[1].splitlines()
    assert {
        "edgeguard_certified_frames_total 3.0",
        'edgeguard_proven_total{levels="1"} 2.0',
        'edgeguard_proven_total{levels="2"} 1.0',
        'edgeguard_alarm{alarm="unproven"} 1.0',
    } <= set(lines)


def test_health(status: RunStatus) -> None:
    with MetricsServer("127.0.0.1", 0, status=status, stale_after_s=5.0) as server:
        assert _get(f"{server.url}healthz") == (200, "ok\n")
        assert status.result_at is not None
        status.result_at -= 60
        status.state, status.reason = State.LOST, "unplugged"
        code, text = _get(f"{server.url}healthz")
        assert code == 503 and "no result for 60 s, camera lost (unplugged)" in text


def test_a_port_that_is_taken(status: RunStatus) -> None:
    with MetricsServer("127.0.0.1", 0, status=status, stale_after_s=5.0) as server:
        port = int(server.url.rstrip("/").rpartition(":")[2])
        with pytest.raises(DeviceError, match="cannot serve metrics"):
            MetricsServer("127.0.0.1", port, status=status, stale_after_s=5.0)
