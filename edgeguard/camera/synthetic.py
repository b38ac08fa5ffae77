"""Rendered scenes as a source, for demonstrations and tests: `synthetic:cards?fps=15&frames=300&seed=0`."""

import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qsl

import numpy as np

from edgeguard.camera.source import Applied, Captured, Lost
from edgeguard.errors import InputError

_KEYS = {"fps": (0.0, 1000.0), "frames": (0, 10**9), "seed": (0, 2**31), "width": (64, 4096), "height": (64, 4096)}


class SyntheticCards:
    """Sign cards in random scenes, one after the other.

    With `fps` it is paced and live, as a camera is; without, it gives frames as fast as they are asked for. `frames`
    ends it.
    """

    def __init__(self, spec: str) -> None:
        values = _parse(spec)
        self.name = spec
        self.live = values["fps"] > 0
        self._fps, self._frames, self._seed = values["fps"], int(values["frames"]), int(values["seed"])
        self._size = int(values["width"]), int(values["height"])
        self.applied = Applied(*self._size, "RGB", self._fps or None)
        self._closed = threading.Event()

    def frames(self) -> Iterator[Captured | Lost]:
        """Frames until `frames` of them, or without end."""
        from edgeguard.scene.cards import CARDS
        from edgeguard.scene.views import random_view, render

        generator = np.random.default_rng(self._seed)
        due, index = time.monotonic(), 0
        while not self._closed.is_set() and (index < self._frames or not self._frames):
            rgb = render(random_view(generator, CARDS[int(generator.integers(len(CARDS)))]), *self._size)
            if self.live:
                due += 1 / self._fps
                self._closed.wait(max(due - time.monotonic(), 0))
            yield Captured(index, self.name, None, rgb, time.time(), "received")
            index += 1

    def close(self) -> None:
        """End it; wakes a thread that waits for the next frame."""
        self._closed.set()


def _parse(spec: str) -> dict[str, float]:
    values: dict[str, float] = {"fps": 0.0, "frames": 0, "seed": 0, "width": 640, "height": 480}
    for key, text in parse_qsl(spec.partition("?")[2], keep_blank_values=True):
        if key not in _KEYS:
            raise InputError(f"{spec}: unknown key {key!r}; known: {', '.join(_KEYS)}")
        low, high = _KEYS[key]
        try:
            values[key] = float(text)
        except ValueError as error:
            raise InputError(f"{spec}: {key} wants a number, got {text!r}") from error
        if not low <= values[key] <= high:
            raise InputError(f"{spec}: {key} is {low:g} to {high:g}, got {text}")
    return values
