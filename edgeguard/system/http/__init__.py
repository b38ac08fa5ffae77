"""The one HTTP server of every page and stream: bounded requests, checked senders, a place kept for /healthz."""

from edgeguard.system.http.access import Access
from edgeguard.system.http.message import Answer, Request, Write
from edgeguard.system.http.server import HttpServer

__all__ = ["Access", "Answer", "HttpServer", "Request", "Write"]
