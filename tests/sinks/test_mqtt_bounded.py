"""What a broker can make a client keep, and that none ends its thread."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("paho.mqtt.client", reason="the extra mqtt is not installed")
from sinks.hostile_broker import CONNACK, HostileBroker, Peer, Script, publish

from edgeguard.sinks.mqtt_bounded import LARGEST_KEPT, MOST_BYTES, MOST_PACKETS, unbounded
from edgeguard.sinks.mqtt_client import Broker, new_client, talk
from edgeguard.system.rarely import Rarely

_log = logging.getLogger("edgeguard.tests")


@contextmanager
def _talking(script: Script) -> Iterator[tuple[HostileBroker, Any, threading.Thread]]:
    with HostileBroker(script) as broker:
        client, host, port = new_client(Broker(broker.url))
        client.reconnect_delay_set(0.05, 0.05)
        over = threading.Event()
        thread = threading.Thread(
            target=talk,
            args=(client, (host, port), over),
            daemon=True,
            kwargs={"keepalive_s": 60, "said": Rarely(_log), "answered": lambda client, reason: None},
        )
        thread.start()
        try:
            yield broker, client, thread
        finally:
            over.set()
            client.disconnect()
            thread.join(5)
            assert not thread.is_alive()


def _until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_this_paho_has_what_is_put_right() -> None:
    assert unbounded() == []


def test_messages_that_are_never_released_do_not_pile_up(caplog: pytest.LogCaptureFixture) -> None:
    def script(peer: Peer, number: int) -> None:
        peer.read()
        peer.send(CONNACK)
        for one in range(1, 200):
            peer.send(publish(2, one, 60_000))
        peer.read()

    with _talking(script) as (broker, client, thread):
        _until(lambda: broker.connections >= 3, "each such connection ends")
        assert len(client._in_messages) == 0 and thread.is_alive()
    assert [record.getMessage() for record in caplog.records if "MQTT does not allow" in record.getMessage()] == [
        "mqtt: the broker sends what MQTT does not allow; the connection is made anew"
    ]


def test_a_message_that_is_too_long_is_cut_and_the_next_one_is_whole() -> None:
    got: list[tuple[int, int]] = []

    def script(peer: Peer, number: int) -> None:
        peer.read()
        peer.send(CONNACK + publish(1, 7, 3 << 20) + publish(0, 0, 5) + publish(1, 8, 9))
        while True:
            peer.read()

    with _talking(script) as (broker, client, _):
        client.on_message = lambda c, u, message: got.append((message.mid, len(message.payload)))
        _until(lambda: len(got) == 3, "all three arrive")
        assert broker.connections == 1 and client.is_connected()
    assert got[0][0] == 7 and LARGEST_KEPT - 8 <= got[0][1] < 2 * LARGEST_KEPT
    assert got[1:] == [(0, 5), (8, 9)]


@pytest.mark.parametrize("payload_bytes", [60_000, 0])
def test_a_broker_that_reads_nothing_is_hung_up(payload_bytes: int) -> None:
    release = threading.Event()

    def script(peer: Peer, number: int) -> None:
        peer.read()
        peer.send(CONNACK)
        release.wait(10)

    with _talking(script) as (broker, client, _):
        _until(client.is_connected, "connected")
        most, worst, refused = (MOST_BYTES // 60_000 + 400, 0, 0) if payload_bytes else (MOST_PACKETS + 1, 0, 0)
        if not payload_bytes:  # small ones fit into the kernel, so that a large one has to fill it first
            client.publish("a", bytes(MOST_BYTES - (1 << 17)))
        for _ in range(most):
            refused += client.publish("a", bytes(payload_bytes)).rc != 0
            worst = max(worst, len(client._out_packet))
        assert refused and worst <= (MOST_BYTES // 60_000 + 2 if payload_bytes else MOST_PACKETS)
        _until(lambda: broker.connections >= 2, "it connects anew")
        assert len(client._out_packet) < 5
        release.set()


@pytest.mark.parametrize("late", ["before it connects", "before it is greeted"])
def test_a_goodbye_that_comes_while_it_connects_again_counts(late: str) -> None:
    def script(peer: Peer, number: int) -> None:
        if late == "before it is greeted":
            peer.serve([])
        while True:
            peer.read()

    with HostileBroker(script) as broker:
        client, host, port = new_client(Broker(broker.url))
        over, reconnect, send_connect = threading.Event(), client.reconnect, client._send_connect

        def goodbye() -> None:
            over.set()
            client.disconnect()

        def first_goodbye() -> Any:
            goodbye()
            return reconnect()

        def then_goodbye(keepalive: int) -> Any:
            goodbye()
            return send_connect(keepalive)

        if late == "before it connects":
            client.reconnect = first_goodbye
        else:
            client._send_connect = then_goodbye
        arguments = {"keepalive_s": 60, "said": Rarely(_log), "answered": lambda client, reason: None}
        thread = threading.Thread(target=talk, args=(client, (host, port), over), kwargs=arguments, daemon=True)
        thread.start()
        thread.join(3)
        assert not thread.is_alive()
