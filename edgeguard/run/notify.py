"""Notifications that systemd waits for (sd_notify(3))."""

import os
import socket


def notify(message: str) -> bool:
    """Tell systemd (sd_notify(3)): `READY=1`, `WATCHDOG=1`, `STATUS=...`, `STOPPING=1`; False where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
            link.sendto(message.encode(), address)
    except OSError:
        return False
    return True
