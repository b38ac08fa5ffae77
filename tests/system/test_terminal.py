"""Nothing that a file, a camera or a peer names steers a terminal."""

import io
import json
import unicodedata

import pytest

from edgeguard.system.terminal import printable, printable_json, write_lines

STEERING = "\x1b[2J\x07\r\n\x7f\x9b0m\u202egpj\u2028\ufeff\u200f\udcff"


def test_what_steers_is_written_as_its_escape() -> None:
    assert printable(STEERING) == r"\x1b[2J\x07\r\n\x7f\x9b0m\u202egpj\u2028\ufeff\u200f\udcff"
    assert printable("größe 25 µm 目") == "größe 25 µm 目"
    for number in range(0x3000):
        assert printable(chr(number)).isprintable() or unicodedata.category(chr(number)) == "Zs"


def test_json_keeps_its_meaning() -> None:
    for text in (STEERING, "größe", "\U000e0001", '"\\'):
        line = json.dumps({"label": text}, ensure_ascii=False)
        assert json.loads(printable_json(line)) == {"label": text} and printable_json(line).encode()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_poor_terminal_gets_escapes_and_no_error(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    write_lines(stream, ("größe 目", STEERING))
    first, second, rest = raw.getvalue().decode(encoding).split("\n")
    assert first.startswith("gr") and second.isprintable() and rest == ""
