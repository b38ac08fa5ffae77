"""Bytes from a web server that may be anybody: bounded in size and time, no redirects, broken downloads go on."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import urllib3
from tuf.api.exceptions import DownloadHTTPError, SlowRetrievalError
from tuf.ngclient import FetcherInterface

from edgeguard.errors import DeviceError, InputError
from edgeguard.fleet.layout import sync_folder
from edgeguard.system.watched_answer import BeforeRead, watched_response

#: Bytes a second, on average after the first seconds; a server that gives less is given up.
LEAST_RATE = 1000.0
_GRACE_S, _SILENCE_S = 10.0, 10.0
_PIECE = 1 << 16
_FREE_BYTES = 16 << 20  # that stay free on the disk


class Fetcher(FetcherInterface):
    """The TUF client's way to the network.

    Args:
        grace_s, silence_s: before the rate counts (an answer's head has no more time); without a byte.
        clock: in seconds.
        meanwhile: is called after each piece: at the least rate a bundle takes days.

    Attributes:
        received: bytes so far, for the record.
    """

    def __init__(
        self,
        *,
        grace_s: float = _GRACE_S,
        silence_s: float = _SILENCE_S,
        clock: Callable[[], float] = time.monotonic,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = _pools(self._before_read)
        self._grace_s, self._silence_s, self._clock, self._meanwhile = grace_s, silence_s, clock, meanwhile
        self._began: float | None = None  # when the answer was waited for that comes now
        self._got = 0  # bytes of its body
        self.received = 0

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self.pieces(url)

    def pieces(self, url: str, start: int = 0) -> Iterator[bytes]:
        """The bytes at `url`; from `start` on where the server can do that, which the caller sees by the first piece.

        Raises:
            DeviceError: nobody answers, or a web page or another place answers.
            SlowRetrievalError: less than the least rate.
            DownloadHTTPError: another status than success.
        """
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        timeout = urllib3.Timeout(connect=self._silence_s, read=self._silence_s)
        self._began, self._got = None, 0
        try:
            answer = self._pool.request(
                "GET", url, headers=headers, preload_content=False, redirect=False, timeout=timeout
            )
        except urllib3.exceptions.ReadTimeoutError as error:
            raise self._too_slow(url) from error
        except urllib3.exceptions.HTTPError as error:
            raise DeviceError(f"{_host(url)} cannot be reached: {_plain(error)}") from error
        try:
            if 300 <= answer.status < 400:
                raise DeviceError(f"{_host(url)} sends us elsewhere (a captive portal?): not followed")
            if answer.status not in (200, 206):
                raise DownloadHTTPError(f"{url}: HTTP status {answer.status}", answer.status)
            if start and answer.status == 200:
                yield b""  # from the beginning after all
            yield from self._body(url, answer)
        finally:
            answer.close()

    def _body(self, url: str, answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        while True:
            try:
                piece = answer.read1(_PIECE)
            except urllib3.exceptions.ReadTimeoutError as error:
                raise self._too_slow(url) from error
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise DeviceError(f"{_host(url)}: the connection broke off: {_plain(error)}") from error
            if not piece:
                return
            if not self._got and url.endswith(".json") and piece.lstrip()[:1] == b"<":
                raise DeviceError(f"{_host(url)} answers with a web page (a captive portal?) where metadata has to be")
            self._got += len(piece)
            self.received += len(piece)
            yield piece
            self._meanwhile()

    def _before_read(self, sock: socket.socket) -> None:
        """Every wait for the server, in heads, sizes of chunks and trailers as well, ends when the rate is missed."""
        now = self._clock()
        if self._began is None:  # a slow network's way to the connection is not the server's fault
            self._began = now
        left_s = self._began + self._grace_s + self._got / LEAST_RATE - now
        if left_s <= 0:
            raise TimeoutError
        sock.settimeout(min(self._silence_s, max(left_s, 0.001)))

    def _too_slow(self, url: str) -> SlowRetrievalError:
        spent_s = 0.0 if self._began is None else self._clock() - self._began
        return SlowRetrievalError(f"{url}: {self._got / max(spent_s, 0.001):.0f} bytes/s")


def _pools(before_read: BeforeRead) -> urllib3.PoolManager:
    """urllib3 with connections that are watched; a redirect or a failure is the caller's."""
    response = watched_response(before_read)

    class Plain(urllib3.connection.HTTPConnection):
        response_class = response

    class Secure(urllib3.connection.HTTPSConnection):
        response_class = response

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    manager = urllib3.PoolManager(num_pools=2, maxsize=1, retries=False)
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return manager


def download(fetcher: Fetcher, url: str, path: Path, size: int) -> None:
    """A file of `size` bytes, at most that many; what a broken download left is taken up. Its hash is not looked at.

    Raises:
        DeviceError: no room, no network, or too slow.
        InputError: more bytes than were signed, or fewer.
    """
    have = path.stat().st_size if path.exists() else 0
    if have > size:
        path.unlink()
        have = 0
    free = os.statvfs(path.parent)
    if free.f_bavail * free.f_frsize < size - have + _FREE_BYTES:
        raise DeviceError(f"no room on the disk for {size - have} bytes beside {_FREE_BYTES >> 20} MiB that stay free")
    try:
        with open(path, "ab") as stream:
            if have < size:
                _append(fetcher, url, stream.fileno(), have, size)
            os.fsync(stream.fileno())
    except SlowRetrievalError as error:
        raise DeviceError(f"the download is too slow ({error}); it goes on with the next try") from error
    except DownloadHTTPError as error:
        raise DeviceError(f"the repository does not have {url} (HTTP status {error.status_code})") from error
    except OSError as error:
        raise DeviceError(f"cannot write {path}: {error.strerror or error}") from error
    sync_folder(path.parent)


def _append(fetcher: Fetcher, url: str, file: int, have: int, size: int) -> None:
    for piece in fetcher.pieces(url, have):
        if not piece:  # the whole file again
            os.ftruncate(file, 0)
            have = 0
            continue
        have += len(piece)
        if have > size:
            os.ftruncate(file, 0)
            raise InputError(f"the download is larger than the {size} bytes that were signed; refused")
        os.write(file, piece)
    if have < size:
        raise DeviceError(f"the download ended after {have} of {size} bytes; it goes on with the next try")


def read_small(fetcher: Fetcher, url: str, most: int) -> bytes:
    """A small file, all of it.

    Raises:
        InputError: it is larger than `most`.
        DeviceError: no network.
    """
    data = b""
    try:
        for piece in fetcher.pieces(url):
            data += piece
            if len(data) > most:
                raise InputError(f"{url} is larger than the {most} bytes that were signed; refused")
    except (SlowRetrievalError, DownloadHTTPError) as error:
        raise DeviceError(str(error)) from error
    return data


def _host(url: str) -> str:
    return urllib3.util.parse_url(url).host or url


def _plain(error: Exception) -> str:
    text = str(error.args[-1] if error.args else error)
    return json.dumps(text.rpartition(": ")[2] or text)[1:-1][:120]
