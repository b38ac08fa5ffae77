"""The server: one thread that reads heads and answers what is short, a few workers for the rest.

A connection costs a stranger a socket here and no thread: until its request is whole it waits in a bounded place, with
a deadline from its first moment, and the oldest gives way to the newest. `/healthz` is answered by the thread that
reads, so that whoever holds every worker does not hide a healthy run. Both take a bounded share of one core.
"""

import contextlib
import logging
import queue
import selectors
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.http.access import Access
from edgeguard.system.http.budget import CpuBudget
from edgeguard.system.http.message import Answer, BadRequest, Request, Write, read_request

_MOST_WAITING = 128  # connections whose request is not whole yet
_MOST_ACCEPTED = 32  # in one round
_HEAD_WITHIN_S, _ANSWER_WITHIN_S = 5.0, 10.0
_WORKERS, _MOST_JOBS = 6, 24
_READING_SHARE, _WORKING_SHARE, _BURST_S = 0.08, 0.15, 0.5  # of one core
_BACKLOG = 256
_TICK_S = 0.2
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Waiting:
    """A connection whose request is not whole yet."""

    connection: socket.socket
    until: float
    data: bytes = b""


class HttpServer:
    """Serves from `__enter__` to `__exit__`.

    Args:
        what: is served, for the error.
        host, port: where, a number or a name; port 0 takes a free one, `[::]` all addresses of both kinds.
        answer: called in a worker with each request that may be answered.
        health: the answer to /healthz, for everybody; called by the thread that reads, so it must not wait.
        token: see `Access`.
        posts: paths that take POST; the others take GET and HEAD.

    Raises:
        DeviceError: the address is taken or not ours.
        InputError: the host is no name that can be looked up.

    Example:
        >>> with HttpServer("hello", "127.0.0.1", 0, answer=lambda request: Answer.line(200, "hello"),
        ...                 health=lambda: Answer.line(200, "ok")) as server:
        ...     server.url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(
        self,
        what: str,
        host: str,
        port: int,
        *,
        answer: Callable[[Request], Answer],
        health: Callable[[], Answer],
        token: str | None = None,
        posts: frozenset[str] = frozenset(),
    ) -> None:
        self._posts = posts
        self._host, self._answer, self._health = host.strip("[]"), answer, health
        self._access = Access(host, token)
        try:
            self._listener = _listen(self._host, port)
        except OSError as error:
            raise DeviceError(f"cannot serve {what} on {host}:{port}: {error.strerror or error}") from error
        except UnicodeError as error:  # a label that is empty or longer than 63 bytes, which no resolver sees
            raise InputError(f"cannot serve {what} on {host}:{port}: {host} is no name of a host") from error
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._jobs: queue.Queue[tuple[socket.socket, Request] | None] = queue.Queue(_MOST_JOBS)
        self._open: set[socket.socket] = set()  # that workers and streams write to
        self._reading, self._working = CpuBudget(_READING_SHARE, _BURST_S), CpuBudget(_WORKING_SHARE, _BURST_S)
        self._closing = self._tripped = False
        names = [(self._read_all, f"edgeguard-{what}")] + [(self._work_all, f"edgeguard-{what}-worker")] * _WORKERS
        self._threads = [threading.Thread(target=target, name=name, daemon=True) for target, name in names]

    @property
    def url(self) -> str:
        """Where it is, with a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes who writes to it
        for _worker in range(_WORKERS):
            with contextlib.suppress(queue.Full):
                self._jobs.put_nowait(None)
        until = time.monotonic() + 3
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=max(until - time.monotonic(), 0))
        self._listener.close()
        self._selector.close()

    def _read_all(self) -> None:
        while not self._closing:
            self._reading.wait()
            ready = self._selector.select(_TICK_S)
            began = time.thread_time()
            for key, _ in ready:
                waiting: _Waiting | None = key.data
                try:
                    if waiting is None:
                        self._accept()
                    elif waiting.connection.fileno() in self._waiting:  # else it gave way in this round
                        self._read(waiting)
                except Exception as error:
                    self._trip(error)
            self._end_the_late()
            self._reading.spend(time.thread_time() - began)
        for waiting in list(self._waiting.values()):
            self._drop(waiting)

    def _accept(self) -> None:
        for _ in range(_MOST_ACCEPTED):
            try:
                connection, _peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no file descriptor is left: a waiting one gives its own
                if self._waiting:
                    self._drop(next(iter(self._waiting.values())))
                time.sleep(0.02)
                return
            connection.setblocking(False)
            if len(self._waiting) >= _MOST_WAITING:
                self._drop(next(iter(self._waiting.values())))
            waiting = _Waiting(connection, time.monotonic() + _HEAD_WITHIN_S)
            self._waiting[connection.fileno()] = waiting
            self._selector.register(connection, selectors.EVENT_READ, waiting)
            self._read(waiting)  # most requests are there already

    def _read(self, waiting: _Waiting) -> None:
        try:
            data = waiting.connection.recv(1 << 14)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(waiting)
            return
        waiting.data += data
        try:
            request = read_request(waiting.data)
        except BadRequest as error:
            self._finish(waiting, Answer.line(error.status, str(error)))
            return
        if request is not None:
            self._direct(waiting, request)

    def _direct(self, waiting: _Waiting, request: Request) -> None:
        """Answer a whole request now, or give it to a worker."""
        if request.path == "/healthz":
            self._finish(waiting, self._health())
            return
        refusal = self._access.refusal(request)
        if refusal is None and (request.method == "POST") != (request.path in self._posts):
            refusal = Answer.line(405, "not this method, here")
        if refusal is not None:
            self._finish(waiting, refusal)
            return
        self._forget(waiting)
        try:
            self._jobs.put_nowait((waiting.connection, request))
        except queue.Full:
            self._finish(waiting, Answer.line(503, "too many requests: try again"))

    def _finish(self, waiting: _Waiting, answer: Answer) -> None:
        """Send a short answer, which the kernel takes at once, and close."""
        self._forget(waiting)
        body = not waiting.data.startswith(b"HEAD ")  # also of a request that is refused for its form
        with contextlib.suppress(OSError):
            waiting.connection.send(answer.encoded(body=body))
            waiting.connection.shutdown(socket.SHUT_WR)
        waiting.connection.close()

    def _drop(self, waiting: _Waiting) -> None:
        self._forget(waiting)
        waiting.connection.close()

    def _forget(self, waiting: _Waiting) -> None:
        if self._waiting.pop(waiting.connection.fileno(), None) is not None:
            self._selector.unregister(waiting.connection)

    def _end_the_late(self) -> None:
        now = time.monotonic()
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            if oldest.until > now:
                return
            self._drop(oldest)

    def _work_all(self) -> None:
        while (job := self._jobs.get()) is not None and not self._closing:
            self._working.wait()
            began = time.thread_time()
            self._open.add(job[0])
            try:
                self._work(*job)
            except OSError:  # whoever asked is gone, or too slow
                self._close(job[0])
            except Exception as error:
                self._trip(error)
                self._close(job[0])
            self._working.spend(time.thread_time() - began)

    def _work(self, connection: socket.socket, request: Request) -> None:
        try:
            answer = self._answer(request)
        except Exception as error:
            self._trip(error)
            answer = Answer.line(500, "a bug of ours")
        connection.settimeout(_ANSWER_WITHIN_S)
        head_only = request.method == "HEAD"
        if answer.stream is None:
            connection.sendall(answer.encoded(body=not head_only))
            self._close(connection)
            return
        stream = threading.Thread(
            target=self._stream, args=(connection, answer, head_only), name="edgeguard-stream", daemon=True
        )
        try:
            stream.start()
        except RuntimeError:  # no thread is left: the stream ends here, and gives back what it holds
            connection.shutdown(socket.SHUT_RDWR)
            self._stream(connection, answer, head_only)

    def _stream(self, connection: socket.socket, answer: Answer, head_only: bool) -> None:
        assert answer.stream is not None
        write: Write = _gone if head_only else connection.sendall
        try:
            try:
                connection.sendall(answer.encoded())
            except OSError:
                write = _gone  # it is called all the same: it gives back what it holds
            answer.stream(write)
        except OSError:
            pass  # whoever asked is gone, or too slow
        except Exception as error:
            self._trip(error)
        finally:
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        connection.close()

    def _trip(self, error: Exception) -> None:
        """A bug of ours ends an answer and no thread; it is said once."""
        if not self._tripped:
            self._tripped = True
            _log.warning("a bug of ours: a page tripped (%s: %s)", type(error).__name__, error)


def _gone(data: bytes) -> None:
    raise BrokenPipeError


def _listen(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    families = {family for family, *_ in found}
    family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
