"""POST of each event to an address, when it begins and when it ends."""

import http.client
import json
import logging
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgeguard.camera.urls import split_url
from edgeguard.pipeline.event import EventLog
from edgeguard.system.addresses import read_token
from edgeguard.system.watched_answer import watched_response

_TIMEOUT_S = 5.0
_AGAIN_S = (1.0, 2.0, 4.0, 8.0, 15.0)
_log = logging.getLogger(__name__)


class Webhook:
    """Sends in a thread of its own; what cannot be sent is tried five times more, then dropped and counted.

    Each body is the JSON of one event (docs/reference/published.schema.json). The answer has to be of 200 to 299.
    Redirects are not followed.

    Args:
        url: http:// or https://.
        log: the run's events.
        token_file: its text is sent as a Bearer token.

    Attributes:
        name, written, dropped, failure: as of every output.

    Raises:
        InputError: the URL is none, or the token cannot be read.
    """

    def __init__(self, url: str, log: EventLog, token_file: Path | None = None) -> None:
        split_url(url, ("http", "https"))
        parts = urlsplit(url)
        self._secure, self._host, self._port = parts.scheme.lower() == "https", parts.hostname or "", parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"Content-Type": "application/json", "User-Agent": "edgeguard"}
        if token_file is not None:
            self._headers["Authorization"] = f"Bearer {read_token(token_file)}"
        self.name, self.written, self.dropped = "webhook", 0, 0
        self.failure: str | None = None
        self._log, self._over = log, threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgeguard-webhook", daemon=True)

    def __enter__(self) -> "Webhook":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send what waits, for at most five seconds."""
        self._over.set()
        self._thread.join(timeout=_TIMEOUT_S)

    def _run(self) -> None:
        sent = 0
        while True:
            self._log.wait(sent, 0.5)
            now, events = self._log.since(sent)
            self.dropped += max(now - sent - len(events), 0)
            for event in events:
                self._deliver(event)
            sent = now
            if self._over.is_set() and self._log.changes == sent:
                return

    def _deliver(self, event: dict[str, Any]) -> None:
        for wait_s in (0.0, *_AGAIN_S):
            if self._over.wait(wait_s) and wait_s:
                break
            why = self._post(json.dumps(event).encode())
            if why is None:
                self.written += 1
                if self.failure is not None:
                    self.failure = None
                    _log.info("webhook works again; %d events were dropped", self.dropped)
                return
            if self.failure is None:
                _log.warning("webhook: %s; trying again", why)
            self.failure = why
        self.dropped += 1

    def _post(self, body: bytes) -> str | None:
        """Why it was not taken; None where it was."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=_TIMEOUT_S)
        until = time.monotonic() + 2 * _TIMEOUT_S  # each byte may be in time, and the answer's head late for ever

        def before_read(sock: socket.socket) -> None:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("its answer does not end")
            sock.settimeout(max(min(_TIMEOUT_S, left_s), 0.001))

        connection.response_class = watched_response(before_read)
        try:
            connection.request("POST", self._target, body, self._headers)
            status = connection.getresponse().status
            return None if 200 <= status < 300 else f"{self._host} answers {status}"
        except (OSError, http.client.HTTPException, ssl.SSLError) as error:
            return f"{self._host} cannot be reached: {getattr(error, 'strerror', None) or error}"
        finally:
            connection.close()
