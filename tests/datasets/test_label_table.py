"""labels.csv as spreadsheets, editors, scripts and other systems write it."""

import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgeguard.datasets.classes import Classes
from edgeguard.datasets.label_table import read_label_table
from edgeguard.errors import InputError
from edgeguard.system.text import decoded_text

PETS = Classes.of(("cat", "dog"), outputs=2)
ROWS = [("café.png", 0), ("dir/naïve, two.png", 1), ("c.png", 1)]


@pytest.fixture
def folder(tmp_path: Path, scene: NDArray[np.uint8]) -> Path:
    for name, _ in ROWS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(scene[:16, :16]).save(tmp_path / name)
    return tmp_path


def _read(folder: Path, data: bytes | str, classes: Classes = PETS) -> list[tuple[str, int]]:
    (folder / "labels.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    return [(str(one.path.relative_to(folder)), one.index) for one in read_label_table(folder, classes)]


def _text(sign: str = ",", end: str = "\n", head: str = "") -> str:
    return head + "".join(f'"{name}"{sign}{index}{end}' for name, index in ROWS)


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_and_end_of_line(folder: Path, codec: str, end: str) -> None:
    assert _read(folder, _text(end=end).encode(codec)) == ROWS


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("head", ["", "file{0}class_index\n", "sep={0}\nFile{0}Class\n", "\n\n"])
def test_every_separator_with_and_without_a_head(folder: Path, sign: str, head: str) -> None:
    assert _read(folder, _text(sign, head=head.format(sign))) == ROWS


def test_columns_by_their_names(folder: Path) -> None:
    text = "id,label,split,filename\n1,dog,val,c.png\n2,Cat,val,café.png\n"
    assert _read(folder, text) == [("c.png", 1), ("café.png", 0)]


@pytest.mark.parametrize("said", ["c.png,1", ' "c.png", 1 ', "./c.png,1.0", "c.png,dog", "c.png,1,more", "c.png,001"])
def test_forms_of_one_line(folder: Path, said: str) -> None:
    assert _read(folder, said) == [("c.png", 1)]


def test_names_of_other_systems(folder: Path) -> None:
    assert _read(folder, '"dir\\naïve, two.png",1') == [ROWS[1]]
    assert _read(folder, unicodedata.normalize("NFD", "café.png") + ",0") == [ROWS[0]]


def test_a_file_that_is_listed_twice_counts_once(folder: Path) -> None:
    assert _read(folder, "c.png,1\nc.png,1\n") == [("c.png", 1)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("c.png,1\nc.png,0\n", "labels.csv:2: c.png is class 0 here and 1 in line 1"),
        ("c.png,2\n", "labels.csv:1: there is no class 2: the model has 2 classes, 0 to 1"),
        ("file,class\nc.png,mouse\n", "labels.csv:2: 'mouse' is no class index and no label of the model"),
        ("c.png\n", "labels.csv:1: wanted file,class_index"),
        ("c.png,1\n\n\nd.png,1\n", "labels.csv:4: d.png is not there: put it there, or take its line out"),
        ("c.png,1\n../x.png,1\n", "labels.csv:2: '../x.png' leads out of"),
        ("c.png,1\n..\\..\\x.png,1\n", "labels.csv:2: '../../x.png' leads out of"),
        ('c.png,1\n"c.png,1\n', "labels.csv:2: unexpected end of data (is a quote left open?)"),
        ("c.png,-1\n", "labels.csv"),
        ("c.png,1\nc.png,-1\n", "labels.csv:2: '-1' is no class index"),
        ("c.png,1\nc.png,1.5\n", "labels.csv:2: '1.5' is no class index"),
        (b"\0\x01\0\0\x02" * 9, "labels.csv is no text: it holds zero bytes"),
        ("\ufeff" + "c.png,1\nd\xe9.png,1\n", "d\xe9.png is not there"),
        ("c.png,1\nd\xe9.png,1\n".encode("latin-1"), "d\xe9.png is not there (the file was read as Windows-1252)"),
        ("c.png,1\n".encode("utf-16") + b"x", "labels.csv is no UTF-16 text"),
        ("", "lists no images"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(folder: Path, data: str | bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        _read(folder, data)
    assert said in str(caught.value)


def test_names_without_labels_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="the model has no labels to look it up in"):
        _read(folder, "file,label\nc.png,cat\n", Classes())


@given(data=st.binary(max_size=80) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_a_table_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    with pytest.raises(InputError):  # no file is there
        _read(folder, data)


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "utf-16-le", "cp1252"])
def test_texts_come_back(codec: str) -> None:
    assert decoded_text("naïve façade, 3\r\n".encode(codec))[0] == "naïve façade, 3\r\n"


def test_a_table_of_millions_of_lines_takes_no_memory_of_its_own(folder: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=":1: wanted file,class_index"):
            _read(folder, b"a\n" * (1 << 20))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_lines_are_bounded_in_number_and_length(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.datasets.label_table._MOST_ROWS", 2)
    with pytest.raises(InputError, match="more than 2 lines"):
        _read(folder, "c.png,1\n" * 4)
    monkeypatch.setattr("edgeguard.datasets.label_table._LONGEST_ROW", 1000)
    with pytest.raises(InputError, match=":2: is longer than"):
        _read(folder, "c.png,1\n" + "," * 1001)
    with pytest.raises(InputError, match=":1: is longer than"):
        _read(folder, '"\n",' * 300)
