"""What devices say, over a real mosquitto: signed, bounded, collected, refused; enrollment, revocation, halting."""

import json
import time
import tracemalloc
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tuf", reason="the extra fleet is not installed")
pytest.importorskip("paho.mqtt.client", reason="the extra mqtt is not installed")
from fleet import fleets
from fleet.brokers import broker, free_port, wait

from edgeguard.errors import InputError
from edgeguard.fleet.agent import Reporter
from edgeguard.fleet.enrollment import enroll
from edgeguard.fleet.identity import device_key
from edgeguard.fleet.link import MOST_WAITING, Link
from edgeguard.fleet.probation import RunStatus
from edgeguard.fleet.state import Failure, Installed, State, write_state
from edgeguard.fleet.telemetry import (
    LARGEST,
    Memory,
    divergence,
    message,
    read_memory,
    signed,
    verified,
    write_memory,
)
from edgeguard.fleet.workstation import collect, page
from edgeguard.fleet.workstation.collect import Collector, Fleet
from edgeguard.fleet.workstation.devices import Devices, change_devices, read_devices
from edgeguard.fleet.workstation.page import FleetPage, summary
from edgeguard.fleet.workstation.rollout import clopper_pearson_lower, progress
from edgeguard.fleet.workstation.watch import Halts
from edgeguard.sinks.mqtt_client import Broker

NOW = datetime.now(UTC)
STATUS = RunStatus(
    1e9, 3600.0, 123456, "running", age_ms=(12.3456, 45.678), infer_ms=(8.1, 9.9), decode_ms=(1.0, 2.0),
    sanitize_ms=(1.0, 2.0), refused={"forged": 3, "replayed": 2}, pass1={"sensor": 1000}, certified_share=0.9731,
    compared=100, disagreements=7, labels={f"a label with a long name {n}": n for n in range(32)}, celsius=61.5,
    model="m" * 64, profile="p" * 64,
)  # fmt: skip


def test_a_message_is_signed_and_at_most_a_kilobyte(tmp_path: Path) -> None:
    layout, _ = fleets.Fleet(tmp_path).device()
    key = device_key(layout)
    public = key.public_key().public_bytes_raw()
    failed = Failure("cam", 8, "0" * 64, "x" * 200)
    state = State(current=Installed("a", "cam", 7, "0" * 64), failures=(failed,))
    for status in (STATUS, replace(STATUS, labels={"ü" * 60: 5}, pass1={"none": 10**12}), None):
        payload = signed(
            message("d" * 64, 2**40, state, status, free_mb=10**6, refused_update="y" * 200, drift=0.12), key
        )
        assert len(payload) <= LARGEST and json.loads(payload)["device"] == "d" * 64
        assert verified(payload, public)["bundle"] == "cam-7"
        for spoiled in (
            payload.replace(b"cam-7", b"cam-9"),
            payload + b" " * 2000,
            payload[:-3],
            b"{}",
            b"",
            b'","sig":"',
        ):
            with pytest.raises(InputError):
                verified(spoiled, public)
        with pytest.raises(InputError):
            verified(payload, bytes(32))


def test_labels_drift() -> None:
    memory, day = Memory(), 86400.0
    assert memory.drift(0) is None and divergence({}, {"a": 1}) is None
    for number in range(10):
        memory.count({"stop": 90, "yield": 10}, day * number)
    memory.count({"stop": 10, "yield": 90}, day * 10)
    assert memory.days is not None and len(memory.days) == 8
    drift = memory.drift(day * 10)
    assert drift == 0.7287  # sqrt(1 - H(0.9)), H the binary entropy
    assert divergence({"a": 1, "b": 1}, {"a": 2, "b": 2}) == 0.0


