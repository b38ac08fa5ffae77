"""Discovery against the keys that Home Assistant documents, and events over a real broker and a real webhook."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jinja2
import pytest
from sinks.published import fits
from sinks.test_mqtt import Listener, _free_port, _wait, broker
from system.test_watched_answer import ENDLESS, endless

from edgeguard.errors import InputError
from edgeguard.model.contract import Contract, Detection
from edgeguard.model.prediction import BoxScore, Prediction, Score
from edgeguard.pipeline.event import Event, Keeping
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.sinks.home_assistant import entities
from edgeguard.sinks.mqtt import Mqtt
from edgeguard.sinks.webhook import Webhook
from edgeguard.watch.rules import EventRule, Rules, Zone

Make = Callable[..., FrameResult]
HOSTILE = "{{ 1 }}'\"<b>"
ABOUT_ALL = {"availability", "availability_mode", "device", "unique_id", "name", "icon", "entity_category"}
#: What https://www.home-assistant.io/integrations/ lists for each component: keys that are needed, and others.
DOCUMENTED: dict[str, tuple[set[str], set[str]]] = {
    "sensor": ({"state_topic"}, {"value_template", "unit_of_measurement", "device_class", "state_class"}),
    "binary_sensor": ({"state_topic"}, {"value_template", "payload_on", "payload_off", "device_class"}),
    "camera": ({"topic"}, {"image_encoding"}),
    "image": ({"image_topic"}, {"content_type", "image_encoding"}),
}
DEVICE_CLASSES = {"sensor": {"duration"}, "binary_sensor": {"problem", "occupancy"}}


@pytest.fixture
def detects(status: RunStatus) -> RunStatus:
    """A run of a detector with a zone and two rules; one label is hostile."""
    zone = Zone("path", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))
    rules = Rules(
        (zone,), (), (), (EventRule("visitor", label=HOSTILE, record=True), EventRule("still", alarm="frozen"))
    )
    status.rules = rules.to_dict()
    contract: Contract = replace(status.contract, task="detect", labels=("nothing", HOSTILE), detection=Detection())
    status.contract = contract
    return status


def test_entities_have_documented_keys_only(detects: RunStatus) -> None:
    found = entities("porch", detects, pictures=True)
    assert {kind for kind, _, _ in found} == set(DOCUMENTED)
    assert len({config["unique_id"] for _, _, config in found}) == len(found)
    for kind, key, config in found:
        needed, others = DOCUMENTED[kind]
        assert needed <= set(config) <= needed | others | ABOUT_ALL, (kind, key)
        assert set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
        assert config.get("device_class") in {None, *DEVICE_CLASSES.get(kind, ())}
        assert HOSTILE not in config.get("value_template", ""), "a label is text, and a template is a program"
    full = {"count": 3, "counts": {"1": 2}, "zones": {"path": {"count": 1}}}
    states: list[dict[str, Any]] = [full, {}, {"zones": {}}]
    counted = {
        key: [jinja2.Template(config["value_template"]).render(value_json=state) for state in states]
        for _, key, config in found
        if key in ("objects", "class_1", "zone_path")
    }
    assert counted == {"objects": ["3", "0", "0"], "class_1": ["2", "0", "0"], "zone_path": ["1", "0", "0"]}
    by_key = {key: config for _, key, config in found}
    assert by_key["class_1"]["name"] == HOSTILE and by_key["zone_path"]["name"] == "In path"
    assert by_key["event_visitor_picture"]["image_topic"] == "porch/event/visitor/picture"


def _event(**changes: Any) -> Event:
    event = Event("2026-01-01T00-00-00.000Z-visitor-ab12", "", "visitor", "object", HOSTILE, 1, 0.9, None, None,
                  1000.0, 5.0, 6.0, 7, keeping=Keeping(1, 1, 0))  # fmt: skip
    return replace(event, **changes)


def test_events_counts_and_pictures_over_a_real_broker(detects: RunStatus, make: Make, tmp_path: Path) -> None:
    port = _free_port()
    box = BoxScore(HOSTILE, 1, 0.9, 10, 10, 50, 90)
    seen = make(8, prediction=Prediction((Score(HOSTILE, 1, 0.9),), (box,)), zones={"path": {"objects": {HOSTILE: 1}}})
    detects.update(seen)
    with broker(tmp_path, port):
        listener = Listener(port)
        raw: dict[str, bytes] = {}

        def heard(client: Any, userdata: Any, message: Any) -> None:
            raw[message.topic] = message.payload
            listener.messages.append((message.topic, message.payload.decode("utf-8", "replace"), message.retain))

        listener.client.on_message = heard
        with Mqtt(f"mqtt://127.0.0.1:{port}", "porch", detects, picture_every_s=0.2) as mqtt:
            _wait(lambda: mqtt.connected, "connected")
            mqtt.write(seen)
            _wait(lambda: '"zones"' in (listener.last("porch/state") or ""), "counts")
            state = json.loads(listener.last("porch/state") or "")
            fits("state", state)
            assert state["counts"] == {"1": 1} and state["zones"]["path"]["count"] == state["count"] == 1
            assert (
                state["events"]
                == {"visitor": "OFF", "still": "OFF"}
                == {rule: listener.last(f"porch/event/{rule}") for rule in ("visitor", "still")}
            )
            event = _event()
            detects.events.tell(event)
            _wait(lambda: listener.last("porch/event/visitor") == "ON", "on")
            _wait(lambda: raw.get("porch/event/visitor/picture", b"")[:2] == b"\xff\xd8", "its picture")
            _wait(lambda: raw.get("porch/picture", b"")[:2] == b"\xff\xd8", "the picture")
            event.ended, event.ended_at = 1002.0, 8.0
            detects.events.tell(event)
            _wait(lambda: listener.last("porch/event/visitor") == "OFF", "off")
            _wait(lambda: [topic for topic, _, _ in listener.messages].count("porch/events") == 2, "both events")
            told = [json.loads(payload) for topic, payload, _ in listener.messages if topic == "porch/events"]
            assert [one["ended"] for one in told] == [None, 1002.0]
            for one in told:
                fits("event", one)
            later = Listener(port)  # what a broker keeps: no picture, no event
            _wait(lambda: later.last("porch/state"), "what is retained")
            time.sleep(0.2)
            kept = {topic for topic, _, retained in later.messages if retained}
            assert "porch/event/visitor" in kept and not {t for t in kept if "picture" in t and "homeassist" not in t}
            assert "porch/events" not in kept
            later.close()
        listener.close()


@contextmanager
def _receiver(status: list[int]) -> Iterator[tuple[str, list[tuple[dict[str, str], Any]]]]:
    """A server that answers with each status in turn, then with 200."""
    got: list[tuple[dict[str, str], Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = status.pop(0) if status else 200
            if code == 200:
                got.append((dict(self.headers), json.loads(body)))
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook?x=1", got
    finally:
        server.shutdown()
        server.server_close()


def test_a_webhook_gets_each_event_and_is_tried_again(
    status: RunStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeguard.sinks.webhook._AGAIN_S", (0.05,) * 3)
    (tmp_path / "token").write_text("0123456789abcdef\n")
    with _receiver([500, 302]) as (url, got):
        with Webhook(url, status.events, tmp_path / "token") as hook:
            event = _event()
            status.events.tell(event)
            _wait(lambda: len(got) == 1, "the beginning")
            event.ended = 1002.0
            status.events.tell(event)
        assert [body["ended"] for _, body in got] == [None, 1002.0] and hook.dropped == 0 and hook.written == 2
        assert got[0][0]["Authorization"] == "Bearer 0123456789abcdef"
        for _, body in got:
            fits("event", body)


def test_a_webhook_that_is_away_is_counted(status: RunStatus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.sinks.webhook._AGAIN_S", (0.01,))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Webhook(f"http://127.0.0.1:{port}/", status.events) as hook:
        status.events.tell(_event())
        _wait(lambda: hook.dropped == 1, "dropped")
        assert hook.failure is not None and "cannot be reached" in hook.failure
    with pytest.raises(InputError):
        Webhook("ftp://x/", status.events)


@pytest.mark.parametrize("kind", ["head", "continue", "headers"])
def test_a_webhook_whose_answer_does_not_end_is_one_that_failed(
    status: RunStatus, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("edgeguard.sinks.webhook._AGAIN_S", ())
    monkeypatch.setattr("edgeguard.sinks.webhook._TIMEOUT_S", 0.3)
    begin, then = ENDLESS[kind]
    with endless(begin, then, 0.02) as port, Webhook(f"http://127.0.0.1:{port}/", status.events) as hook:
        status.events.tell(_event())
        _wait(lambda: hook.dropped == 1, "dropped")
        assert hook.failure is not None and "cannot be reached" in hook.failure
