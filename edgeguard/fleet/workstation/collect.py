"""What the devices of a fleet say over MQTT: checked, and the newest of each kept."""

import logging
import math
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct, convert, json

from edgeguard.errors import EdgeGuardError, InputError
from edgeguard.fleet.enrollment import read_request
from edgeguard.fleet.link import WAKE
from edgeguard.fleet.telemetry import LARGEST, verified
from edgeguard.fleet.workstation.devices import Devices, change_devices, read_devices
from edgeguard.sinks.mqtt_client import Broker, new_client, talk
from edgeguard.system.foreign import checked_numbers, parsing
from edgeguard.system.rarely import Rarely

_TOPIC = re.compile(r"edgeguard/([A-Za-z0-9][A-Za-z0-9_.-]{0,63})/(telemetry|enroll)")
_MOST_DEVICES = 200_000
_MOST_SAID = 20
_log = logging.getLogger(__name__)

_Text: TypeAlias = str | None
_Milliseconds: TypeAlias = Annotated[list[float | None], Meta(max_length=8)] | None
_Count: TypeAlias = Annotated[int, Meta(ge=0)] | None


class _Said(Struct, omit_defaults=True):
    """The fields that are shown and counted with, and kept. A device may send more, and only has to send `seq`."""

    seq: Annotated[int, Meta(ge=0)]
    bundle: _Text = None
    slot: _Text = None
    trial: bool | None = None
    failed: _Text = None
    camera: _Text = None
    refused_update: _Text = None
    frames: _Count = None
    drops: _Count = None
    compared: _Count = None
    disagreed: _Count = None
    refused: dict[str, Annotated[int, Meta(ge=0)]] | None = None
    age_ms: _Milliseconds = None
    infer_ms: _Milliseconds = None
    certified: float | None = None
    drift: float | None = None
    celsius: float | None = None
    free_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest message of a device, as small as it was sent: two hundred thousand of them are kept.

    Attributes:
        seq: its sequence.
        received_at: our time.
    """

    seq: int
    received_at: float
    _body: bytes

    def fields(self) -> dict[str, Any]:
        """What is known of it: the fields that were checked; None where it does not say them."""
        said = json.decode(self._body, type=_Said)
        return {name: getattr(said, name) for name in said.__struct_fields__} | {"received_at": self.received_at}


class Fleet:
    """The newest message of each device.

    Args:
        devices_file: keys, tokens and revoked devices; None takes messages that nobody proves, and says so.
        now: the clock.

    Attributes:
        latest: the newest message by device.
        refused: messages that count for nothing, by why.
        received: all messages.
    """

    def __init__(self, devices_file: Path | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._file, self._now = devices_file, now
        self._devices: Devices | None = None
        self._mark: tuple[int, int, int] | None = None  # of the file as it was read
        self._read_at = -math.inf
        self._known()
        self.latest: dict[str, Newest] = {}
        self.refused, self.received = Counter[str](), 0
        self._lock, self._said = threading.Lock(), 0

    def take(self, topic: str, payload: bytes) -> None:
        """A message of the broker; what is no device's counts as refused, by why."""
        found = _TOPIC.fullmatch(topic)
        if found is None:
            return
        self.received += 1
        try:
            if found[2] == "enroll":
                self._enroll(payload)
            else:
                self._telemetry(found[1], payload)
        except EdgeGuardError as error:
            self._refuse("message", f"{found[1]}: {error}")

    def snapshot(self) -> Iterator[dict[str, Any]]:
        """The newest message of each device, in the order of their names; each is unpacked when it is its turn."""
        with self._lock:
            found = sorted(self.latest.items())
        return ({"device": name, **newest.fields()} for name, newest in found)

    def _telemetry(self, device: str, payload: bytes) -> None:
        devices = self._known()
        if devices is None:
            if len(payload) > LARGEST:
                raise InputError("a message that is too long")
            fields = _unproven(payload)
        elif device in devices.revoked:
            return self._refuse("revoked", f"{device} is revoked, and still sends")
        elif device not in devices.keys:
            return self._refuse("unknown", f"{device} does not belong to this fleet")
        else:
            fields = verified(payload, bytes.fromhex(devices.keys[device]))
        if fields.get("device") != device:
            return self._refuse("other device", f"{device} sends in another one's name")
        with parsing("a message"):
            checked_numbers(fields)
            said = convert(fields, _Said)
            body = json.encode(said)
        with self._lock:
            before = self.latest.get(device)
            if before is None and len(self.latest) >= _MOST_DEVICES:
                raise InputError("too many devices")
            if before is None or said.seq > before.seq:
                self.latest[device] = Newest(said.seq, time.time(), body)
                return None
        return self._refuse("replayed", f"{device} sends what it sent before, or older")

    def _enroll(self, payload: bytes) -> None:
        if self._file is None:
            return
        request = read_request(payload)
        self._read(self._file).enrolled(request, self._now())  # who has no token does not make us read and write
        change_devices(self._file, lambda known: known.enrolled(request, self._now()))
        self._read(self._file)
        _log.info("%s belongs to the fleet now", request.device)

    def _known(self) -> Devices | None:
        """Who belongs to the fleet; read again after a second, so that a revocation holds at once."""
        if self._file is not None and time.monotonic() - self._read_at > 1:
            self._devices, self._read_at = self._read(self._file), time.monotonic()
        return self._devices

    def _read(self, file: Path) -> Devices:
        """What the file holds; it is read where it is another one than before."""
        try:
            found = file.stat()
            mark = found.st_ino, found.st_mtime_ns, found.st_size
        except OSError:
            mark = None
        if self._devices is None or mark != self._mark:
            self._devices, self._mark = read_devices(file), mark
        return self._devices

    def _refuse(self, why: str, line: str) -> None:
        self.refused[why] += 1
        if self._said < _MOST_SAID:
            self._said += 1
            _log.warning("refused: %s", line)


