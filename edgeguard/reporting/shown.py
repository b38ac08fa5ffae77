"""How large a picture is shown: whatever its proportions are, within a box and with no side of nothing.

A picture may come from a stranger. One of 1x65,000 pixels is a few kilobytes, and scaled to a width it is gigabytes.
"""


def size_within(width: int, height: int, box: tuple[int, int]) -> tuple[int, int]:
    """Width and height with the same proportions that fill a box as far as they can; at least one pixel each.

    Args:
        width, height: of the picture, at least 1.
        box: width and height that it may have at most.

    Example:
        >>> size_within(640, 480, (320, 960)), size_within(1, 65000, (320, 960))
        ((320, 240), (1, 960))
    """
    widest, highest = box
    if height * widest <= highest * width:
        return widest, max(round(height * widest / width), 1)
    return max(round(width * highest / height), 1), highest


def size_at_most(width: int, height: int, side: int) -> tuple[int, int]:
    """As `size_within`, of a square, and never larger than the picture is.

    Example:
        >>> size_at_most(1920, 1080, 960), size_at_most(64, 48, 960), size_at_most(65500, 8, 960)
        ((960, 540), (64, 48), (960, 1))
    """
    return (width, height) if max(width, height) <= side else size_within(width, height, (side, side))