@pytest.mark.full
def test_messages_wait_for_the_broker_and_too_many_are_counted(tmp_path: Path) -> None:
    port, outbox = free_port(), tmp_path / "outbox.json"
    away = Broker(f"mqtt://127.0.0.1:{port}")
    with Link(away, "cam-hall", outbox) as link:
        for number in range(MOST_WAITING + 5):
            link.put("telemetry", str(number).encode())
        assert link.dropped == 5 and not link.flush(0.2)
    fleet = Fleet(None)
    got: list[bytes] = []
    fleet.take = lambda topic, payload: got.append(payload)  # type: ignore[method-assign]  # to see what comes
    with broker(tmp_path, port), Collector(away, fleet) as collector:
        wait(lambda: collector.connected, "the collector is there")
        wait(lambda: collector._client.is_connected(), "connected")
        with Link(away, "cam-hall", outbox) as link:
            assert link.flush(60)
            collector.wake()
            wait(link.wake.is_set, "the device hears that there is news")
        wait(lambda: len(got) >= MOST_WAITING, "all arrive")
    assert [int(one) for one in got] == list(range(5, MOST_WAITING + 5))
    assert json.loads(outbox.read_bytes()) == []


def test_a_device_enrolls_once_reports_and_is_revoked(tmp_path: Path) -> None:
    made, port, file = fleets.Fleet(tmp_path), free_port(), tmp_path / "devices.json"
    layout, device = made.device()
    other, lost = made.device("cam-door")
    token = change_devices(file, lambda known: known.expecting("cam-hall", NOW)).tokens["cam-hall"].token
    assert file.stat().st_mode & 0o077 == 0
    where = Broker(f"mqtt://127.0.0.1:{port}")
    fleet = Fleet(file)
    with broker(tmp_path, port), Collector(where, fleet) as collector:
        wait(lambda: collector.connected, "the collector is there")
        enroll(layout, device, where, "a wrong token of some length")
        wait(lambda: fleet.refused["message"] == 1, "a wrong token is refused")
        enroll(layout, device, where, token)
        wait(lambda: "cam-hall" in read_devices(file).keys, "the device belongs to the fleet")
        assert not read_devices(file).tokens
        enroll(other, replace(lost, device="cam-hall"), where, token)
        wait(lambda: fleet.refused["message"] == 2, "a token counts once")
        with Link(where, device.device, tmp_path / "outbox") as link:
            reporter = Reporter(layout, device, link)
            reporter.report()
            wait(lambda: "cam-hall" in fleet.latest, "it is heard")
            payload = signed(message("cam-hall", 10**9, State(), None), device_key(layout))
            fleet.take("edgeguard/cam-hall/telemetry", payload)
            fleet.take("edgeguard/cam-hall/telemetry", payload)
            assert fleet.refused["replayed"] == 1
            fleet.take("edgeguard/cam-door/telemetry", payload)
            assert fleet.refused["unknown"] == 1
            change_devices(file, lambda known: known.without("cam-hall", NOW))
            fleet._read_at = 0.0
            fleet.take(
                "edgeguard/cam-hall/telemetry", signed(message("cam-hall", 10**10, State(), None), device_key(layout))
            )
            assert fleet.refused["revoked"] == 1 and fleet.latest["cam-hall"].seq == 10**9
    late = Devices().expecting("cam-late", NOW - timedelta(days=8))
    from edgeguard.fleet.enrollment import Request

    with pytest.raises(InputError, match="has expired"):
        late.enrolled(Request("cam-late", "0" * 64, "0" * 64), NOW)


def test_of_changes_at_once_none_is_lost(tmp_path: Path) -> None:
    """A device that enrolls while another one is revoked: whoever wrote last took the other change back."""
    file = tmp_path / "devices.json"

    def slowly(name: str) -> Callable[[Devices], Devices]:
        def change(known: Devices) -> Devices:
            time.sleep(0.02)
            return known.expecting(name, NOW)

        return change

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: change_devices(file, slowly(f"cam-{n}")), range(8)))
    assert len(read_devices(file).tokens) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["devices.json"]


