"""URLs of network cameras."""

from urllib.parse import SplitResult, urlsplit, urlunsplit

from edgeguard.errors import InputError


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
    """The URL as it may be shown.

    Example:
        >>> without_credentials(split_url("rtsp://me:secret@camera/1", ("rtsp",)))
        'rtsp://camera/1'
    """
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
