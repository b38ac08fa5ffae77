"""The fleet as a page, as JSON and as Prometheus metrics."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from edgeguard.errors import InputError
from edgeguard.fleet.trust import Rollout
from edgeguard.fleet.workstation.collect import Fleet
from edgeguard.fleet.workstation.rollout import progress
from edgeguard.reporting.served import page_files
from edgeguard.system.addresses import is_loopback
from edgeguard.system.extras import how_to_install
from edgeguard.system.http import Answer, HttpServer, Request

_SILENT_S = 1200.0  # longer than a timer's quarter of an hour
_SHOWN = (
    "device", "bundle", "slot", "trial", "failed", "camera", "frames", "drops", "age_ms", "infer_ms", "certified",
    "drift", "celsius", "free_mb", "refused_update",
)  # fmt: skip


def summary(fleet: Fleet, rollout: Rollout | None) -> dict[str, Any]:
    """What is known, as plain data.

    Args:
        fleet: what the devices said.
        rollout: what is rolled out; None where no repository is known.
    """
    now = time.time()
    bundles, silent, each = Counter[str](), 0, []
    for fields in fleet.snapshot():
        bundles[str(fields["bundle"])] += 1
        silent += now - fields["received_at"] > _SILENT_S
        each.append(_device(fields, now))
    return {
        "schema": 1, "at": round(now, 1), "devices": len(each), "received": fleet.received, "silent": silent,
        "refused_messages": dict(fleet.refused), "bundles": dict(bundles),
        "rollouts": [] if rollout is None else [_rollout(offer, fleet.snapshot()) for offer in rollout.bundles],
        "each": each,
    }  # fmt: skip


def _rollout(offer: Any, found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    title = f"{offer.name}-{offer.version}"
    one = progress(title, found)
    return {
        "bundle": title, "share": offer.share, "halted": offer.halted, "well": one.well, "trial": one.trial,
        "failed": one.failed, "failures_at_least": round(one.failures_at_least, 4),
    }  # fmt: skip


def _device(fields: dict[str, Any], now: float) -> dict[str, Any]:
    shown = {name: fields.get(name) for name in _SHOWN}
    compared, disagreed = _number(fields.get("compared")), _number(fields.get("disagreed"))
    refused = fields.get("refused")
    return {
        **shown, "silent_s": round(now - fields["received_at"]),
        "disagreement": round(disagreed / compared, 4) if compared else None,
        "refused_frames": sum(map(_number, refused.values())) if isinstance(refused, dict) else 0,
    }  # fmt: skip


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0


class FleetPage(HttpServer):
    """Serves the page, /fleet.json, /metrics and /healthz. Use as a context manager.

    Args:
        host, port: where; port 0 takes a free one.
        fleet: what the devices said.
        rollout: gives what is rolled out, or None.
        token: wanted from everybody beyond loopback.

    Raises:
        InputError: another address than loopback without a token.
        DeviceError: the address is taken.
    """

    def __init__(self, host: str, port: int, *, fleet: Fleet, rollout: Any, token: str | None = None) -> None:
        if token is None and not is_loopback(host):
            raise InputError(f"--web {host}:{port} can be reached from outside: give --web-token-file")
        self._fleet, self._rollout = fleet, rollout
        self._files = page_files("fleet", "EdgeGuard fleet")
        super().__init__(
            "the fleet's page", host, port, answer=self._page, health=lambda: Answer.line(200, "ok"), token=token
        )

    def _page(self, request: Request) -> Answer:
        if request.path in self._files:
            return Answer(200, *self._files[request.path])
        if request.path == "/fleet.json":
            return Answer.json(summary(self._fleet, self._rollout()))
        if request.path == "/metrics":
            return _metrics(summary(self._fleet, self._rollout()))
        return Answer.line(404, "not found")


def _metrics(found: dict[str, Any]) -> Answer:
    try:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.exposition import CONTENT_TYPE_LATEST
    except ImportError:
        return Answer.line(501, f"metrics are not installed: {how_to_install('metrics')}")
    registry = CollectorRegistry()
    registry.register(_Families(found))
    return Answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)


class _Families:
    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        found = self._found
        yield GaugeMetricFamily("edgeguard_fleet_devices", "Devices that said anything", value=found["devices"])
        yield GaugeMetricFamily("edgeguard_fleet_silent", "Devices that say nothing any more", value=found["silent"])
        bundles = GaugeMetricFamily("edgeguard_fleet_bundle_devices", "Devices by their bundle", labels=["bundle"])
        for bundle, count in found["bundles"].items():
            bundles.add_metric([bundle], count)
        yield bundles
        refused = CounterMetricFamily("edgeguard_fleet_refused_messages", "Messages refused", labels=["reason"])
        for reason, count in found["refused_messages"].items():
            refused.add_metric([reason], count)
        yield refused
        for key in ("well", "failed", "failures_at_least", "halted"):
            family = GaugeMetricFamily(f"edgeguard_fleet_rollout_{key}", f"Rollout: {key}", labels=["bundle"])
            for one in found["rollouts"]:
                family.add_metric([one["bundle"]], float(one[key]))
            yield family
        for key, text in (
            ("disagreement", "Share that disagrees with the undefended path"),
            ("certified", "Certified share"), ("drift", "Distance of the labels from the week before"),
            ("refused_frames", "Frames refused for their seal"), ("celsius", "Of the processor"),
        ):  # fmt: skip
            family = GaugeMetricFamily(f"edgeguard_fleet_{key}", text, labels=["device"])
            for device in found["each"]:
                if isinstance(device[key], int | float):
                    family.add_metric([str(device["device"])], float(device[key]))
            yield family