def test_who_enrolls_again_and_again_makes_nobody_read_the_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, reads = tmp_path / "devices.json", list[Path]()
    change_devices(file, lambda known: known.expecting("cam-hall", NOW))

    def counted(path: Path) -> Devices:
        reads.append(path)
        return read_devices(path)

    monkeypatch.setattr(collect, "read_devices", counted)
    fleet = Fleet(file, now=lambda: NOW)
    request = json.dumps({"device": "cam-hall", "key": "0" * 64, "mac": "0" * 64}).encode()
    for _ in range(50):
        fleet.take("edgeguard/cam-hall/enroll", request)
    assert fleet.refused["message"] == 50 and len(reads) == 1


def _say(fleet: Fleet, device: str, bundle: str, failed: str | None = None) -> None:
    fields = {
        "device": device,
        "seq": 1,
        "bundle": bundle,
        "trial": False,
        "failed": failed,
        "compared": 10,
        "disagreed": 1,
    }
    fleet.take(f"edgeguard/{device}/telemetry", json.dumps(fields).encode())


def test_a_rollout_that_fails_is_halted_and_no_other(tmp_path: Path) -> None:
    made = fleets.Fleet(tmp_path)
    made.publish(made.bundle(7))
    made.publish(made.bundle(8), share=10)
    fleet, halts = Fleet(None), Halts(made.repository.folder, made.keys)
    for number in range(30):
        _say(fleet, f"well-{number}", "cam-8")
    _say(fleet, "bad-0", "cam-7", "cam-8: the run ended")
    assert halts.look(fleet) == []
    for number in range(1, 6):
        _say(fleet, f"bad-{number}", "cam-7", "cam-8: the run ended")
    assert clopper_pearson_lower(6, 36) > 0.05
    assert halts.look(fleet) == ["cam-8"] and halts.look(fleet) == []
    found = summary(fleet, halts.rollout)
    assert [(one["bundle"], one["halted"], one["failed"]) for one in found["rollouts"]] == [
        ("cam-7", False, 0), ("cam-8", True, 6)
    ]  # fmt: skip
    assert progress("cam-8", fleet.snapshot()).well == 30


