"""Zips of strangers: what they say of their members and of their list is not believed."""

import io
import random
import zipfile
import zlib
from pathlib import Path

import pytest
from system.crafted_zip import BZIP2, DEFLATED, LZMA, PACKERS, STORED, bomb, crafted_zip, memory_below, zip_of_many

from edgeguard.errors import InputError
from edgeguard.system.archives import ForeignZip

MOST = 1 << 20


def _first(data: bytes | Path, most_bytes: int = MOST) -> bytes:
    with ForeignZip(data, most_members=100) as archive:
        return archive.read(archive.entries[0], most_bytes)


@pytest.mark.parametrize("method", [STORED, DEFLATED])
@pytest.mark.parametrize("data", [b"", b"x", b"edge" * 5000, random.Random(1).randbytes(70_000)], ids=len)
def test_what_is_whole_is_read(tmp_path: Path, method: int, data: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(crafted_zip((b"a", method, PACKERS[method](data), len(data), zlib.crc32(data))))
    assert _first(tmp_path / "a.zip") == data == _first((tmp_path / "a.zip").read_bytes(), len(data))
    with (
        zipfile.ZipFile(tmp_path / "b.zip", "w", method) as archive,
        archive.open("a", "w", force_zip64=True) as member,
    ):
        member.write(data)
    assert _first(tmp_path / "b.zip") == data


@pytest.mark.parametrize("checked", [0, 1])
@pytest.mark.parametrize(("method", "said"), [(DEFLATED, 10), (DEFLATED, MOST >> 2), (STORED, 10)])
def test_a_member_that_is_larger_than_it_says_is_refused(method: int, said: int, checked: int) -> None:
    packed = PACKERS[method](bytes(4 * MOST if method == DEFLATED else said + 1))
    data = crafted_zip((b"a", method, packed, said, zlib.crc32(bytes(said + checked))))
    with memory_below(MOST), pytest.raises(InputError, match="'a' is damaged"):
        _first(data)


@pytest.mark.parametrize("method", [DEFLATED, STORED])
def test_a_member_that_is_smaller_than_it_says_is_refused(method: int) -> None:
    with pytest.raises(InputError, match="'a' is damaged"):
        _first(crafted_zip((b"a", method, PACKERS[method](b"abc"), 4, zlib.crc32(b"abc"))))


@pytest.mark.parametrize(("method", "name"), [(BZIP2, "bzip2"), (LZMA, "lzma"), (99, "method 99")])
def test_other_methods_are_refused_before_they_unpack(method: int, name: str) -> None:
    data = bomb("a", method) if method in PACKERS else crafted_zip((b"a", method, b"x", 1, 0))
    with memory_below(MOST), pytest.raises(InputError, match=rf"'a' .*\({name}\): pack it with deflate"):
        _first(data)


def test_a_member_beyond_the_limit_is_refused() -> None:
    with pytest.raises(InputError, match="'a' has 11 bytes, more than 10"):
        _first(crafted_zip((b"a", STORED, b"x" * 11, 11, zlib.crc32(b"x" * 11))), 10)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        crafted_zip((b"a", STORED, b"x", 1, 7)),  # another CRC
        crafted_zip((b"a", DEFLATED, b"\xff" * 40, 10, 0)),  # zlib.error
        crafted_zip((b"a", DEFLATED, b"", 10, 0)),
        crafted_zip((b"a\xff", STORED, b"x", 1, 0), flags=0x800),  # a name that is no UTF-8
        crafted_zip((b"a", STORED, b"x", 1, 0), flags=1),  # encrypted
        crafted_zip((b"a", STORED, b"x", 1, 0), flags=0x20),  # a patch
        crafted_zip((b"a", STORED, b"x", 1, 0)).replace(b"PK\3\4", b"PK\3\3"),
    ],
)
def test_whatever_is_damaged_is_one_line(data: bytes) -> None:
    with pytest.raises(InputError) as refused:
        _first(data)
    assert "\n" not in str(refused.value)


def test_no_byte_of_a_zip_ends_otherwise_than_in_a_line() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", DEFLATED) as archive:
        archive.writestr("a/b.txt", "text " * 20)
    whole = stream.getvalue()
    for place in range(len(whole)):
        for value in (whole[place] ^ 0xFF, whole[place] ^ 1, whole[place] ^ 0x80):
            try:
                assert _first(whole[:place] + bytes([value]) + whole[place + 1 :]) == b"text " * 20
            except InputError:
                continue
            except IndexError:  # it lists nothing
                continue


def test_a_list_of_too_many_or_too_long_names_is_refused(tmp_path: Path) -> None:
    data = zip_of_many(100_000)
    with ForeignZip(zip_of_many(100), most_members=100) as archive:
        assert len(archive.entries) == 100
    with memory_below(8 * MOST), pytest.raises(InputError, match="lists more than 99999 files"):
        ForeignZip(data, most_members=99_999)  # 44 MB for `zipfile`
    with memory_below(MOST), pytest.raises(InputError, match="its list of files has 4700000 bytes, more than 25600"):
        ForeignZip(data, most_members=100)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing"):
        with pytest.raises(InputError, match="no file"):
            ForeignZip(path, most_members=1)
