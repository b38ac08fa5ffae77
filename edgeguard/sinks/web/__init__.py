"""The web page of a run (extra `web`)."""

from edgeguard.sinks.web.server import WebPage

__all__ = ["WebPage"]
