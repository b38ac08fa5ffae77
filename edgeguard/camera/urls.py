"""URLs of network cameras."""

import re
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from edgeguard.errors import InputError

_SECRET = re.compile(r"((?:^|&)[^=&]*(?:token|pass|pwd|secret|key|auth|user|login)[^=&]*=)[^&]*", re.IGNORECASE)
_AUTHORITY_ENDS = re.compile(r"[/?#]")
_PORT = re.compile(r"[^:@\[\]]*(?::\d*)?|\[[^\]]*\](?::\d*)?")


def split_url(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """The parts of a URL. User and password may hold any character but `/`, `?` and `#`, percent-encoded or not.

    Raises:
        InputError: it is none, or of another scheme; the message holds neither user nor password.

    Example:
        >>> split_url("http://camera:8080/stream", ("http", "https")).port
        8080
        >>> split_url("http://me:p@ss[1]%@camera/", ("http",)).hostname
        'camera'
    """
    scheme, mark, rest = url.strip().partition("://")
    wanted = " or ".join(f"{name}://" for name in schemes)
    if not mark or scheme.lower() not in schemes:
        raise InputError(f"{_shown(url)!r} is not an {wanted} URL")
    ends = _AUTHORITY_ENDS.search(rest)
    authority, behind = (rest, "") if ends is None else (rest[: ends.start()], rest[ends.start() :])
    login, at, host = authority.rpartition("@")
    if not at and "@" in behind and not _PORT.fullmatch(authority):
        raise InputError(
            f"the password in the URL of {scheme}://{behind.rpartition('@')[2]} holds a character that ends it: "
            "write %2F for /, %3F for ?, %23 for # (and %25 for %)"
        )
    user, colon, password = login.partition(":")
    safe = f"{_encoded(user)}{colon}{_encoded(password)}{at}"
    try:
        parts = urlsplit(f"{scheme.lower()}://{safe}{host}{behind}")
        _ = parts.port
    except ValueError as error:
        raise InputError(f"{_shown(url)!r} is not a URL: {error}") from error
    if not parts.hostname:
        raise InputError(f"{_shown(url)!r} is not an {wanted} URL")
    return parts


def credentials(parts: SplitResult) -> tuple[str, str] | None:
    """User and password of a URL, decoded; None where it has none.

    Example:
        >>> credentials(split_url("http://me:50%25@camera/", ("http",)))
        ('me', '50%')
    """
    return None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))


def target_of(parts: SplitResult) -> str:
    """Path and query as a request sends them.

    Example:
        >>> target_of(split_url("http://camera/my cam.cgi?size=1 x#top", ("http",)))
        '/my%20cam.cgi?size=1%20x'
    """
    kept = "%/:@!$&'()*+,;=~?[]|"
    return quote(parts.path or "/", safe=kept) + (f"?{quote(parts.query, safe=kept)}" if parts.query else "")


def without_credentials(parts: SplitResult) -> str:
    """The URL as it may be shown: without user and password, and without what the query holds of that kind.

    Example:
        >>> without_credentials(split_url("rtsp://me:secret@camera/1?channel=2&pwd=secret", ("rtsp",)))
        'rtsp://camera/1?channel=2&pwd=***'
    """
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, _SECRET.sub(r"\1***", parts.query), ""))


def _encoded(text: str) -> str:
    """Percent-encoded, where it is not yet; a lone % stands for itself."""
    whole = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    return quote(whole, safe="%!$&'()*+,;=~._-")


def _shown(url: str) -> str:
    """What may be shown of something that is no URL."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
