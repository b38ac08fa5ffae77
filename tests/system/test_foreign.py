"""The border to bytes that somebody else wrote."""

import os
import threading
from pathlib import Path

import pytest

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.foreign import parsing, read_bounded


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("width"), "the file is damaged: 'width' is missing"),
        (RecursionError("deep"), "the file is damaged: its parts are nested too deeply"),
        (AttributeError(""), "the file is damaged: AttributeError"),
        (OverflowError("two\nlines \x1b[2J"), "the file is damaged: two lines  [2J"),
        (ValueError("x" * 500), "the file is damaged: " + "x" * 157 + "..."),
    ],
)
def test_whatever_breaks_a_parser_is_one_line(error: Exception, said: str) -> None:
    with pytest.raises(InputError) as caught, parsing("the file"):
        raise error
    assert str(caught.value) == said and caught.value.__cause__ is error


@pytest.mark.parametrize("error", [DeviceError("a"), FileNotFoundError("b"), MemoryError("c"), KeyboardInterrupt()])
def test_what_is_not_the_files_fault_goes_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, parsing("the file"):
        raise error
    assert caught.value is error


def test_files_are_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * (1 << 20))
    assert len(read_bounded(path, 1 << 20, "the file")) == 1 << 20
    path.write_bytes(b"x" * ((1 << 20) + 1))
    for endless in (path, Path("/dev/zero")):
        with pytest.raises(InputError, match="is larger than 1 MiB"):
            read_bounded(endless, 1 << 20, "the file")
    with pytest.raises(InputError, match="cannot read the file"):
        read_bounded(tmp_path / "missing", 1, "the file")
    with pytest.raises(InputError, match="cannot read the file"):
        read_bounded("a\0b", 1, "the file")
    with pytest.raises(InputError, match="Is a directory"):
        read_bounded(tmp_path, 1, "the file")


def test_a_pipe_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(b"abc",)).start()
    assert read_bounded(path, 10, "the file") == b"abc"