@pytest.mark.parametrize(("failures", "n"), [(1, 1), (1, 20), (3, 10), (6, 36), (50, 1000), (999, 1000)])
def test_the_bound_is_clopper_and_pearsons(failures: int, n: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is a tool of the developers")
    assert clopper_pearson_lower(failures, n) == pytest.approx(
        stats.beta.ppf(0.05, failures, n - failures + 1), rel=1e-6
    )


def test_the_fleets_page_json_and_metrics(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
    fleet = Fleet(None)
    _say(fleet, "cam-hall", "cam-8")
    fleet.take("edgeguard/cam-door/telemetry", b"\xff\xfe")
    fleet.take("edgeguard/<script>/telemetry", b"{}")
    fleet.take("edgeguard/cam-door/telemetry", b'{"device":"cam-door","seq":"1"}')
    with FleetPage("127.0.0.1", 0, fleet=fleet, rollout=lambda: None) as page:
        got = {path: urllib.request.urlopen(page.url + path, timeout=20).read().decode() for path in
               ("", "fleet.json", "metrics", "healthz", "page.js")}  # fmt: skip
    found = json.loads(got["fleet.json"])
    assert found["devices"] == 1 and found["each"][0]["disagreement"] == 0.1 and found["bundles"] == {"cam-8": 1}
    assert found["refused_messages"] == {"message": 2}
    assert 'edgeguard_fleet_disagreement{device="cam-hall"} 0.1' in got["metrics"] and "Fleet" in got[""]
    with pytest.raises(InputError, match="can be reached from outside"):
        FleetPage("0.0.0.0", 0, fleet=fleet, rollout=lambda: None)


def test_a_reporter_without_a_broker_writes_nothing(tmp_path: Path) -> None:
    layout, device = fleets.Fleet(tmp_path).device()
    write_state(layout, State())
    reporter = Reporter(layout, device, None)
    reporter.report()
    reporter.keep()
    assert not (layout.root / "telemetry.json").exists()


@pytest.mark.parametrize(
    "extra",
    [
        {"compared": 1, "disagreed": 10**400}, {"refused": {"a": 10**400}}, {"refused": {"a": 1.5}}, {"failed": 5},
        {"failed": {"a": 1}}, {"bundle": ["a-1"]}, {"seq": True}, {"seq": -1}, {"seq": 10**30}, {"trial": []},
        {"camera": 5}, {"celsius": 10**400}, {"certified": "x"}, {"frames": "x"}, {"age_ms": 5}, {"another": [10**400]},
    ],
)  # fmt: skip
def test_no_message_of_one_device_breaks_the_page_of_all(extra: dict[str, Any]) -> None:
    fleet, good = Fleet(None), {"v": 1, "device": "x", "seq": 1, "bundle": "a-1"}
    fleet.take("edgeguard/y/telemetry", json.dumps({**good, "device": "y", "another": [1.5, None]}).encode())
    fleet.take("edgeguard/x/telemetry", json.dumps({**good, **extra}).encode())
    found = summary(fleet, None)
    assert found["devices"] == 1 and found["refused_messages"] == {"message": 1} and json.dumps(found)
    assert page._metrics(found).status == 200 and progress("a-1", fleet.snapshot()).well == 1


@pytest.mark.parametrize("number", ["1e400", "NaN", "-Infinity"])
def test_numbers_that_are_none_are_no_message(number: str) -> None:
    fleet = Fleet(None)
    fleet.take("edgeguard/x/telemetry", f'{{"device":"x","seq":1,"compared":1,"drift":{number}}}'.encode())
    assert fleet.refused == {"message": 1} and not fleet.latest


def test_of_a_message_only_what_was_checked_is_kept(tmp_path: Path) -> None:
    fleet = Fleet(None)
    fleet.take("edgeguard/x/telemetry", json.dumps({"device": "x", "seq": 1, "another": [{}] * 90}).encode())
    tracemalloc.start()
    for number in range(60):
        head = b'{"device":"d%d","seq":1,"bundle":"a-1","x":[' % number
        message = head + b",".join([b"{}"] * ((LARGEST - len(head) - 2) // 3)) + b"]}"
        fleet.take(f"edgeguard/d{number}/telemetry", message)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(fleet.latest) == 61 and taken / 60 < 1500
    shown = next(iter(fleet.snapshot()))
    assert shown["bundle"] == "a-1" and shown["frames"] is None and "x" not in shown and shown["device"] == "d0"


def test_a_memory_that_is_too_large_or_cut_keeps_its_sequence(tmp_path: Path) -> None:
    layout, _ = fleets.Fleet(tmp_path).device()
    file = layout.root / "telemetry.json"
    whole = b'{"sequence":41,"days":{"20000":{%s}}}' % b",".join(b'"label-%05d":7' % n for n in range(20_000))
    for data in (whole, whole[:100], b'{"sequence":41,"days":5}'):
        file.write_bytes(data)
        assert read_memory(layout).sequence == 1_000_041
        assert json.loads(file.read_bytes())["sequence"] == 1_000_041
    file.write_bytes(b"garbage")
    assert read_memory(layout).sequence == 1_000_000


def test_the_memory_that_is_written_can_be_read(tmp_path: Path) -> None:
    layout, _ = fleets.Fleet(tmp_path).device()
    labels = {f"a label with number {number}": number + 1 for number in range(20_000)}
    write_memory(layout, Memory(7, {20_000: labels, 20_001: {"rare": 1}}))
    found = read_memory(layout)
    assert found.sequence == 1_000_007 and found.days is not None and found.days[20_001] == {"rare": 1}
    assert 1000 < len(found.days[20_000]) < 20_000 and found.days[20_000]["a label with number 19999"] == 20_000
