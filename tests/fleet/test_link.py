"""A device's line to brokers that break off, refuse it or talk nonsense: nothing is lost, and no thread ends."""

import json
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tuf", reason="the extra fleet is not installed")
pytest.importorskip("paho.mqtt.client", reason="the extra mqtt is not installed")
from sinks.hostile_broker import CONNACK, NOT_AUTHORIZED, HostileBroker, Peer

from edgeguard.fleet.link import Link
from edgeguard.fleet.workstation.collect import Collector, Fleet
from edgeguard.sinks.mqtt_client import Broker


def _link(broker: HostileBroker, outbox: Path) -> Link:
    link = Link(Broker(broker.url), "cam-1", outbox)
    link._client.reconnect_delay_set(0.02, 0.02)
    return link


def _until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_a_broker_that_breaks_off_in_a_batch_gets_every_message_afterwards(tmp_path: Path) -> None:
    got: list[bytes] = []

    def script(peer: Peer, number: int) -> None:
        if number >= 2:
            return peer.serve(got)
        while peer.read()[0] & 0xF0 != 0x30:
            peer.send(CONNACK)
        return peer.reset()

    with HostileBroker(script) as broker, _link(broker, tmp_path / "outbox") as link:
        for number in range(60):
            link.put("telemetry", b"%d " % number + b"x" * 900)
        assert link.flush(10), "what was sent into a broken connection arrives with the next one"
        assert all(thread.is_alive() for thread in link._threads)
    numbers = [int(one.split()[0]) for one in got]
    assert sorted(set(numbers)) == list(range(60)) and len(numbers) <= 100
    assert not (tmp_path / "outbox").exists()


@pytest.mark.parametrize("rc", [7, 15])
def test_what_the_client_says_of_a_message_is_not_what_counts(tmp_path: Path, rc: int) -> None:
    got: list[bytes] = []
    with HostileBroker(lambda peer, number: peer.serve(got)) as broker:
        link = _link(broker, tmp_path / "outbox")
        publish, calls = link._client.publish, [0]

        def unsure(*args: Any, **options: Any) -> Any:
            calls[0] += 1
            if rc == 15 and calls[0] % 2:  # a full one keeps nothing
                return type("Info", (), {"rc": 15, "mid": 1})
            if calls[0] == 4:
                raise OSError("a surprise")
            info = publish(*args, **options)
            info.rc = 0 if rc == 15 else rc
            return info

        link._client.publish = unsure
        with link:
            for number in range(4):
                link.put("telemetry", b"%d" % number)
            assert link.flush(10) and all(thread.is_alive() for thread in link._threads)
    assert got == [b"%d" % number for number in range(4)]


def test_what_did_not_arrive_waits_for_the_next_start(tmp_path: Path) -> None:
    def script(peer: Peer, number: int) -> None:
        while peer.read()[0] & 0xF0 != 0x30:
            peer.send(CONNACK)
        peer.reset()

    with HostileBroker(script) as broker, _link(broker, tmp_path / "outbox") as link:
        link.put("telemetry", b"one")
        _until(lambda: broker.connections >= 3, "it was tried again and again")
    assert json.loads((tmp_path / "outbox").read_bytes()) == [["telemetry", "b25l"]]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (NOT_AUTHORIZED, "mqtt: the broker refuses us: Not authorized"),
        (
            CONNACK + b"\x32\x03\x00\x50a",
            "mqtt: the broker sends what MQTT does not allow; the connection is made anew",
        ),
        (b"\xf0\x00", "mqtt: the broker sends what MQTT does not allow; the connection is made anew"),
        (b"HTTP/1.1 400 Bad\r\n\r\n", "mqtt: 127.0.0.1, port PORT does not answer like a broker; trying again"),
    ],
)
def test_a_broker_is_complained_of_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: bytes, said: str
) -> None:
    def script(peer: Peer, number: int) -> None:
        peer.read()
        peer.send(answer)
        peer.connection.shutdown(socket.SHUT_WR)
        peer.read()

    caplog.set_level(logging.INFO, "edgeguard")
    with HostileBroker(script) as broker, _link(broker, tmp_path / "outbox"):
        collector = Collector(Broker(broker.url), Fleet(None))
        collector._client.reconnect_delay_set(0.02, 0.02)
        with collector:
            _until(lambda: broker.connections >= 8, "both try again")
    lines = [record.getMessage() for record in caplog.records]
    assert lines == 2 * [said.replace("PORT", str(broker.port))]


def test_the_word_that_there_is_news_survives_a_broken_connection() -> None:
    got: list[bytes] = []

    def script(peer: Peer, number: int) -> None:
        if number:
            return peer.serve(got)
        while peer.read()[0] & 0xF0 != 0x30:
            peer.send(CONNACK)
        return peer.reset()

    with HostileBroker(script) as broker:
        collector = Collector(Broker(broker.url), Fleet(None))
        collector._client.reconnect_delay_set(0.02, 0.02)
        assert collector.wake(0) is False  # nobody is there yet: no exception, and it is sent later
        with collector:
            assert collector.wake(10)
    assert got and set(got) == {b"1"}
