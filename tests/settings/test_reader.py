"""Bad files, key by key: refused with file, line and key, never with another error."""

import math
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.dct import profile
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.firmware import board
from edgeguard.firmware.board import read_board
from edgeguard.run import settings as run_settings
from edgeguard.run.settings import read_file, resolve
from edgeguard.settings.declare import Key
from edgeguard.settings.reader import read_values
from edgeguard.train import config as train_config
from edgeguard.train.config import read_config

FILES = {
    "run": run_settings.file_keys(),
    "train": train_config.file_keys(),
    "board": board.file_keys(),
    "profile": profile.file_keys(),
}
#: Files of tables: each key of each table.
KEYS = [
    (kind, table, key)
    for kind in ("run", "train")
    for table, one in FILES[kind].items()
    if not one.is_array
    for key in (one.table or {}).values()
]
#: Files without tables.
FLAT = [(kind, key) for kind in ("board", "profile") for key in FILES[kind].values()]
NAMES = [f"{kind}-{key.name}" for kind, _, key in KEYS]
NUMBERS = [row for row in KEYS if row[2].type in (int, float)]


def _refused(path: Path, kind: str, text: str) -> str:
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_values(path, FILES[kind])
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    return str(caught.value)


def _wrong_types(key: Key) -> list[str]:
    """TOML of values of other types."""
    every = {
        str: '"text"',
        int: "3",
        float: "0.5",
        bool: "true",
        tuple: '["fd", "jpeg:75"]',
        dict: "{ a = 1 }",
        None: "1979-05-27",
    }
    same: dict[Any, set[Any]] = {float: {int, float}, int: {int}, bool: {bool}}
    kinds = same.get(key.type, {str})
    if str(key.type).startswith(("tuple", "list")):
        kinds = {tuple}
    if key.choices and isinstance(key.choices[0], int):
        kinds = {int}
    # A text is no number: "text", not "3", which counts as 3 in these files.
    return [value for kind, value in every.items() if kind not in kinds]


@pytest.mark.parametrize(("kind", "table", "key"), KEYS, ids=NAMES)
def test_a_wrong_type_is_refused_with_its_line(tmp_path: Path, kind: str, table: str, key: Key) -> None:
    for value in _wrong_types(key):
        said = _refused(tmp_path / "f.toml", kind, f"# a comment\n[{table}]\n\n{key.name} = {value}\n")
        assert said.startswith(f"{tmp_path}/f.toml:4: {key.name} "), said
        assert ", got " in said


@pytest.mark.parametrize(("kind", "key"), FLAT, ids=[f"{kind}-{key.name}" for kind, key in FLAT])
def test_a_wrong_type_without_a_table(tmp_path: Path, kind: str, key: Key) -> None:
    for value in _wrong_types(key):
        said = _refused(tmp_path / "f.toml", kind, f"\n\n{key.name} = {value}\n")
        assert f"{tmp_path}/f.toml:3: {key.name} " in said, said


@pytest.mark.parametrize(("kind", "table", "key"), NUMBERS, ids=[f"{kind}-{key.name}" for kind, _, key in NUMBERS])
def test_numbers_out_of_bounds_are_refused_and_bounds_are_taken(
    tmp_path: Path, kind: str, table: str, key: Key
) -> None:
    assert key.low is not None and key.high is not None
    file = tmp_path / "f.toml"
    above = 1 if key.type is int else (abs(key.high) or 1) * 1e-9
    for value in (key.low - (1 if key.type is int else 1e-9), key.high + above, "inf", "-inf", "nan"):
        said = _refused(file, kind, f"[{table}]\n{key.name} = {value}\n")
        assert said.startswith(f"{file}:2: {key.name} "), said
    for digits in (400, 5000):
        for number in (f"1{'0' * digits}", f"-0x{'f' * digits}" if digits > 4300 else f"-1{'0' * digits}"):
            assert str(file) in _refused(file, kind, f"[{table}]\n{key.name} = {number}\n")
    for bound in (key.low, key.high):
        file.write_text(f"[{table}]\n{key.name} = {bound}\n")
        found = read_values(file, FILES[kind])[table][key.name]
        assert found == bound and type(found) is key.type


