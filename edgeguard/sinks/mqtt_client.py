"""A client of an MQTT broker (extra `mqtt`): address, user, TLS, and the talk that no broker ends.

Light: the fleet's agent uses it as well.
"""

import logging
import ssl
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from edgeguard.errors import InputError
from edgeguard.system.extras import how_to_install
from edgeguard.system.foreign import read_bounded
from edgeguard.system.rarely import Rarely

_log = logging.getLogger(__name__)
_LARGEST_AUTHORITY = 4 << 20  # bytes: ten times those of all authorities of a system


class _Over(Exception):
    """Ends the client's own loop."""


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
    """A client that is not connected yet, the broker's host and its port. What it keeps of a broker is bounded.

    Args:
        broker: see there.
        options: of paho's client.

    Raises:
        InputError: not such a URL, a file that cannot be read, the extra is not installed.
    """
    try:
        from paho.mqtt.enums import CallbackAPIVersion

        from edgeguard.sinks.mqtt_bounded import BoundedClient, unbounded
    except ImportError as error:
        raise InputError(f"MQTT is not installed: {how_to_install('mqtt')}") from error
    host, port, user, tls = _parse(broker.url)
    if missing := unbounded():
        _log.warning(
            "mqtt: this version of paho-mqtt is not known here (no %s): what a broker makes it keep has no bound; "
            "install paho-mqtt 2.2", ", ".join(missing),
        )  # fmt: skip
    client = BoundedClient(CallbackAPIVersion.VERSION2, **options)
    client.reconnect_delay_set(1, 30)
    if user is not None:
        client.username_pw_set(user, _read_secret(broker.password_file))
    if tls:
        client.tls_set_context(_trusting(broker.ca_file))
    return client, host, port


def talk(
    client: Any,
    address: tuple[str, int],
    over: threading.Event,
    *,
    keepalive_s: int,
    said: Rarely,
    answered: Callable[[Any, Any], None],
    lost: Callable[[], None] = lambda: None,
) -> None:
    """Keep a client connected until `over` is set: to be called in a thread of its own, which no broker ends.

    Args:
        client: of `new_client`.
        address: host and port.
        over: set it, and disconnect the client.
        keepalive_s: seconds of silence before the broker is looked after.
        said: why there is no connection goes there.
        answered: is called in this thread with the client and the broker's reason code, at each connection.
        lost: is called in this thread, or in one that publishes, when the connection ends.
    """
    heard = False

    def begins(client: Any, userdata: Any) -> None:
        if over.is_set():  # the client forgets a goodbye that comes just before it connects again
            raise _Over

    def greeted(client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        nonlocal heard
        heard = True
        if over.is_set():
            client.disconnect()
        answered(client, reason)

    def ended(client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        nonlocal heard
        before, heard = heard, False
        lost()
        if over.is_set():
            return
        if str(reason) == "Protocol error":
            said.warn("no MQTT", "mqtt: the broker sends what MQTT does not allow; the connection is made anew")
        elif not before:
            said.warn("no answer", f"mqtt: {address[0]}, port {address[1]} does not answer like a broker; trying again")

    client.on_pre_connect, client.on_connect, client.on_disconnect = begins, greeted, ended
    while not over.is_set():
        try:
            client.connect_async(*address, keepalive=keepalive_s)
            client.loop_forever(retry_first_connection=True)
        except Exception as error:  # a broker that sends what cannot be parsed is one that went away
            if not over.is_set():
                said.warn("no MQTT", f"mqtt: the broker sends something else than MQTT ({error!r}); trying again")
        over.wait(1)


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


def _trusting(authority: Path | None) -> ssl.SSLContext:
    """Who is believed to be a broker: whom that authority signed, or one of the system's."""
    if authority is None:
        return ssl.create_default_context()
    data = read_bounded(authority, _LARGEST_AUTHORITY, "the authority").decode("ascii", "ignore")  # comments are more
    if "-----BEGIN" not in data:  # of an empty text, the system's authorities would be taken
        raise InputError(f"cannot use the authority {authority}: it holds no certificate (PEM)")
    try:
        return ssl.create_default_context(cadata=data)
    except (ssl.SSLError, ValueError) as error:
        raise InputError(f"cannot use the authority {authority}: {error}") from error


def _read_secret(path: Path | None) -> str | None:
    if path is None:
        return None
    with suppress(OSError):
        mode, folder = path.stat().st_mode, path.resolve().parent.stat().st_mode
        if mode & stat.S_IROTH and folder & stat.S_IXOTH:
            _log.warning("mqtt: others on this machine may read the password file %s: 640 is a better mode", path)
    try:
        return read_bounded(path, 1 << 16, "the password file").decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read the password file {path}: {error}") from error
