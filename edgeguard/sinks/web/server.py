"""The page of a run: what it serves; loopback, or a token."""

from edgeguard.errors import InputError
from edgeguard.pipeline.status import RunStatus
from edgeguard.reporting.served import page_files
from edgeguard.sinks.health import run_health
from edgeguard.sinks.web.pictures import Pictures, mask_to_dict
from edgeguard.system.addresses import is_loopback
from edgeguard.system.http import Answer, HttpServer, Request


class WebPage(HttpServer):
    """Serves the page, /state.json, /raw.jpg, /sanitized.jpg, /mask.png and /healthz. Use as a context manager.

    Args:
        host, port: where; port 0 takes a free one.
        status: what the run is doing.
        stale_after_s: /healthz answers 503 when no result came for so long.
        token: wanted from everybody (once as `/?token=...`, or as a Bearer header) except of /healthz.

    Raises:
        InputError: another address than loopback without a token.
        DeviceError: the address is taken.
    """

    def __init__(self, host: str, port: int, *, status: RunStatus, stale_after_s: float, token: str | None) -> None:
        if token is None and not is_loopback(host):
            raise InputError(f"--web {host}:{port} can be reached from outside: give --web-token-file")
        self._status, self._pictures = status, Pictures(status)
        self._files = page_files("run", "EdgeGuard")
        super().__init__(
            "the page", host, port, answer=self._page, health=lambda: run_health(status, stale_after_s), token=token
        )

    def _page(self, request: Request) -> Answer:
        if request.path in self._files:
            return Answer(200, *self._files[request.path])
        if request.path == "/state.json":
            last = self._pictures.tell()
            return Answer.json({**self._status.to_dict(last), "mask": mask_to_dict(last)})
        if request.path in ("/raw.jpg", "/sanitized.jpg", "/mask.png"):
            return self._picture(request)
        return Answer.line(404, "not found")

    def _picture(self, request: Request) -> Answer:
        text = request.query.get("frame", "")
        frame = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
        if request.path == "/mask.png":
            data, kind = self._pictures.mask(frame), "image/png"
        else:
            make = self._pictures.raw if request.path == "/raw.jpg" else self._pictures.sanitized
            data, kind = make(frame), "image/jpeg"
        return Answer(200, data, kind) if data else Answer.line(404, "no such frame (any more)")
