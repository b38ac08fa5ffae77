"""Settings: precedence, bounds, and where a mistake stands."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.run.settings import Settings, read_file, resolve
from edgeguard.settings.declare import keys_of

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
    assert set(origins) == set(keys_of(Settings))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[camera]\n\nsorce = 1\n", r"edgeguard.toml:3: \[camera\] has no key 'sorce'; known: source"),
        ("[camera]\nsource = 'x'\n[camra]\nsource = 'x'\n", r"edgeguard.toml:3: there is no table \[camra\]"),
        ("every = 3\n", r"edgeguard.toml:1: 'every' stands in no table; put it below \[pipeline\]"),
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


CAMERAS = """\
[[camera]]
name = "door"
source = "http://door/stream"
[[camera]]
name = "yard"
source = "rtsp://yard/"
fps = 2
[pipeline]
fps = 5
track = true
[[zone]]
name = "path"
camera = "yard"
points = [[0, 0.5], [1, 0.5], [1, 1]]
[[event]]
name = "visitor"
camera = "yard"
zone = "path"
label = "person"
stay = 2
"""


def test_tables_of_cameras_zones_and_events(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text(CAMERAS)
    settings, _ = resolve({}, path, {})
    door, yard = (settings.of_camera(one) for one in settings.cameras)
    assert (door.source, door.fps, yard.source, yard.fps) == ("http://door/stream", 5.0, "rtsp://yard/", 2.0)
    assert not door.rules.zones and not door.rules.events and yard.rules.events[0].stay == 2.0
    assert yard.rules.zones[0].points == ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0)) and settings.track
    assert resolve({}, None, {"EDGEGUARD_TRACK": "true"})[0].track


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[camera]]\nname = 'a'\nsource = '0'\n[[camera]]\nname = 'a'\nsource = '1'\n",
         r"two.toml: two tables \[\[camera\]\] are called 'a'"),
        ("[[camera]]\nsource = '0'\n", r"two.toml:1: \[\[camera\]\] missing 1 required key 'name'"),
        ("[[camera]]\nname = '../x'\nsource = '0'\n", r"two.toml:2: name wants up to 32 letters, digits"),
        ("[[camera]]\nname = 'a'\nsource = '0'\nweb = 1\n", r"two.toml:4: \[\[camera\]\] has no key 'web'"),
        ("[[zone]]\nname = 'z'\npoints = [[0, 0], [1, 1], [1, 0], [0, 1]]\n", "two.toml:3: points crosses itself"),
        ("[[zone]]\nname = 'z'\npoints = [[0, 0], [1.5, 1], [1, 0]]\n", "two.toml:3: points leaves the frame"),
        ("[[zone]]\nname = 'z'\npoints = [[0, nan], [1, 1], [1, 0]]\n", "two.toml:3: points leaves the frame"),
        ("[[zone]]\nname = 'z'\npoints = [[0, 0], [1, 1]]\n", "two.toml:3: points wants 3 to 32 points"),
        ("[[zone]]\nname = 'z'\npoints = [[0, 0], [0.5, 0.5], [1, 1]]\n", "two.toml:3: points has no area"),
        ("[[zone]]\nname = 'z'\npoints = 'all'\n", "two.toml:3: points wants points"),
        ("[[event]]\nname = 'e'\nzone = 'none'\n", r"\[\[event\]\] 'e': there is no zone 'none'; there is none: add a"),
        ("[[event]]\nname = 'e'\ncamera = 'x'\n", r"\[\[event\]\] names the camera 'x'; there is none"),
        ("[[event]]\nname = 'e'\nalarm = 'patch'\nlabel = 'x'\n", "an alarm has no label, zone or stay"),
        ("[[event]]\nname = 'e'\nalarm = 'smoke'\n", "two.toml:3: alarm is one of patch, disagreement"),
        ("[[event]]\nname = 'e'\nstay = 3\n", "stay wants a zone"),
        ("[[event]]\nname = 'e'\n[[event]]\nname = 'e'\n", r"two tables \[\[event\]\] are called 'e'"),
        ("[[class]]\nlabel = 'x'\nleast_area = 0.5\nmost_area = 0.1\n", "least_area is not below most_area"),
    ],
)  # fmt: skip
def test_mistakes_of_cameras_and_rules(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "two.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_file(path)


def test_what_a_file_lacks_a_flag_may_give(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text("[[event]]\nname = 'e'\nrecord = true\n")
    read_file(path)
    with pytest.raises(InputError, match="record wants a folder"):
        resolve({}, path, {})
    assert resolve({"record": "events"}, path, {})[0].rules.events[0].record


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