def test_a_hexadecimal_number_of_thousands_of_digits(tmp_path: Path) -> None:
    said = _refused(tmp_path / "f.toml", "run", f"[pipeline]\nevery = 0x{'f' * 9000}\n")
    assert said.endswith("f.toml:2: every is 1 to 1e+06, got a number of thousands of digits")


@pytest.mark.parametrize("kind", sorted(FILES))
@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[nothing]\na = 1\n", 1, "nothing"),
        ("\n\n[[nothing]]\n", 3, "nothing"),
        ("nothing = 1\n", 1, "nothing"),
        ("nothing.deep.deeper = 1\n", 1, "nothing"),
    ],
)
def test_unknown_tables_and_keys_are_named_with_the_known_ones(
    tmp_path: Path, kind: str, text: str, line: int, said: str
) -> None:
    message = _refused(tmp_path / "f.toml", kind, text)
    assert f"{tmp_path}/f.toml:{line}: " in message and repr(said)[1:-1] in message
    assert f"known: {', '.join(FILES[kind])}" in message


TABLES = [(k, t) for k in ("run", "train") for t, one in FILES[k].items() if not one.is_array]


@pytest.mark.parametrize(("kind", "table"), TABLES)
def test_tables_of_a_wrong_shape(tmp_path: Path, kind: str, table: str) -> None:
    file = tmp_path / "f.toml"
    lists = () if FILES[kind][table].many is not None else (f"{table} = [1]\n", f"[[{table}]]\n")
    for text in (f"{table} = 3\n", f'{table} = "x"\n', *lists):
        assert _refused(file, kind, text).startswith(f"{file}:1: {table} is a table: [{table}], got ")
    known = ", ".join(FILES[kind][table].table or ())
    assert _refused(file, kind, f"[{table}]\n[{table}.inner]\n") == (
        f"{file}:2: [{table}] has no key 'inner'; known: {known}"
    )


@pytest.mark.parametrize("table", [name for name, one in FILES["run"].items() if one.is_array] + ["camera"])
def test_arrays_of_tables_of_a_wrong_shape(tmp_path: Path, table: str) -> None:
    file = tmp_path / "f.toml"
    for text in (f"{table} = [1]\n", f"{table} = []\n"):
        assert _refused(file, "run", text).startswith(
            f"{file}:1: {table} wants tables: at least one [[{table}]], got ["
        )


@pytest.mark.parametrize("table", [name for name, one in FILES["run"].items() if one.is_array] + ["camera"])
def test_arrays_of_tables_without_end(tmp_path: Path, table: str) -> None:
    """Each is looked up among the others: 25,000 cameras took 20 seconds, and would have been opened."""
    said = _refused(tmp_path / "f.toml", "run", f"[[{table}]]\n" * 1001)
    assert said == f"{tmp_path}/f.toml:1: a file has at most 1000 tables [[{table}]], not 1001"


@pytest.mark.parametrize("text", ["", "\\n", "a\\n", "a\\nb", "\\u0000", "a\\tb"])
def test_texts_are_not_empty_and_have_no_control_characters(tmp_path: Path, text: str) -> None:
    said = _refused(tmp_path / "f.toml", "run", f'[camera]\nsource = "{text}"\n')
    assert said.startswith(f"{tmp_path}/f.toml:2: source wants a text, got ")


def test_a_number_for_a_text_is_told_how_to_write_it(tmp_path: Path) -> None:
    said = _refused(tmp_path / "f.toml", "run", "[camera]\nsource = 0\n")
    assert said == f'{tmp_path}/f.toml:2: source wants a text in quotes ("0"), got 0'


