"""MQTT (extra `mqtt`): availability with a last will, Home Assistant discovery, states, TLS."""

import contextlib
import json
import logging
import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.sinks.base import Undelivered
from edgeguard.sinks.home_assistant import entities
from edgeguard.sinks.mqtt_client import Broker, new_client, talk
from edgeguard.sinks.mqtt_owner import Owner
from edgeguard.sinks.web.pictures import Pictures
from edgeguard.system.rarely import Rarely

_INTERVAL_S = 1.0
_LOOK_S = 0.1  # a change is published so soon
_CLAIM_AGAIN_S = 3.0
_DISCOVERY = "homeassistant"
_MOST_WAITING = 100
_KEEPALIVE_S = 30
_log = logging.getLogger(__name__)


class Mqtt:
    """Publishes what the run sees; a broker that is away is tried again in the background and never waited for.

    Topics, retained: `NAME/status` (`online`; `offline` as last will), `NAME/camera` (`online` while its picture is of
    now), `NAME/state` (JSON; at most one a second, and at each change of label, alarms or camera), `NAME/event/RULE`
    (`ON`, `OFF`), and `homeassistant/.../config` (discovery). Not retained: `NAME/events` (JSON of each event that
    begins or ends), `NAME/picture`, and `NAME/event/RULE/picture` of rules that record. `NAME/owner/...` keeps a second
    process with this name from publishing.

    Args:
        url: mqtt://[user@]host[:port], or mqtts:// for TLS.
        name: first level of the topics, and of the device.
        status: what the run is doing.
        password_file, ca_file: of the user, and the authority that signed the broker (the system's by default).
        patience_s: how long the first result waits for the broker.
        picture_every_s: publish the picture every so often; 0 never.

    Raises:
        InputError: not such a URL, a file that cannot be read, the extra is not installed.
    """

    def __init__(
        self,
        url: str,
        name: str,
        status: RunStatus,
        *,
        password_file: Path | None = None,
        ca_file: Path | None = None,
        patience_s: float = 0.0,
        picture_every_s: float = 0.0,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise InputError(f"--mqtt-name wants letters, digits, - and _, got {name!r}")
        self._name, self._status, self._patience_s = name, status, patience_s
        self._sent_at, self._sent = 0.0, ""
        self._pictures, self._picture_every_s, self._picture_at = Pictures(status), picture_every_s, 0.0
        self._told = status.events.changes
        self._refusal = ""
        self._last: FrameResult | None = None
        self._owner = Owner(name, lambda topic, text: self._send(topic, text, retain=False))
        client, host, port = new_client(Broker(url, password_file, ca_file))
        self._client = client
        client.max_queued_messages_set(_MOST_WAITING)
        client.will_set(f"{name}/status", "offline", qos=1, retain=True)
        client.on_message, self._said = self._received, Rarely(_log)
        self._address, self._closing, self._subscribed = (host, port), threading.Event(), threading.Event()
        self._publishing = threading.Lock()
        self._threads = [
            threading.Thread(target=work, name=f"edgeguard-{kind}", daemon=True)
            for kind, work in (("broker", self._serve), ("mqtt-state", self._tell_changes))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def connected(self) -> bool:
        """Whether the broker is there now, and the name is ours."""
        return bool(self._client.is_connected()) and self._owner.owns

    def __enter__(self) -> "Mqtt":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._threads[1].join(timeout=3)
        if self.connected:
            self._owner.lost_connection()  # the last word is no news to answer
            with contextlib.suppress(RuntimeError, ValueError):  # the connection went just now: the will says it
                with contextlib.suppress(Undelivered):
                    self._tell_events()
                self._client.publish(f"{self._name}/camera", "offline", qos=1, retain=True)
                self._client.publish(f"{self._name}/status", "offline", qos=1, retain=True).wait_for_publish(2)
        self._client.disconnect()
        self._threads[0].join(timeout=2)

    def write(self, result: FrameResult) -> None:
        """Publish the state: at most once a second, and at once when the label or an alarm changed.

        Raises:
            Undelivered: the broker is away or refuses us, or another process has the name.
        """
        deadline, self._patience_s = time.monotonic() + self._patience_s, 0.0
        while not self.connected and not self._refusal and time.monotonic() < deadline:
            self._closing.wait(0.02)
        if not self.connected:
            host, port = self._address
            raise Undelivered(self._refusal or f"the broker cannot be reached: {host}, port {port}")
        self._tell(result)

    def _tell(self, result: FrameResult | None) -> None:
        """Publish the state where it is news, or the last one is a second old."""
        with self._publishing:
            self._last = result = result or self._last or self._status.last
            state, now = self._state(result), time.monotonic()
            news = json.dumps({key: state[key] for key in ("label", "alarms", "camera", "reason")})
            if news == self._sent and now - self._sent_at < _INTERVAL_S:
                return
            self._sent, self._sent_at = news, now
            self._send(f"{self._name}/camera", "online" if self._status.shows_now else "offline")
            self._send(f"{self._name}/state", json.dumps(state))

    def _tell_events(self) -> None:
        """Publish what began and what ended since the last time."""
        self._told, changes = self._status.events.since(self._told)
        for event in changes:
            if event["camera"] != self._status.camera:
                continue
            begins = event["ended"] is None
            self._send(f"{self._name}/event/{event['rule']}", "ON" if begins else "OFF", qos=1)
            self._send(f"{self._name}/events", json.dumps(event), retain=False, qos=1)
            if begins and event["recorded"] and (picture := self._pictures.annotated()):
                self._send(f"{self._name}/event/{event['rule']}/picture", picture, retain=False)

    def _tell_picture(self) -> None:
        now = time.monotonic()
        if 0 < self._picture_every_s <= now - self._picture_at and self._status.shows_now:
            self._picture_at = now
            if picture := self._pictures.annotated():
                self._send(f"{self._name}/picture", picture, retain=False)

    def _state(self, result: FrameResult | None) -> dict[str, Any]:
        """What is told; without label, score and age while there is no picture of now."""
        status, counters, proof = self._status, self._status.counters, self._status.proof_to_dict()
        shown = result if status.shows_now else None
        alarms = sorted({*(result.alarms if shown and result else ()), *status.ringing})
        return {
            "label": None if shown is None else shown.prediction.label,
            "score": None if shown is None else shown.prediction.score,
            "age_ms": None if shown is None or shown.age_ms is None else round(shown.age_ms, 1),
            "frame": None if result is None else result.frame, "alarms": alarms, "alarm": "ON" if alarms else "OFF",
            "camera": str(status.state), "reason": status.reason, "away_since": status.away_since,
            "frames": counters.frames, "dropped": counters.dropped, "lost": counters.lost,
            "refused": counters.refused.total(), "refused_by": dict(counters.refused),
            "passes": None if shown is None else shown.passes, "celsius": status.power.celsius,
            **({"proof": proof} if result is not None and result.certifies else {}),
            **({} if shown is None else _counted(shown)),
            **({"events": self._rules_on()} if status.rules.get("events") else {}),
        }  # fmt: skip

    def _rules_on(self) -> dict[str, str]:
        going = {event.rule for event in self._status.events.going_on(self._status.camera)}
        names = [rule["name"] for rule in self._status.rules.get("events", ())]
        return {name: "ON" if name in going else "OFF" for name in names}

    def _send(self, topic: str, text: str | bytes, *, retain: bool = True, qos: int = 0) -> None:
        """Hand a message to the client.

        Raises:
            Undelivered: it takes no more.
        """
        sent = self._client.publish(topic, text, qos=qos, retain=retain)
        if sent.rc != 0:
            raise Undelivered("the broker does not take messages")

    def _serve(self) -> None:
        talk(
            self._client, self._address, self._closing,
            keepalive_s=_KEEPALIVE_S, said=self._said, answered=self._connected, lost=self._gone,
        )  # fmt: skip

    def _tell_changes(self) -> None:
        """Take the name when the broker is there, then publish each change, also while no result comes."""
        while not self._closing.wait(_LOOK_S):
            if not self._client.is_connected() or not self._subscribed.is_set():
                continue
            try:
                if self._owner.owns or self._take_the_name():
                    self._tell(None)
                    self._tell_events()
                    self._tell_picture()
            except (Undelivered, ValueError, OSError):  # the next result says it
                continue
            except Exception as error:  # whatever it is: the thread goes on
                self._said.warn("state", f"mqtt: a state was not published ({error!r})")

    def _take_the_name(self) -> bool:
        if not self._owner.claim():
            if self._owner.other is not None:
                self._refusal = (
                    f"another edgeguard publishes as {self._name} ({self._owner.other}): "
                    "end it, or give this one another --mqtt-name"
                )
            self._closing.wait(_CLAIM_AGAIN_S)
            return False
        self._refusal, self._sent = "", ""
        self._send(f"{self._name}/status", "online", qos=1)
        self._told = self._status.events.changes
        _log.info("mqtt: %s port %d takes what %s publishes", *self._address, self._name)
        for rule, state in self._rules_on().items():
            self._send(f"{self._name}/event/{rule}", state, qos=1)
        for kind, key, config in entities(self._name, self._status, pictures=self._picture_every_s > 0):
            self._send(f"{_DISCOVERY}/{kind}/{self._name}/{key}/config", json.dumps(config), qos=1)
        return True

    def _connected(self, client: Any, reason: Any) -> None:
        if reason.is_failure:
            self._refusal = f"the broker refuses us: {reason}"
            return
        self._refusal = ""
        client.subscribe([(topic, 1) for topic in (*self._owner.topics, f"{self._name}/status")])
        self._subscribed.set()

    def _gone(self) -> None:
        self._owner.lost_connection()
        self._subscribed.clear()

    def _received(self, client: Any, userdata: Any, message: Any) -> None:
        try:
            if message.topic != f"{self._name}/status":
                if not message.retain:  # a broker's memory is no process that has the name now
                    self._owner.received(message.topic, message.payload)
            elif self._owner.owns and message.payload != b"online":  # the last will of another process
                self._send(f"{self._name}/status", "online", qos=1)
        except Undelivered:
            return


def _counted(result: FrameResult) -> dict[str, Any]:
    """Objects by label, by class number (labels may be any text, and templates are programs), and by zone."""
    seen = result.prediction
    if seen.boxes is None:
        return {}
    counts = Counter(str(box.index) for box in seen.boxes)
    zones = {name: {**zone, "count": sum(zone["objects"].values())} for name, zone in (result.zones or {}).items()}
    shown = {"objects": seen.counts(), "counts": dict(counts), "count": len(seen.boxes)}
    return {**shown, "zones": zones} if zones else shown
