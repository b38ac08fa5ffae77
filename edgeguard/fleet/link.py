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
from edgeguard.sinks.mqtt_client import Broker, new_client, talk
from edgeguard.system.foreign import read_bounded
from edgeguard.system.rarely import Rarely

MOST_WAITING = 1000
WAKE = "edgeguard/fleet/wake"
_AT_ONCE = 20
_LOOK_S = 0.2
_KEEPALIVE_S = 60
_FULL = 15  # paho's MQTT_ERR_QUEUE_SIZE
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
        self._client, host, port = new_client(broker, client_id=f"edgeguard-fleet-{device}", clean_session=True)
        self._address = host, port
        self._device, self._outbox = device, outbox
        self._waiting: deque[tuple[str, bytes]] = deque(_read(outbox), MOST_WAITING)
        self._sent: deque[tuple[str, bytes, int]] = deque()
        self._arrived: set[int] = set()  # numbers of messages that the broker has, filled by the client's thread
        self._said = Rarely(_log)
        self._lock, self._over = threading.Lock(), threading.Event()
        self.dropped, self.wake = 0, threading.Event()
        self._client.on_message, self._client.on_publish = self._received, self._published
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
            self._forget_arrived()
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
            try:
                with self._lock:
                    self._forget_arrived()
                    self._hand_over()
            except Exception as error:  # whatever a broker does: what was not handed over waits, and the thread goes on
                self._said.warn("sending", f"mqtt: a message could not be sent ({error!r}); trying again")

    def _forget_arrived(self) -> None:
        while self._sent and self._sent[0][2] in self._arrived:
            self._arrived.discard(self._sent.popleft()[2])

    def _hand_over(self) -> None:
        """Give the client what waits. It sends again what it took, after a loss as well: only a full one takes none.

        Its answer (`is_published`) is an exception for ever when the connection broke in this moment, although the
        message is kept and arrives; so what counts is its own word of each that arrived.
        """
        while self._client.is_connected() and self._waiting and len(self._sent) < _AT_ONCE:
            kind, payload = self._waiting[0]
            info = self._client.publish(f"edgeguard/{self._device}/{kind}", payload, qos=1)
            if info.rc == _FULL:
                return
            self._waiting.popleft()
            self._sent.append((kind, payload, info.mid))

    def _serve(self) -> None:
        talk(
            self._client, self._address, self._over,
            keepalive_s=_KEEPALIVE_S, said=self._said, answered=self._connected,
        )  # fmt: skip

    def _published(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        self._arrived.add(mid)  # no lock: the client has its own, and whoever publishes holds ours and waits for that

    def _connected(self, client: Any, reason: Any) -> None:
        if reason.is_failure:
            self._said.warn("refused", f"mqtt: the broker refuses us: {reason}")
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
