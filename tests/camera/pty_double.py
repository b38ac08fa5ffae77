"""What device doubles have in common: a pty, a thread that answers, a cable that can be pulled, hurt replies."""

import os
import pty
import random
import select
import threading
import time
import tty
from collections.abc import Callable
from typing import Self


class PtyDouble:
    """A device on a pty. A subclass answers what arrives in `received`.

    Attributes:
        port: what the host opens.
        hurt: share of what is sent that is hurt.
        silent: answers nothing.
        hurt_count: how often that was.
    """

    def __init__(self, hurt: float, seed: int) -> None:
        self.hurt, self.silent, self.hurt_count = hurt, False, 0
        self.random = random.Random(seed)
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def unplug(self) -> None:
        """The cable is pulled."""
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join(5)
            os.close(self._master)
            os.close(self._slave)

    def received(self, data: bytes) -> None:
        """Bytes came from the host."""
        raise NotImplementedError

    def send(self, data: bytes, hurting: Callable[[bytearray], bytes], baud: int | None) -> None:
        """Send, sometimes hurt, at a rate where one is given."""
        if self.random.random() < self.hurt:
            self.hurt_count += 1
            data = hurting(bytearray(data))
        step = max((baud or 0) // 1000, 1) if baud else max(len(data), 1)
        began, sent = time.monotonic(), 0
        while sent < len(data) and not self._stop.is_set():
            if not select.select([], [self._master], [], 0.05)[1]:
                continue
            sent += os.write(self._master, data[sent : sent + step])
            if baud:
                time.sleep(max(began + 10 * sent / baud - time.monotonic(), 0))

    def _serve(self) -> None:
        while not self._stop.is_set():
            if select.select([self._master], [], [], 0.02)[0]:
                self.received(os.read(self._master, 65536))
