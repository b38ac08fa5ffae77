"""MQTT (extra `mqtt`): availability with a last will, Home Assistant discovery, states, TLS."""

import contextlib
import json
import logging
import re
import ssl
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from edgeguard.errors import InputError
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus

_INTERVAL_S = 1.0
_DISCOVERY = "homeassistant"
_MOST_WAITING = 100
_KEEPALIVE_S = 30
_log = logging.getLogger(__name__)


class Mqtt:
    """Publishes what the run sees; a broker that is away is tried again in the background and never waited for.

    Topics: `NAME/status` (`online`, `offline` as last will, retained), `NAME/state` (JSON, retained; at most one a
    second, at once when the label or an alarm changes), `homeassistant/.../config` (discovery, retained).

    Args:
        url: mqtt://[user@]host[:port], or mqtts:// for TLS.
        name: first level of the topics, and of the device.
        status: what the run is doing.
        password_file, ca_file: of the user, and the authority that signed the broker (the system's by default).

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
    ) -> None:
        try:
            import paho.mqtt.client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise InputError("MQTT is not installed: pip install 'edgeguard[mqtt]'") from error
        host, port, user, tls = _parse(url)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise InputError(f"--mqtt-name wants letters, digits, - and _, got {name!r}")
        self._name, self._status = name, status
        self._sent_at = 0.0
        self._sent: tuple[object, ...] = ()
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2)
        client.max_queued_messages_set(_MOST_WAITING)
        client.reconnect_delay_set(1, 30)
        client.will_set(f"{name}/status", "offline", qos=1, retain=True)
        if user is not None:
            client.username_pw_set(user, _read_secret(password_file))
        if tls:
            try:
                client.tls_set_context(ssl.create_default_context(cafile=None if ca_file is None else str(ca_file)))
            except (OSError, ssl.SSLError) as error:
                raise InputError(f"cannot use the authority {ca_file}: {error}") from error
        client.on_connect = self._introduce
        self._address, self._closing = (host, port), threading.Event()
        self._thread = threading.Thread(target=self._serve, name="edgeguard-broker", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return bool(self._client.is_connected())

    def __enter__(self) -> "Mqtt":
        return self

    def __exit__(self, *_: object) -> None:
        if self.connected:
            with contextlib.suppress(RuntimeError, ValueError):  # the connection went just now: the will says it
                self._client.publish(f"{self._name}/status", "offline", qos=1, retain=True).wait_for_publish(2)
        self._closing.set()
        self._client.disconnect()
        self._thread.join(timeout=2)

    def _serve(self) -> None:
        """Talk with the broker; one that sends what cannot be parsed is a broker that went away."""
        told = False
        while not self._closing.is_set():
            self._client.connect_async(*self._address, keepalive=_KEEPALIVE_S)
            try:
                self._client.loop_forever(retry_first_connection=True)
            except Exception as error:
                if not told:
                    _log.warning("mqtt: the broker sends something else than MQTT (%s); trying again", error)
                    told = True
            self._closing.wait(1)

    def write(self, result: FrameResult) -> None:
        """Publish the state: at most once a second, and at once when the label or an alarm changed."""
        now, what = time.monotonic(), (result.prediction.label, result.alarms)
        if not self.connected or (what == self._sent and now - self._sent_at < _INTERVAL_S):
            return
        self._sent, self._sent_at = what, now
        self._publish(self._state(result))

    def _state(self, result: FrameResult) -> dict[str, Any]:
        counters, proof = self._status.counters, self._status.proof_to_dict()
        return {
            "label": result.prediction.label, "score": result.prediction.score, "frame": result.frame,
            "age_ms": None if result.age_ms is None else round(result.age_ms, 1), "alarms": list(result.alarms),
            "alarm": "ON" if result.alarms else "OFF", "camera": str(self._status.state), "frames": counters.frames,
            "dropped": counters.dropped, "passes": result.passes, "celsius": self._status.power.celsius,
            **({"proof": proof} if result.certifies else {}),
        }  # fmt: skip

    def _publish(self, state: dict[str, Any]) -> None:
        self._client.publish(f"{self._name}/state", json.dumps(state), qos=0, retain=True)

    def _introduce(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            return
        client.publish(f"{self._name}/status", "online", qos=1, retain=True)
        for kind, key, config in _entities(self._name):
            topic = f"{_DISCOVERY}/{kind}/{self._name}/{key}/config"
            client.publish(topic, json.dumps(config), qos=1, retain=True)


def _entities(name: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Home Assistant's entities: (component, object, configuration)."""
    base = {
        "availability_topic": f"{name}/status", "state_topic": f"{name}/state",
        "device": {
            "identifiers": [name], "name": name, "manufacturer": "EdgeGuard", "sw_version": version("edgeguard"),
        },
    }  # fmt: skip
    shown: list[tuple[str, str, dict[str, Any]]] = [
        ("sensor", "label", {"name": "Label", "icon": "mdi:eye"}),
        ("sensor", "score", {"name": "Score", "state_class": "measurement"}),
        ("sensor", "age_ms", {"name": "Frame age", "unit_of_measurement": "ms", "device_class": "duration"}),
        ("sensor", "camera", {"name": "Camera", "entity_category": "diagnostic"}),
        ("binary_sensor", "alarm", {"name": "Alarm", "device_class": "problem"}),
    ]
    return [
        (
            kind,
            key,
            {**base, **config, "unique_id": f"{name}_{key}", "value_template": f"{{{{ value_json.{key} }}}}"},
        )
        for kind, key, config in shown
    ]


def _parse(url: str) -> tuple[str, int, str | None, bool]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"--mqtt {url!r} is not a URL: {error}") from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/"):
        raise InputError(f"--mqtt wants mqtt://[user@]host[:port] or mqtts://..., got {url!r}")
    if parts.password is not None:
        raise InputError("--mqtt takes no password in the URL, where others can see it: use --mqtt-password-file")
    tls = parts.scheme == "mqtts"
    user = None if parts.username is None else unquote(parts.username)
    return parts.hostname, port or (8883 if tls else 1883), user, tls


def _read_secret(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the password file {path}: {error}") from error
