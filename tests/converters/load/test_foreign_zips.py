"""What `convert` reads of a zip before anything is confined, and what the confined process reads of it."""

import zlib
from pathlib import Path

import pytest
from system.crafted_zip import BZIP2, DEFLATED, LZMA, STORED, bomb, crafted_zip, memory_below, zip_of_many

from edgeguard.errors import InputError
from edgeguard_converters.load.archive import MOST_MEMBERS, read_archive, read_file
from edgeguard_converters.load.formats import model_format

pytest.importorskip("torch")
FACTS = "m/extra/edgeguard.json"


@pytest.mark.convert
def test_the_look_for_sound_costs_little_and_never_fails(tmp_path: Path) -> None:
    from edgeguard_converters.sound.convert import hears_sound

    path = tmp_path / "m.pt2"
    name = FACTS.encode()
    said = b'{"audio": {"rate_hz": 16000}}'
    whole = crafted_zip((name, STORED, said, len(said), zlib.crc32(said)))
    files = [bomb(FACTS, method) for method in (DEFLATED, BZIP2, LZMA)]
    files += [
        crafted_zip((name, DEFLATED, b"\xff" * 40, 10, 0)),
        crafted_zip((name, BZIP2, b"BZ", 10, 0)),
        crafted_zip((b"m/extra/\xff\xfeedgeguard.json", STORED, b"{}", 2, 0), flags=0x800),
        zip_of_many(MOST_MEMBERS + 1),
        whole[:-1],
        b"",
    ]
    for data in files:
        path.write_bytes(data)
        with memory_below(8 << 20):
            assert not hears_sound(path)
    path.write_bytes(whole)
    assert hears_sound(path)


@pytest.mark.parametrize("method", [DEFLATED, BZIP2, LZMA])
def test_a_member_of_a_model_has_the_size_that_it_says(method: int) -> None:
    data = bomb("m/data/x", method)
    with memory_below(1 << 20), pytest.raises(InputError, match=r"m\.pt2 .*'m/data/x'"):
        read_archive(data, "m.pt2")


def test_a_model_of_too_many_members_is_refused_by_its_list(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    path.write_bytes(zip_of_many(MOST_MEMBERS + 1))
    with memory_below(8 << 20), pytest.raises(InputError, match="lists more than 100000 files"):
        model_format(path)
    with memory_below(16 << 20), pytest.raises(InputError, match="lists more than 100000 files"):
        read_archive(path.read_bytes(), "m.pt2")


def test_a_file_of_holes_is_too_large_before_it_takes_memory(tmp_path: Path) -> None:
    path = tmp_path / "saved_model.pb"
    with path.open("wb") as stream:
        stream.truncate(3 << 30)
    with memory_below(1 << 20), pytest.raises(InputError, match="has more than 67108864 bytes"):
        read_file(path, most_bytes=1 << 26)


def test_a_model_that_is_mostly_holes_takes_no_memory(tmp_path: Path) -> None:
    """Within the bound of a file they were read like any other bytes."""
    path = tmp_path / "state.pt"
    whole = crafted_zip((b"m/data.pkl", STORED, b"", 0, 0))
    with path.open("wb") as stream:
        stream.seek(1 << 30)
        stream.write(whole)
    with memory_below(1 << 20), pytest.raises(InputError, match="most of them holes"):
        read_file(path)
    path.write_bytes(bytes(32 << 20) + whole)
    assert len(read_file(path)) == (32 << 20) + len(whole)
