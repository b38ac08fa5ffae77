"""The web page of a run."""

from edgeguard.sinks.web.server import WebPage

__all__ = ["WebPage"]
