"""How much a property test draws: all in `make test-full`, a fifth in `make test`."""

_whole = False


def set_whole(whole: bool) -> None:
    """Said once, before any test module is read."""
    global _whole
    _whole = whole


def examples(number: int) -> int:
    """Examples to draw of `number`."""
    return number if _whole else max(number // 5, 5)
