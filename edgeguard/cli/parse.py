"""Flags that are written as text and mean numbers: sizes, pairs, lists."""

from edgeguard.errors import InputError


def size(text: str) -> tuple[int, int]:
    """`WIDTHxHEIGHT` to width and height, pixels.

    Raises:
        ValueError: it is none.

    Example:
        >>> size("1280x720")
        (1280, 720)
    """
    width, height = (int(part) for part in text.split("x"))
    return width, height


def size_within(flag: str, text: str, low: int, high: int) -> tuple[int, int]:
    """`WIDTHxHEIGHT` to width and height, each `low`..`high` pixels.

    Raises:
        InputError: it is none, or out of these bounds; the line names the flag.
    """
    try:
        width, height = size(text)
    except ValueError as error:
        raise InputError(f"{flag} wants WIDTHxHEIGHT, got {text}") from error
    if not (low <= width <= high and low <= height <= high):
        raise InputError(f"{flag} wants {low} to {high} pixels, got {text}")
    return width, height


def side_or_size(flag: str, text: str, low: int = 8, high: int = 4096) -> tuple[int, int]:
    """`N` (a square) or `WxH` to width and height, each `low`..`high` pixels.

    Raises:
        InputError: neither, or out of these bounds; the line names the flag.

    Example:
        >>> side_or_size("--size", "224"), side_or_size("--size", "320x240")
        ((224, 224), (320, 240))
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and low <= int(part) <= high for part in parts):
        raise InputError(f"{flag} wants N or WxH ({low}..{high}), got {text!r}")
    return int(parts[0]), int(parts[-1])


def numbers(flag: str, text: str) -> tuple[float, ...]:
    """Numbers with commas between them.

    Raises:
        InputError: something else; the line names the flag.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{flag} wants numbers with commas, got {text}") from error


def near_and_far(flag: str, text: str) -> tuple[float, float]:
    """`NEAR,FAR` in millimetres, 10 mm to a kilometre.

    Raises:
        InputError: something else; the line names the flag.

    Example:
        >>> near_and_far("--distances", "500,2000")
        (500.0, 2000.0)
    """
    values = numbers(flag, text)
    if len(values) != 2 or not 10 <= values[0] < values[1] <= 1e6:
        raise InputError(f"{flag} wants NEAR,FAR in millimeters, the nearer first: {flag} 500,2000; got {text}")
    return values[0], values[1]


def pair(text: str, hint: str) -> tuple[float, float]:
    """`X,Y` to two numbers.

    Raises:
        InputError: something else; the line is `hint` and what was given.
    """
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{hint}; got {text}") from error
    return x, y


def color_triple(flag: str, text: str) -> tuple[float, float, float]:
    """`R,G,B`, or one number for all three.

    Raises:
        InputError: something else; the line names the flag.

    Example:
        >>> color_triple("--std", "127.5")
        (127.5, 127.5, 127.5)
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= 3
    if len(values) != 3:
        raise InputError(f"{flag} wants three numbers R,G,B, got {text!r}")
    return values[0], values[1], values[2]
