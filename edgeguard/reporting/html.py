"""Pages: one template engine that escapes every text, one base template, one stylesheet.

A report is data (texts, tables, figures, charts) and a template of its own in `templates/`. Only charts are taken as
markup; whatever else a template is given comes out as text. Jinja2 is imported when the first page is made.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeguard.errors import InputError
from edgeguard.system.extras import how_to_install

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Entry:
    """A text in a table or below a picture.

    Attributes:
        text: as it is read.
        small: a second line in small letters; empty for none.
        look: how the text is shown.
    """

    text: str
    small: str = ""
    look: Literal["", "good", "bad", "strong", "code"] = ""


@dataclass(frozen=True)
class Table:
    """Rows of texts.

    Attributes:
        rows: each as long as the others. Without a head the first text of a row is its title.
        head: titles of the columns; empty for none.
        numbers: so many columns at the right hold numbers.
        marked: rows that stand out, by their place.
    """

    rows: Sequence[Sequence[Entry | str]]
    head: Sequence[Entry | str] = ()
    numbers: int = 0
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Figure:
    """A picture with lines below it.

    Attributes:
        picture: a data URI (`data_uri`).
        alt: what stands for it where it is not seen.
        caption: its lines.
    """

    picture: str
    alt: str
    caption: Sequence[Entry | str]


def page(template: str, **values: object) -> str:
    """A page as text; the same values give the same text.

    Args:
        template: a file of `templates/`.
        values: what it shows. Everything but charts is escaped, and so is what UTF-8 cannot hold.

    Raises:
        jinja2.UndefinedError: the template names a value that was not given.
    """
    text = _environment().get_template(template).render(values)
    return text.encode("utf-8", "backslashreplace").decode()  # JSON may hold half pairs, which no file takes


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as an address that stands inside the page; `kind` is their media type.

    Example:
        >>> data_uri(b"abc", "image/png")
        'data:image/png;base64,YWJj'
    """
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@cache
def _environment() -> "Environment":
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise InputError(f"pages and reports need jinja2: {how_to_install('web')}") from error

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