def test_all_mistakes_are_said_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = "[schedule]\nepochs = 0\n[augment]\nflip = 1\n[odd]\n[model]\nsize = 'big'\n"
    file = tmp_path / "c.toml"
    known = "model, data, schedule, augment, codec, adversarial, smoothing, patch"
    assert _refused(file, "train", text) == (
        f"{file}:2: epochs is 1 to 10000, got 0; {file}:4: flip is true or false, got 1; "
        f"{file}:5: there is no table [odd]; known: {known}; "
        f"{file}:7: size wants a whole number from 16 to 256, got 'big'"
    )
    many = "[odd]\n" + "".join(f"[odd{number}]\n" for number in range(20))
    assert _refused(file, "train", many).endswith("; and 11 more")


@pytest.mark.parametrize(
    "content",
    [
        b"[camera]\nsize = '1x1'\nsize = '2x2'\n",  # a key twice
        b"[camera]\n[camera]\n",
        b"[camera]\nsource = '\xff'\n",  # no UTF-8
        b"\xff\xfe\x00",
        b"a = " + b"[" * 100_000,
        b"a = " + b"9" * 5000,
        b"a = {",
        b"\x00",
    ],
    ids=["key twice", "table twice", "no UTF-8", "UTF-16", "deep", "long number", "open", "null"],
)
def test_what_is_no_toml(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "f.toml"
    file.write_bytes(content)
    for read in (read_file, lambda path: read_config(path, {"data": "x"}), read_board, GuardProfile.load):
        with pytest.raises(InputError, match=r"f\.toml") as caught:
            read(file)
        assert "TOML" in str(caught.value) or "UTF-8" in str(caught.value)


def test_texts_that_hold_numbers_count_in_files_and_in_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    file.write_text('[pipeline]\nevery = "3"\nfps = "2.5"\ndecode_scale = "2"\n')
    assert read_file(file) == {"every": 3, "fps": 2.5, "decode_scale": 2}
    settings, _ = resolve({}, None, {"EDGEGUARD_DECODE_SCALE": "4", "EDGEGUARD_LOST_AFTER": "1e1"})
    assert (settings.decode_scale, settings.lost_after) == (4, 10.0)
    for text in ("null", "true", "0x10", "", "3.5", "nan"):
        with pytest.raises(InputError, match="EDGEGUARD_EVERY "):
            resolve({}, None, {"EDGEGUARD_EVERY": text})
    with pytest.raises(InputError, match=r"neutral_quality is '50'; it wants a whole number from 1 to 100"):
        _board(tmp_path, 'neutral_quality = "50"')


def _board(folder: Path, line: str) -> object:
    required = {"board": "b", "title": "t", "control": "table_source", "order": "natural", "subsampling": "any"}
    required |= {"source_file": "f", "source_commit": "c", "checked": "read", "format": "pillow"}
    text = "schema = 1\n" + "".join(f'{name} = "{value}"\n' for name, value in required.items()) + line + "\n"
    (folder / "b.toml").write_text(text)
    return read_board(folder / "b.toml")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", r"b\.toml: neutral_quality is None"),
        ("neutral_quality = 0", r"b\.toml:11: neutral_quality is 0; it is 1 to 100"),
        ("neutral_quality = 50\nrange = [5, 3]", r"b\.toml:12: range is \[5, 3\]; it wants the lower end first"),
        ("neutral_quality = 50\nrange = [5]", r"b\.toml:12: range is \[5\]; it wants two whole numbers"),
        ("neutral_quality = 50\nrange = [5, true]", r"b\.toml:12: range is \[5, True\]"),
        ('neutral_quality = 50\nsnippets = ["x"]', r"b\.toml:12: snippets is \['x'\]"),
        ("neutral_quality = true", r"b\.toml:11: neutral_quality is True; it wants a whole number"),
    ],
)
def test_boards(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        _board(tmp_path, line)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("8, 8]", "8, true]", 3, "whole numbers 1..255, one is True"),
        ("8, 8]", "8, 300]", 3, "whole numbers 1..255, one is 300"),
        ("8, 8]", "8, nan]", 3, "whole numbers 1..255, one is nan"),
        ("8, 8]", f"8, 0x{'f' * 9000}]", 3, "one is a number of thousands of digits"),
        ("8, 8]", "8, [8]]", 3, "whole numbers 1..255, one is [8]"),
        ("8, 8]", "8]", 3, "64 steps each, one has 63"),
        ('"rgb"', '"rgb"\nname = 3', 3, "name must be text"),
        ("schema = 1", "schema = true", 1, "schema must be 1"),
        ('"rgb"', "[]", 2, "color must be one of"),
        ('"rgb"', "{}", 2, "color must be one of"),
    ],
)
def test_profiles(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    text = f'schema = 1\ncolor = "rgb"\ntables = [{", ".join(["8"] * 64)}]\n'
    file = tmp_path / "p.toml"
    file.write_text(text)
    assert GuardProfile.load(file).tables == ((8,) * 64,)
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        GuardProfile.load(file)
    assert str(caught.value).startswith(f"{file}:{line}: ") and said in str(caught.value)


def test_a_gray_profile_has_one_table(tmp_path: Path) -> None:
    table = f"[{', '.join(['8'] * 64)}]"
    file = tmp_path / "p.toml"
    file.write_text(f'schema = 1\ncolor = "gray"\ntables = [{table}, {table}, {table}]\n')
    with pytest.raises(InputError, match=r"p\.toml:3: tables must be one list of 64 steps"):
        GuardProfile.load(file)
    number: Any = 5  # as JSON may hold
    with pytest.raises(InputError, match="a table of keys"):
        GuardProfile.from_dict(number)


SCALARS = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(max_size=8), st.dates(), st.datetimes(), st.times(),
    st.sampled_from(["fd", "jpeg:75", "auto", "rgb", "pgd", "none", "1280x720", 10**400, math.nan]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def _toml(value: Any) -> str:
    """A value as TOML."""
    import json

    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return (
            json.dumps(value, ensure_ascii=True)
            if value.isascii()
            else json.dumps(value.encode("utf-8", "replace").hex())
        )
    if isinstance(value, float):
        return "nan" if math.isnan(value) else "inf" if value > 1e308 else "-inf" if value < -1e308 else f"{value:f}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _documents(kind: str) -> st.SearchStrategy[str]:
    """Texts with the file's own keys and values of any kind."""
    tables = {name: one.table for name, one in FILES[kind].items() if one.table is not None}
    if not tables:
        flat = st.dictionaries(st.sampled_from(sorted(FILES[kind])), VALUES, max_size=12)
        return flat.map(lambda found: "".join(f"{name} = {_toml(value)}\n" for name, value in found.items()))
    bodies = {
        name: st.dictionaries(st.sampled_from([*table, "odd"]), VALUES, max_size=4) for name, table in tables.items()
    }

    def joined(found: dict[str, dict[str, Any]]) -> str:
        return "".join(
            f"[{table}]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in body.items())
            for table, body in found.items()
        )

    return st.fixed_dictionaries({}, optional=bodies).map(joined)


@pytest.mark.parametrize("kind", sorted(FILES))
@given(data=st.data())
def test_any_values_of_known_keys_are_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    text = data.draw(_documents(kind))
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(text)
    readers = {"run": read_file, "train": lambda path: read_config(path, {}), "board": read_board}
    try:
        readers.get(kind, GuardProfile.load)(file)
    except InputError as error:
        assert "\n" not in str(error)


def test_required_keys_are_told_together(tmp_path: Path) -> None:
    required = [name for name, key in FILES["profile"].items() if key.default is MISSING]
    said = _refused(tmp_path / "p.toml", "profile", "")
    assert said == f"{tmp_path}/p.toml: missing 3 required keys {', '.join(map(repr, required))}"
