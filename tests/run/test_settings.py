"""Settings: precedence, bounds, and where a mistake stands."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.run.settings import Settings, read_file, resolve

FILE = """\
[camera]
source = "http://porch/stream"   # the porch
lost_after = 5
[pipeline]
every = 2
[mqtt]
mqtt = "mqtt://broker"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edgeguard.toml"
    path.write_text(FILE)
    return path


def test_flag_environment_file_default(file: Path) -> None:
    environment = {"EDGEGUARD_EVERY": "3", "EDGEGUARD_SOURCE": "1", "EDGEGUARD_UNRELATED": "x"}
    settings, origins = resolve({"source": "0", "threads": None}, file, environment)
    assert (settings.source, settings.every, settings.lost_after, settings.fps) == ("0", 3, 5.0, None)
    assert [origins[name] for name in ("source", "every", "lost_after", "fps")] == [
        "flag", "environment", "file", "default",
    ]  # fmt: skip
    assert set(origins) == {one.name for one in fields(Settings)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[camera]\n\nsorce = 1\n", r"edgeguard.toml:3: \[camera\] has no key 'sorce'; known: source"),
        ("[camera]\nsource = 'x'\n[camra]\nsource = 'x'\n", r"edgeguard.toml:3: there is no table \[camra\]"),
        ("every = 3\n", r"edgeguard.toml:1: there is no table \[every\]"),
        ("[pipeline]\nevery = 0\n", r"edgeguard.toml:2: every is 1 to 1e\+06, got 0"),
        ("[pipeline]\nevery = 2.5\n", r"edgeguard.toml:2: every wants a whole number"),
        ("[pipeline]\nevery = true\n", r"edgeguard.toml:2: every wants a whole number"),
        ("[model]\ndelegate = 'gpu'\n", r"edgeguard.toml:2: delegate is one of auto, cpu, edgetpu"),
        ("[camera]\nsize = '1280'\n", r"edgeguard.toml:2: size wants WIDTHxHEIGHT"),
        ("[web]\nweb = ':80'\n", r"edgeguard.toml:2: web wants HOST:PORT"),
        ("[web]\nweb = 'a:70000'\n", r"edgeguard.toml:2: web has a port beyond 65535"),
        ("[camera]\nsource = ''\n", r"edgeguard.toml:2: source wants a text"),
        ("[camera\n", r"edgeguard.toml is not TOML: .*line 1"),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "edgeguard.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_file(path)


def test_mistakes_in_flags_and_environment(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--alarm-window is 1 to 10000, got 0"):
        resolve({"alarm_window": 0}, None, {})
    with pytest.raises(InputError, match="EDGEGUARD_FPS wants a number"):
        resolve({}, None, {"EDGEGUARD_FPS": "fast"})
    with pytest.raises(InputError, match="cannot read"):
        resolve({}, tmp_path / "none.toml", {})


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    try:
        assert isinstance(read_file(path), dict)
    except InputError as error:
        assert "\n" not in str(error).split(": ")[0]
