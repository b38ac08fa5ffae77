"""Prometheus metrics and /healthz (extra `metrics`)."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from edgeguard.camera.reader import State
from edgeguard.errors import InputError
from edgeguard.jpeg.seal import Refusal
from edgeguard.pipeline.status import RunStatus, by_camera
from edgeguard.sinks.health import run_health
from edgeguard.system.addresses import is_loopback
from edgeguard.system.extras import how_to_install
from edgeguard.system.http import Answer, HttpServer, Request

_log = logging.getLogger(__name__)


class MetricsServer(HttpServer):
    """Serves /metrics and /healthz. Use as a context manager. Beyond loopback without a token it warns.

    Args:
        host, port: where; port 0 takes a free one.
        status: what the run is doing; of several cameras by their names, which become the label `camera`.
        stale_after_s: /healthz answers 503 when no result came for so long.
        token: wanted of whoever reads /metrics, as a Bearer header (Prometheus: `authorization`).

    Raises:
        InputError: the extra is not installed.
        DeviceError: the address is taken.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        status: RunStatus | Mapping[str, RunStatus],
        stale_after_s: float,
        token: str | None = None,
    ) -> None:
        try:
            from prometheus_client import CollectorRegistry, generate_latest
            from prometheus_client.exposition import CONTENT_TYPE_LATEST
        except ImportError as error:
            raise InputError(f"metrics are not installed: {how_to_install('metrics')}") from error
        registry = CollectorRegistry()
        registry.register(_Collector(status))

        def answer(request: Request) -> Answer:
            if request.path != "/metrics":
                return Answer.line(404, "not found")
            return Answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)

        super().__init__(
            "metrics", host, port, answer=answer, health=lambda: run_health(status, stale_after_s), token=token
        )
        if token is None and not is_loopback(host):
            _log.warning(
                "ANYBODY WHO REACHES %s CAN READ THE METRICS: give --metrics-token-file, or serve them on 127.0.0.1",
                self.url,
            )


class _Collector:
    """Reads the run's counters when Prometheus asks; nothing is done for each frame."""

    def __init__(self, status: RunStatus | Mapping[str, RunStatus]) -> None:
        self._cameras = by_camera(status)

    def collect(self) -> Iterator[Any]:
        found: dict[str, Any] = {}
        for name, status in self._cameras.items():
            for family in self._of(status):
                if name:
                    family.samples = [one._replace(labels={**one.labels, "camera": name}) for one in family.samples]
                if family.name in found:
                    found[family.name].samples += family.samples
                else:
                    found[family.name] = family
        yield from found.values()

    def _of(self, status: RunStatus) -> Iterator[Any]:
        """All that is told of one camera."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counters = status.counters
        for name, text, value in (
            ("frames", "Results given", counters.frames),
            ("captured", "Whole frames that arrived", counters.captured),
            ("dropped", "Frames that were not taken in time", counters.dropped),
            ("damaged", "Frames that arrived damaged", counters.lost),
            ("camera_losses", "Times the camera was lost", counters.losses),
            ("camera_reconnects", "Times the camera came back", counters.reconnects),
            ("disagreements", "Compared results that the undefended path disagrees with", counters.disagreements),
            ("compared", "Results that were compared with the undefended path", counters.compared),
            ("certified_frames", "Frames that were looked at for a proof", counters.certified_frames),
        ):
            yield CounterMetricFamily(f"edgeguard_{name}", text, value)
        refused = CounterMetricFamily(
            "edgeguard_refused", "Frames refused for what their seal says, which is no damage", labels=["reason"]
        )
        for reason in get_args(Refusal):
            refused.add_metric([reason], counters.refused[reason])
        yield refused
        events = CounterMetricFamily("edgeguard_events", "Events that a rule began", labels=["rule"])
        for rule in status.rules.get("events", ()):
            events.add_metric([rule["name"]], status.events.begun[status.camera, rule["name"]])
        yield from [events] * bool(events.samples)
        yield CounterMetricFamily(
            "edgeguard_other_profile", "Frames that a sensor sealed with another profile", counters.other_profile
        )
        stages = CounterMetricFamily("edgeguard_stage_seconds", "Time spent in each stage", labels=["stage"])
        for stage, seconds in counters.stage_seconds.items():
            stages.add_metric([stage], seconds)
        yield stages
        proven = CounterMetricFamily(
            "edgeguard_proven", "Frames proven at so many levels in transit", labels=["levels"]
        )
        for levels, count in (("1", counters.proven), ("2", counters.proven_2)):
            proven.add_metric([levels], count)
        yield proven
        sinks = CounterMetricFamily("edgeguard_sink_dropped", "Results that a sink did not get", labels=["sink"])
        for sink in status.sinks:
            sinks.add_metric([sink.name], sink.dropped)
        yield sinks
        alarms = GaugeMetricFamily("edgeguard_alarm", "1 while an alarm rings", labels=["alarm"])
        for name in ("patch", "disagreement", "certified", "unproven", "frozen", "refused"):
            alarms.add_metric([name], float(name in status.ringing))
        yield alarms
        states = GaugeMetricFamily("edgeguard_camera_state", "1 for the state of the camera", labels=["state"])
        for state in State:
            states.add_metric([str(state)], float(state is status.state))
        yield states
        last, power = status.last, status.power
        if last is not None and last.age_ms is not None:
            yield GaugeMetricFamily(
                "edgeguard_frame_age_seconds", "Age of the last result's frame", value=last.age_ms / 1e3
            )
        if power.celsius is not None:
            yield GaugeMetricFamily("edgeguard_temperature_celsius", "Of the processor", value=power.celsius)
        if power.now is not None:
            yield GaugeMetricFamily(
                "edgeguard_throttled", "1 while the system slows the processor", float(power.slowed)
            )
