"""The border to bytes that somebody else wrote."""

import os
import re
import subprocess
import threading
import tracemalloc
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from unittest import mock

import pytest
from msgspec import Meta

from edgeguard.errors import DeviceError, InputError
from edgeguard.system import foreign
from edgeguard.system.foreign import foreign_json, lines_of, of_type, parsing, read_bounded


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
    with pytest.raises(InputError, match="is larger than 1 MiB"):
        read_bounded(path, 1 << 20, "the file")
    with pytest.raises(InputError, match="cannot read the file"):
        read_bounded(tmp_path / "missing", 1, "the file")
    with pytest.raises(InputError, match="cannot read the file"):
        read_bounded("a\0b", 1, "the file")
    with pytest.raises(InputError, match="Is a directory"):
        read_bounded(tmp_path, 1, "the file")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/null", "a link"])
def test_devices_are_refused_before_they_are_opened(device: str, tmp_path: Path) -> None:
    """Up to a gigabyte of zeros was read before they were refused."""
    (tmp_path / "a link").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a device; refused"), mock.patch("os.open") as opened:
        read_bounded(tmp_path / device, 1 << 30, "the file")
    assert not opened.called


@pytest.mark.parametrize("path", ["/proc/self/mem", "/proc/kmsg", "/proc/self/environ"])
def test_files_without_a_size_end(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_WRITER_WITHIN_S", 0.05)
    monkeypatch.setattr(foreign, "_PIPE_WITHIN_S", 0.2)
    with suppress(InputError):
        read_bounded(path, 1 << 20, "the file")


def test_what_has_no_size_is_kept_once(tmp_path: Path) -> None:
    """What never ends was held twice, so that a limit of 512 MiB took 1 GB."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with subprocess.Popen(["cat", "/dev/zero"], stdout=os.open(path, os.O_RDWR), stderr=subprocess.DEVNULL) as endless:
        tracemalloc.start()
        with pytest.raises(InputError, match="is larger than 64 MiB"):
            read_bounded(path, 64 << 20, "the file")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        endless.kill()
    assert peak < 80 << 20


@pytest.mark.parametrize("after", [b"", b"a"])
def test_a_pipe_that_is_never_closed_is_given_up(after: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writer held the command for ever once it had written a byte."""
    monkeypatch.setattr(foreign, "_WRITER_WITHIN_S", 0.1)
    monkeypatch.setattr(foreign, "_PIPE_WITHIN_S", 0.3)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    over = threading.Event()

    def drip() -> None:
        os.write(writer, b"a")
        while after and not over.wait(0.02):
            os.write(writer, after)

    thread = threading.Thread(target=drip)
    thread.start()
    with pytest.raises(InputError, match="is a pipe that nobody writes to"):
        read_bounded(path, 1 << 20, "the file")
    over.set()
    thread.join()
    os.close(writer)


def test_a_pipe_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(b"abc",)).start()
    assert read_bounded(path, 10, "the file") == b"abc"


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_WRITER_WITHIN_S", 0.05)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe that nobody writes to"):
        read_bounded(tmp_path / "pipe", 10, "the file")


@dataclass(frozen=True)
class _Said:
    count: Annotated[int, Meta(ge=0)]
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    "value", [5, [], {}, {"count": "1"}, {"count": -1}, {"count": 10**30}, {"count": 1, "names": [1]}, {"count": 1.5}]
)
def test_plain_data_fits_its_type_or_is_refused(value: object) -> None:
    assert of_type(_Said, {"count": 1, "names": ["a"]}) == _Said(1, ("a",))
    with pytest.raises(ValueError):
        of_type(_Said, value)


#: Where a file is read whole without a bound: those of the system, of the package, and those that we wrote just before.
READ_WHOLE = {
    "edgeguard/reporting/served.py", "edgeguard/model/edgetpu.py", "edgeguard/model/watched_child.py",
    "edgeguard/model/harmless.py", "edgeguard/evaluate/protocol.py", "edgeguard/evaluate/engine/remote_files.py",
    "edgeguard/sinks/web/server.py", "edgeguard/fieldtest/session/session.py", "edgeguard/cli/data.py",
    "edgeguard/cli/fieldtest_plan.py", "edgeguard/cli/poison.py", "edgeguard/poison/units.py",
    "edgeguard/system/usage.py", "edgeguard/system/power.py",
    "edgeguard/preprocess/requantize.py", "edgeguard/camera/v4l2_nodes.py", "edgeguard/fleet/probation.py",
    "edgeguard/fleet/workstation/publish.py", "edgeguard/fleet/golden.py", "edgeguard/fleet/install.py",
    "edgeguard/fleet/golden_child.py", "edgeguard/fleet/identity.py", "edgeguard/diagnostics/bench.py",
    "edgeguard/system/serving.py",
}  # fmt: skip


def test_no_file_of_a_stranger_is_read_without_a_bound() -> None:
    package = Path(foreign.__file__).parents[1]
    unbounded = re.compile(r"\.read_(bytes|text)\(|\btorch\.load\(|\bimread\(|\bjson\.load\(")
    found = {
        f"edgeguard/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*.py")
        if unbounded.search(path.read_text("utf-8"))
    }
    allowed = READ_WHOLE | {"edgeguard/train/tensors.py", "edgeguard/demo/train_detector.py"}
    assert found <= allowed, "read it with system.foreign (or train.tensors), or say here why no stranger wrote it"


@pytest.mark.parametrize(
    "text",
    [
        "[" + "[]," * 20 + "1]", '[{},{"a":{}}' + ",{}" * 20 + "]", "[" + "1," * 40 + "1]",
        '[{"a":0}' + ',{"a":0}' * 9 + "]", '["ab"' + ',"ab"' * 20 + "]",
    ],
)  # fmt: skip
def test_json_of_very_many_parts_is_refused_before_it_is_read(text: str) -> None:
    assert foreign_json(text) == foreign_json(text.encode())
    for data in (text, text.encode()):
        assert foreign_json(data, most_bytes=8000)
        with pytest.raises(ValueError, match="too many parts"):
            foreign_json(data, most_bytes=1400)


@pytest.mark.parametrize("part", ['{"a":0}', "[]", "[[]]", "{}", "0.1", '"ab"', "-3", '{"a":{"b":[0.5]}}'])
def test_no_part_of_json_takes_more_than_is_counted(part: str) -> None:
    text = "[" + ",".join([part] * 20_000) + "]"
    tracemalloc.start()
    kept = foreign_json(text)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == 20_000
    with pytest.raises(ValueError, match="too many parts"):
        foreign_json(text, most_bytes=taken)


def test_short_text_that_takes_a_gigabyte_is_refused() -> None:
    with pytest.raises(ValueError, match="too many parts"):
        foreign_json("[" + '{"a":0},' * (4 << 20) + "0]")  # 33 MB, which took 880 MB


def test_lines_are_read_one_after_another() -> None:
    assert list(lines_of(b"a\r\n\nb")) == [b"a", b"", b"b"]
    with pytest.raises(ValueError, match="more than 2 lines"):
        list(lines_of(b"a\nb\nc\n", 2))
    text = b"xx\n" * 100_000
    tracemalloc.start()
    assert sum(1 for _ in lines_of(text)) == 100_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(text)
