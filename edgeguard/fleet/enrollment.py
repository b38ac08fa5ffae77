"""A new device proves with a one-time token that its key belongs to the fleet; the token does not travel."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated

from msgspec import DecodeError, Meta, json

from edgeguard.errors import DeviceError, InputError
from edgeguard.fleet.identity import Device, device_key
from edgeguard.fleet.layout import Layout
from edgeguard.fleet.link import Link
from edgeguard.fleet.manifest import Hash, Word
from edgeguard.sinks.mqtt_client import Broker

LARGEST = 1024
_ARRIVES_WITHIN_S = 15.0


@dataclass(frozen=True)
class Request:
    """What a device says.

    Attributes:
        device: its name.
        key: its public key, in hexadecimal.
        mac: HMAC-SHA256 of both with the token.
    """

    device: Word
    key: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    mac: Hash

    def holds(self, token: str) -> bool:
        """Whether whoever wrote it has the token."""
        return hmac.compare_digest(self.mac, _mac(token, self.device, self.key))


def enroll(layout: Layout, device: Device, broker: Broker, token: str) -> None:
    """Send the request.

    Raises:
        DeviceError: the broker does not take it.
    """
    key = device_key(layout).public_key().public_bytes_raw().hex()
    request = Request(device.device, key, _mac(token, device.device, key))
    with Link(broker, device.device, layout.root / "enroll.json") as link:
        link.put("enroll", json.encode(request))
        if not link.flush(_ARRIVES_WITHIN_S):
            raise DeviceError(f"{broker.url} cannot be reached: the token was not used; join again")


def read_request(payload: bytes) -> Request:
    """A request from the network.

    Raises:
        InputError: it is none.
    """
    if len(payload) > LARGEST:
        raise InputError(f"an enrollment of {len(payload)} bytes, more than {LARGEST}")
    try:
        return json.decode(payload, type=Request)
    except (DecodeError, RecursionError) as error:
        raise InputError(f"no enrollment: {error}") from error


def _mac(token: str, device: str, key: str) -> str:
    return hmac.new(token.encode(), f"edgeguard enroll\n{device}\n{key}".encode(), hashlib.sha256).hexdigest()
