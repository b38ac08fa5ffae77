"""A client of an MQTT broker (extra `mqtt`): address, user, TLS. Light: the fleet's agent uses it as well."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from edgeguard.errors import InputError
from edgeguard.system.extras import how_to_install
from edgeguard.system.foreign import read_bounded


@dataclass(frozen=True)
class Broker:
    """Where a broker is, and as whom we come.

    Attributes:
        url: mqtt://[user@]host[:port], or mqtts:// for TLS.
        password_file, ca_file: of the user, and the authority that signed the broker (the system's by default).
    """

    url: str
    password_file: Path | None = None
    ca_file: Path | None = None


def new_client(broker: Broker, **options: Any) -> tuple[Any, str, int]:
    """A client that is not connected yet, the broker's host and its port.

    Args:
        broker: see there.
        options: of paho's client.

    Raises:
        InputError: not such a URL, a file that cannot be read, the extra is not installed.
    """
    try:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:
        raise InputError(f"MQTT is not installed: {how_to_install('mqtt')}") from error
    host, port, user, tls = _parse(broker.url)
    client = paho.Client(CallbackAPIVersion.VERSION2, **options)
    client.reconnect_delay_set(1, 30)
    if user is not None:
        client.username_pw_set(user, _read_secret(broker.password_file))
    if tls:
        ca_file = broker.ca_file
        try:
            client.tls_set_context(ssl.create_default_context(cafile=None if ca_file is None else str(ca_file)))
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"cannot use the authority {ca_file}: {error}") from error
    return client, host, port


def _parse(url: str) -> tuple[str, int, str | None, bool]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"--mqtt {_shown(url)!r} is not a URL: {error}") from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/"):
        raise InputError(f"--mqtt wants mqtt://[user@]host[:port] or mqtts://..., got {_shown(url)!r}")
    if parts.password is not None:
        raise InputError("--mqtt takes no password in the URL, where others can see it: use --mqtt-password-file")
    tls = parts.scheme == "mqtts"
    user = None if parts.username is None else unquote(parts.username)
    return parts.hostname, port or (8883 if tls else 1883), user, tls


def _shown(url: str) -> str:
    """Without user and password."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else url.rpartition("@")[2]


def _read_secret(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return read_bounded(path, 1 << 16, "the password file").decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read the password file {path}: {error}") from error
