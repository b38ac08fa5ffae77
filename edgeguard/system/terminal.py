"""What a terminal may be given: text of files, cameras and peers, without what would steer it."""

import unicodedata
from typing import IO

_STEERING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, directions, halves of pairs, separators


def printable(text: str) -> str:
    r"""The text with each character that steers a terminal (or turns the direction of writing) as its escape.

    A line break is one of them: whoever chose a name does not write lines of ours.

    Example:
        >>> printable("stop\x1b[2J"), printable("größe")
        ('stop\\x1b[2J', 'größe')
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _STEERING else c for c in text)


def printable_json(text: str) -> str:
    r"""A line of JSON with the same meaning, and nothing in it that steers a terminal.

    Example:
        >>> printable_json('{"label":"\x9b2J"}')
        '{"label":"\\u009b2J"}'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_json_escaped(c) if unicodedata.category(c) in _STEERING else c for c in text)


def write_lines(stream: IO[str], lines: tuple[str, ...]) -> None:
    """Write lines, printable, and flush; what the stream's encoding lacks is written as its escape."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = "".join(f"{printable(line)}\n" for line in lines)
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
