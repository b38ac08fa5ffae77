"""Serving the page: starlette and uvicorn, in a thread of their own; loopback, or a token."""

import hmac
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from edgeguard.errors import DeviceError, InputError
from edgeguard.pipeline.status import RunStatus
from edgeguard.reporting.served import HEADERS, page_files
from edgeguard.sinks.web.pictures import Pictures
from edgeguard.system.addresses import is_loopback

_COOKIE = "edgeguard_token"
_MOST_CLIENTS = 32


class WebPage:
    """Serves the page, /state.json, /raw.jpg, /sanitized.jpg and /healthz. Use as a context manager.

    Args:
        host, port: where; port 0 takes a free one.
        status: what the run is doing.
        stale_after_s: /healthz answers 503 when no result came for so long.
        token: wanted from everybody (once as `/?token=...`, or as a Bearer header) except of /healthz.

    Raises:
        InputError: the extra is not installed; another address than loopback without a token.
        DeviceError: the address is taken.
    """

    def __init__(self, host: str, port: int, *, status: RunStatus, stale_after_s: float, token: str | None) -> None:
        try:
            import uvicorn
        except ImportError as error:
            raise InputError("the web page is not installed: pip install 'edgeguard[web]'") from error
        if token is None and not is_loopback(host):
            raise InputError(f"--web {host}:{port} can be reached from outside: give --web-token-file")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host.strip("[]"), port), family=family)
        except OSError as error:
            raise DeviceError(f"cannot serve the page on {host}:{port}: {error.strerror}") from error
        self._host = host
        config = uvicorn.Config(
            _app(status, stale_after_s, token, host), lifespan="off", log_level="critical", access_log=False,
            limit_concurrency=_MOST_CLIENTS, timeout_keep_alive=5, timeout_graceful_shutdown=1, ws="none",
            h11_max_incomplete_event_size=16384,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="edgeguard-web", daemon=True
        )

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self._host}:{self._socket.getsockname()[1]}/"

    def __enter__(self) -> "WebPage":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()


def _app(status: RunStatus, stale_after_s: float, token: str | None, host: str) -> Any:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
    from starlette.routing import Route

    pictures = Pictures(status)

    async def guarded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = _refusal(request) or await answer(request)
        response.headers.update(HEADERS)
        return response

    def _refusal(request: Request) -> Response | None:
        if request.url.path == "/healthz":
            return None
        if token is None:  # a page of another site must not read this one by a name that it made point here
            named = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
            return None if is_loopback(named) or named == host else PlainTextResponse("wrong host\n", 421)
        given = request.query_params.get("token")
        if given is not None and _same(given, token):
            response: Response = RedirectResponse("/", 303)
            response.set_cookie(_COOKIE, token, httponly=True, samesite="strict", max_age=30 * 86400)
            return response
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if _same(request.cookies.get(_COOKIE, ""), token) or _same(bearer, token):
            return None
        return PlainTextResponse("a token is wanted: /?token=...\n", 401)

    def file(content: bytes, kind: str) -> Callable[[Request], Response]:
        return lambda request: Response(content, media_type=kind)

    def health(request: Request) -> Response:
        why = status.unhealthy(stale_after_s)
        return PlainTextResponse(f"{why or 'ok'}\n", 200 if why is None else 503)

    def picture(name: str) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            text = request.query_params.get("frame", "")
            frame = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
            jpeg = pictures.raw(frame) if name == "raw" else pictures.sanitized(frame)
            return (
                Response(jpeg, media_type="image/jpeg")
                if jpeg
                else PlainTextResponse("no such frame (any more)\n", 404)
            )

        return answer

    routes = [
        *(Route(path, file(*found)) for path, found in page_files("run", "EdgeGuard").items()),
        Route("/state.json", lambda request: JSONResponse(status.to_dict(pictures.tell()))),
        Route("/raw.jpg", picture("raw")),
        Route("/sanitized.jpg", picture("sanitized")),
        Route("/healthz", health),
    ]
    return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=guarded)])


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())
