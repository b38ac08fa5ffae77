"""One request to a network camera, and everything that stands between a right URL and its answer: login, redirects,
cookies, certificates. With the standard library; every wait ends, and what is wrong is named.
"""

import contextlib
import http.client
import math
import socket
import ssl
import threading
import time
from collections import Counter
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, urljoin

from edgeguard.camera.http_head import read_answer
from edgeguard.camera.http_login import Login, challenges
from edgeguard.camera.opening import ends_with_the_attempt
from edgeguard.camera.urls import credentials, split_url, target_of, without_credentials
from edgeguard.errors import DeviceError, InputError

_MOST_STEPS = 10  # redirects and refusals, one after the other
_MOST_COOKIES = 16
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_TLS_ALERT, _RTSP = "\x15\x03", "RTSP/"


class HttpClient:
    """Asks one URL; `close` ends every wait at once, from any thread.

    Args:
        url: http:// or https://, with or without user:password@ (sent as the camera wants it, never shown).
        timeout_s: the longest wait for the connection and for each piece of data.
        head_timeout_s: the longest time for the whole answer's head, refusals and redirects included.

    Attributes:
        name: the URL without credentials.
        noted: what had to be put right in the heads of answers, and how often.
        closed: `close` was called.

    Raises:
        InputError: not an http(s) URL.
    """

    def __init__(self, url: str, *, timeout_s: float = 3.0, head_timeout_s: float = 6.0) -> None:
        self._url = split_url(url, ("http", "https"))
        self.name = without_credentials(self._url)
        self._timeout_s, self._head_timeout_s = timeout_s, head_timeout_s
        login = credentials(self._url)
        self._login = None if login is None else Login(*login)
        self.noted = Counter[str]()
        self._cookies: dict[str, str] = {}
        self._socket: socket.socket | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._late = self.closed = False
        self._wait_s, self._until = timeout_s, math.inf
        ends_with_the_attempt(self.close)

    def get(self, accept: str, *, query: str = "", headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """The answer with status 200 or 304, its body not read yet.

        Args:
            accept: of media types.
            query: added to the URL's own.
            headers: more of them.

        Raises:
            DeviceError: no connection, no answer, or another answer; the message says what to do.
        """
        parts = self._url
        if query:
            parts = parts._replace(query="&".join(part for part in (parts.query, query) if part))
        late = threading.Timer(self._head_timeout_s, self._give_up)  # each byte may be in time, and the whole late
        late.daemon = True
        self.limit_wait(self._timeout_s, math.inf)  # the timer ends what comes until the head is there
        late.start()
        try:
            response = self._ask_until_answered(parts, {"Accept": accept, **(headers or {})})
            if self._late:  # a head that was cut short looks whole
                raise DeviceError("late")
            return response
        except BaseException as error:
            self._drop()  # now, and not when the garbage is collected
            if self._late:
                raise DeviceError(f"{self.name} does not answer within {self._head_timeout_s:g} s") from error
            raise
        finally:
            late.cancel()
            self._late = False

    def limit_wait(self, seconds: float, until: float) -> None:
        """How long the next pieces of the body may take: a read raises `TimeoutError` when one of both is over.

        Args:
            seconds: for each piece that the connection gives.
            until: for all of them, on the monotonic clock; what is no data counts as well, as chunks' sizes do.
        """
        self._wait_s, self._until = seconds, until

    def _before_read(self) -> None:
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        if self._socket is not None:
            with contextlib.suppress(OSError):  # closed in this moment
                self._socket.settimeout(max(min(self._wait_s, left_s), 0.001))

    def end(self) -> None:
        """Give the connection back after an answer; the next `get` makes a new one."""
        self._drop()

    def close(self) -> None:
        """Shut the connection down, which also wakes a thread that waits for it."""
        self.closed = True
        self._drop()

    def _drop(self) -> None:
        sock, connection = self._socket, self._connection
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                sock.close()
        if connection is not None:
            connection.close()

    def _give_up(self) -> None:
        self._late = True
        self._drop()

    def _ask_until_answered(self, parts: SplitResult, headers: dict[str, str]) -> http.client.HTTPResponse:
        for _ in range(_MOST_STEPS):
            response = self._ask(parts, headers)
            self._keep_cookies(response)
            if response.status in (200, 206, 304):
                if self._login is not None:
                    self._login.accepted()
                self._check_encoding(response)
                return response
            if response.status in _REDIRECTS:
                parts = self._redirected(parts, response)
            elif response.status in (401, 403):
                self._refused(response)
            else:
                raise DeviceError(f"{self.name} answers {response.status} {_printable(response.reason)}".rstrip())
            self._drop()
        raise DeviceError(f"{self.name} redirects or refuses again and again: see in a browser what it wants")

    def _ask(self, parts: SplitResult, headers: dict[str, str]) -> http.client.HTTPResponse:
        target = target_of(parts)
        sent = {"User-Agent": "edgeguard", **headers}
        answer = None if self._login is None else self._login.header("GET", target)
        if answer is not None:
            sent["Authorization"] = answer
        if self._cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        try:
            connection = self._connect(parts)
            connection.request("GET", target, headers=sent)
            return read_answer(connection.sock, self.noted, self._before_read)
        except TimeoutError as error:
            raise DeviceError(f"{self.name} does not answer within {self._timeout_s:g} s") from error
        except ssl.SSLError as error:
            raise DeviceError(f"{self.name} {_why_no_tls(error)}") from error
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:  # closed by another thread
            raise DeviceError(f"{self.name} {_why_no_answer(error)}") from error

    def _connect(self, parts: SplitResult) -> http.client.HTTPConnection:
        """A socket of our own, which `close` can end at any moment, a TLS handshake included."""
        host, secure = parts.hostname or "", parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = connection = kind(host, parts.port, timeout=self._timeout_s)
        self._socket = sock = socket.create_connection((connection.host, connection.port), self._timeout_s)
        if self.closed:
            self._drop()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            secured = ssl.create_default_context().wrap_socket(
                sock, server_hostname=host, do_handshake_on_connect=False
            )
            self._socket = sock = secured
            secured.do_handshake()
        connection.sock = sock
        return connection

    def _check_encoding(self, response: http.client.HTTPResponse) -> None:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise DeviceError(
                f"{self.name} sends its answer compressed ({_printable(encoding)}), which was not wanted: a proxy "
                "before it may do that; switch it off there, or use the camera's own address"
            )

    def _keep_cookies(self, response: http.client.HTTPResponse) -> None:
        """Some cameras refuse, or redirect to the same place, until their cookie comes back."""
        for text in response.headers.get_all("Set-Cookie", []):
            try:
                found = SimpleCookie(text[:4096])
            except CookieError:
                continue
            for name, morsel in found.items():
                if len(self._cookies) < _MOST_COOKIES or name in self._cookies:
                    self._cookies[name] = morsel.coded_value

    def _redirected(self, parts: SplitResult, response: http.client.HTTPResponse) -> SplitResult:
        """Where a redirect leads: on the same host only, and never from https to http."""
        text = response.headers.get("Location", "")
        try:
            to = split_url(urljoin(parts.geturl(), text), ("http", "https"))
            shown = without_credentials(to)
        except (InputError, ValueError):
            to, shown = None, _printable(text)
        answers = f"{self.name} answers {response.status} and redirects to {_printable(shown) or 'nowhere'}"
        if "login" in text.lower() or "signin" in text.lower():
            raise DeviceError(f"{answers}, a login page: it wants a session of a browser; look for a stream's own URL")
        if to is None or to.hostname != parts.hostname or (parts.scheme == "https" and to.scheme == "http"):
            raise DeviceError(f"{answers}, which is not followed: if you trust that place, give its URL")
        return to

    def _refused(self, response: http.client.HTTPResponse) -> None:
        """Try the next way to log in.

        Raises:
            DeviceError: there is none.
        """
        wanted = response.headers.get_all("WWW-Authenticate", [])
        what = f"{response.status} {_printable(response.reason)}".rstrip()
        if self._login is None:
            own = "another ?token=" if "token=" in self.name else "?token=... behind its address"
            raise DeviceError(
                f"{self.name} answers {what}: it wants a user and a password (http://user:password@...), or, if it is "
                f"an edgeguard sensor, {own}"
            )
        if self._login.challenged(wanted):
            return
        found = challenges(wanted)
        kinds = ", ".join(str(challenge) for challenge in found)
        if found and not any(challenge.can_be_answered for challenge in found):
            raise DeviceError(f"{self.name} wants a login that is not known here ({_printable(kinds)}): only Digest "
                              "(MD5, SHA-256, SHA-512-256; qop auth) and Basic are")  # fmt: skip
        kind = f" ({_printable(kinds)})" if kinds else ""
        raise DeviceError(f"{self.name} answers {what}: it refuses this user or password{kind}")


def _why_no_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message or str(error)
        return (
            f"shows a certificate that cannot be trusted ({why}): save the camera's certificate and name it in the "
            "environment variable SSL_CERT_FILE, or use http:// on a network that you trust"
        )
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return "does not speak https on this port: try http://"
    return f"cannot be reached: its TLS fails ({error.reason or error}); old cameras speak versions that are not safe"


def _why_no_answer(error: Exception) -> str:
    text = str(error)
    if isinstance(error, http.client.BadStatusLine):
        if text.strip("'\"").startswith((_TLS_ALERT, "\\x15\\x03")):
            return "speaks https on this port: use https://"
        if text.startswith(_RTSP):
            return "speaks RTSP on this port: use rtsp://"
    if isinstance(error, ConnectionRefusedError):
        return "cannot be reached: nothing listens on that port of it; is the camera on, and the port right?"
    reason = getattr(error, "strerror", None) or text or type(error).__name__
    return f"cannot be reached: {_printable(reason)}"


def _printable(text: str) -> str:
    """A stranger's words, on one line and short."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:120])
