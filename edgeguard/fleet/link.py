"""A device's line to the broker: messages wait in a bounded queue while it is away; of too many the oldest goes.

What waits when the agent ends is kept in a file for the next start.
"""

import base64
import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from msgspec import DecodeError, json

from edgeguard.errors import EdgeGuardError
from edgeguard.fleet.layout import write_durably
from edgeguard.sinks.mqtt_client import Broker, new_client
from edgeguard.system.foreign import read_bounded

MOST_WAITING = 1000
WAKE = "edgeguard/fleet/wake"
_AT_ONCE = 20
_LOOK_S = 0.2
_KEEPALIVE_S = 60
_log = logging.getLogger(__name__)


class Link:
    """Sends messages from `__enter__` to `__exit__`.

    Args:
        broker: where.
        device: whose topics they are.
        outbox: a file for what is not sent at the end.

    Attributes:
        dropped: messages that no place was left for.
        wake: set when somebody says on `edgeguard/fleet/wake` that there is news.
    """

    def __init__(self, broker: Broker, device: str, outbox: Path) -> None:
        self._client, *self._address = new_client(broker, client_id=f"edgeguard-fleet-{device}", clean_session=True)
        self._device, self._outbox = device, outbox
        self._waiting: deque[tuple[str, bytes]] = deque(_read(outbox), MOST_WAITING)
        self._sent: deque[tuple[str, bytes, Any]] = deque()
        self._lock, self._over = threading.Lock(), threading.Event()
        self.dropped, self.wake = 0, threading.Event()
        self._client.on_connect, self._client.on_message = self._connected, self._received
        self._client.max_queued_messages_set(2 * _AT_ONCE)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._serve, self._send)]

    def __enter__(self) -> "Link":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._threads[1].join(timeout=3)
        self._client.disconnect()
        self._threads[0].join(timeout=2)
        with self._lock:
            left = [(kind, payload) for kind, payload, _ in self._sent] + list(self._waiting)
        if left or self._outbox.exists():
            write_durably(
                self._outbox, json.encode([[k, base64.b64encode(p).decode()] for k, p in left[-MOST_WAITING:]])
            )

    def put(self, kind: str, payload: bytes) -> None:
        """Send a message to `edgeguard/DEVICE/KIND` when the broker is there; at once, or never waited for."""
        with self._lock:
            self.dropped += len(self._waiting) == MOST_WAITING
            self._waiting.append((kind, payload))

    def flush(self, seconds: float) -> bool:
        """Wait for all messages to arrive; whether they did."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self._lock:
                if not self._waiting and not self._sent:
                    return True
            self._over.wait(0.05)
        return False

    def _send(self) -> None:
        while not self._over.wait(_LOOK_S):
            with self._lock:
                while self._sent and self._sent[0][2].is_published():
                    self._sent.popleft()
                if not self._client.is_connected():
                    continue
                while self._waiting and len(self._sent) < _AT_ONCE:
                    kind, payload = self._waiting.popleft()
                    info = self._client.publish(f"edgeguard/{self._device}/{kind}", payload, qos=1)
                    self._sent.append((kind, payload, info))

    def _serve(self) -> None:
        told = False
        while not self._over.is_set():
            self._client.connect_async(*self._address, keepalive=_KEEPALIVE_S)
            try:
                self._client.loop_forever(retry_first_connection=True)
            except Exception as error:  # a broker that sends what cannot be parsed is one that went away
                if not told:
                    _log.warning("mqtt: the broker sends something else than MQTT (%s); trying again", error)
                    told = True
            self._over.wait(1)

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            _log.warning("mqtt: the broker refuses us: %s", reason)
            return
        client.subscribe(WAKE, 1)

    def _received(self, client: Any, userdata: Any, message: Any) -> None:
        if message.topic == WAKE:
            self.wake.set()


def _read(outbox: Path) -> list[tuple[str, bytes]]:
    if not outbox.exists():
        return []
    try:
        found = json.decode(read_bounded(outbox, 4 << 20, "the outbox"), type=list[tuple[str, str]])
        return [(kind, base64.b64decode(payload)) for kind, payload in found[-MOST_WAITING:]]
    except (EdgeGuardError, DecodeError, ValueError, RecursionError):
        return []
