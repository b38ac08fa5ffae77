"""A small HTTP server of the standard library in a thread of its own."""

import threading
from collections.abc import Callable
from socketserver import TCPServer
from typing import Self

from edgeguard.errors import DeviceError


class BackgroundServer:
    """Serves from `__enter__` to `__exit__`.

    Args:
        open_server: makes the server, which binds its address.
        what: is served, for the error.
        host, port: of the address.

    Raises:
        DeviceError: the address is taken or not ours.
    """

    def __init__(self, open_server: Callable[[], TCPServer], what: str, *, host: str, port: int) -> None:
        try:
            self._server = open_server()
        except OSError as error:
            raise DeviceError(f"cannot serve {what} on {host}:{port}: {error.strerror}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name=f"edgeguard-{what}", daemon=True)

    @property
    def url(self) -> str:
        """Where it is, with a slash at the end."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
