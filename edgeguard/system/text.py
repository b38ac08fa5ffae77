"""Text files as editors, spreadsheets and other systems write them."""

import codecs

from edgeguard.errors import InputError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # begins with UTF-16's mark, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)


def decoded_text(data: bytes) -> tuple[str, str]:
    r"""A file's text, and the encoding that it is in: UTF-8, UTF-16, UTF-32 (with a mark or without), or Windows-1252.

    Bytes that are no UTF-8 say nothing of their encoding; what Western editors and spreadsheets write is taken.

    Raises:
        InputError: the bytes are no text.

    Example:
        >>> decoded_text(b"caf\xe9"), decoded_text("tench".encode("utf-16-le"))
        (('café', 'Windows-1252'), ('tench', 'UTF-16'))
    """
    for mark, codec, name in _MARKS:
        if data.startswith(mark):
            return _decoded(data, codec, name), name
    if b"\0" in data:
        odd, even = data[1::2].count(0), data[::2].count(0)
        if len(data) % 2 or min(odd, even) > 0.05 * len(data) or max(odd, even) < 0.2 * len(data):
            raise InputError("is no text: it holds zero bytes")
        return _decoded(data, "utf-16-le" if odd > even else "utf-16-be", "UTF-16"), "UTF-16"
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "Latin-1"


def _decoded(data: bytes, codec: str, name: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        raise InputError(f"is no {name} text: {error.reason} at byte {error.start}") from error
