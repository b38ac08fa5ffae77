"""What serial cameras have in common: frames until the camera is lost, one by one, each whole or counted as lost."""

import time
from collections.abc import Callable, Iterator

from edgeguard.camera.source import Captured, Lost
from edgeguard.errors import DeviceError

_MOST_FAILURES = 5  # frames in a row that fail, before the camera counts as lost


def serial_frames(
    name: str,
    take: Callable[[int, float], Captured | Lost],
    failure: type[Exception],
    closed: Callable[[], bool],
    recover: Callable[[], None] = lambda: None,
) -> Iterator[Captured | Lost]:
    """Frames of a serial camera.

    Args:
        name: of the source, for messages.
        take: reads the frame of an index; the Unix time at which it was asked for is given.
        failure: what `take` raises for a frame that cannot be read whole.
        closed: True once the source was closed on purpose.
        recover: runs after such a frame; what it raises of `failure` counts with the next frame.

    Raises:
        DeviceError: the port is gone, or several frames in a row failed.
    """
    index, failures = 0, 0
    while not closed():
        item: Captured | Lost
        try:
            try:
                item = take(index, time.time())
                failures = 0
            except failure as error:
                failures += 1
                item = Lost(index, name, str(error))
                if failures == _MOST_FAILURES:
                    raise DeviceError(f"{name} answers no more: {error}") from error
                try:
                    recover()
                except failure:
                    pass
        except OSError as error:
            if closed():
                return
            raise DeviceError(f"{name} was lost: {error}") from error
        yield item
        index += 1
