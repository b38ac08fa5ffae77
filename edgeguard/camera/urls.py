"""URLs of network cameras."""

import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

from edgeguard.errors import InputError

_SECRET = re.compile(r"((?:^|&)[^=&]*(?:token|pass|pwd|secret|key|auth|user|login)[^=&]*=)[^&]*", re.IGNORECASE)


def split_url(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """The parts of a URL.

    Raises:
        InputError: it is none, or of another scheme.

    Example:
        >>> split_url("http://camera:8080/stream", ("http", "https")).port
        8080
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InputError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in schemes or not parts.hostname:
        raise InputError(f"{url!r} is not an {' or '.join(f'{scheme}://' for scheme in schemes)} URL")
    return parts


def without_credentials(parts: SplitResult) -> str:
    """The URL as it may be shown: without user and password, and without what the query holds of that kind.

    Example:
        >>> without_credentials(split_url("rtsp://me:secret@camera/1?channel=2&pwd=secret", ("rtsp",)))
        'rtsp://camera/1?channel=2&pwd=***'
    """
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, _SECRET.sub(r"\1***", parts.query), ""))
