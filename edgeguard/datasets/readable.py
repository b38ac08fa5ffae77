"""Every image is opened before long work begins: one that cannot be read is named then, not hours later."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from edgeguard.datasets.images import LabeledImage
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import EdgeGuardError, InputError

_log = logging.getLogger(__name__)

#: Share of a set that may be left out, as in training.
AT_MOST = 0.01
_NAMED = 5
_AT_ONCE = 4  # pictures in memory, each of which may be as large as is allowed
_SAID_EVERY_S = 10.0


def readable(
    images: Sequence[LabeledImage],
    where: object,
    *,
    at_most: float = AT_MOST,
    progress: Callable[[int, int], None] | None = None,
) -> list[LabeledImage]:
    """The images that decode; those that do not are named and left out.

    Args:
        images: files, bytes or pixels.
        where: they come from, for messages.
        at_most: share of them that may be left out.
        progress: called with images opened, and all of them; by default a line every ten seconds.

    Raises:
        InputError: more than that cannot be read.
    """
    progress = every_ten_seconds(where) if progress is None else progress
    found, broken = [], []
    with ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), _AT_ONCE), "edgeguard-readable") as pool:
        for number, (image, why) in enumerate(zip(images, pool.map(_fault, images), strict=True), start=1):
            if why is None:
                found.append(image)
            else:
                broken.append(f"{image.name} ({why})")
            progress(number, len(images))
    if not broken:
        return found
    named = ", ".join(broken[:_NAMED]) + (f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else "")
    if len(broken) > at_most * len(images):
        raise InputError(
            f"{where}: {len(broken)} of {len(images)} images cannot be read, more than {at_most:.0%}: {named}: "
            "mend them or take them away"
        )
    _log.warning("%s: %d of %d images cannot be read and are left out: %s", where, len(broken), len(images), named)
    return found


def every_ten_seconds(where: object) -> Callable[[int, int], None]:
    """What says how many images of a place were opened, of how many."""
    said = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _SAID_EVERY_S and done < total:
            said = time.monotonic()
            _log.info("%s: %d of %d images are opened", where, done, total)

    return show


def _fault(image: LabeledImage) -> str | None:
    """Why an image does not decode, in a few words; None for one that does."""
    try:
        content = image.content()
        if isinstance(content, bytes):
            decode_whole(content)
    except EdgeGuardError as error:
        return str(error)
    return None