class Collector:
    """Listens to a broker from `__enter__` to `__exit__`.

    Args:
        broker: where.
        fleet: takes the messages.
    """

    def __init__(self, broker: Broker, fleet: Fleet) -> None:
        self._client, host, port = new_client(broker)
        self._address = host, port
        self._fleet, self._over, self._said = fleet, threading.Event(), Rarely(_log)
        self._woken: deque[int] = deque(maxlen=_MOST_SAID)
        self._client.on_message, self._client.on_publish = self._received, self._published
        self._thread = threading.Thread(target=self._serve, name="edgeguard-fleet-collect", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return bool(self._client.is_connected())

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._client.disconnect()
        self._thread.join(timeout=2)

    def wake(self, seconds: float = 5.0) -> bool:
        """Tell all devices that there is news; whether the broker has it in time (it is sent again until it has)."""
        number = self._client.publish(WAKE, b"1", qos=1).mid
        until = time.monotonic() + seconds
        while number not in self._woken and time.monotonic() < until:
            self._over.wait(0.02)
        return number in self._woken

    def _serve(self) -> None:
        talk(self._client, self._address, self._over, keepalive_s=60, said=self._said, answered=self._connected)

    def _published(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        self._woken.append(mid)

    def _connected(self, client: Any, reason: Any) -> None:
        if reason.is_failure:
            self._said.warn("refused", f"mqtt: the broker refuses us: {reason}")
            return
        client.subscribe([("edgeguard/+/telemetry", 1), ("edgeguard/+/enroll", 1)])

    def _received(self, client: Any, userdata: Any, message: Any) -> None:
        try:
            self._fleet.take(message.topic, message.payload)
        except Exception as error:  # a bug of ours ends no thread
            self._said.warn("bug", f"a bug of ours: {type(error).__name__}: {error}")


def _unproven(payload: bytes) -> dict[str, Any]:
    with parsing("a message"):
        fields = json.decode(payload)
        if not isinstance(fields, dict):
            raise TypeError("it is no object")
    fields.pop("sig", None)
    return fields
