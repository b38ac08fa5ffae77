import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.guard import GuardProfile, ProfileError, resolve_profile

TABLES = st.lists(st.integers(1, 255), min_size=64, max_size=64).map(tuple)
PROFILES = st.one_of(
    st.builds(
        GuardProfile,
        name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20),
        color=st.sampled_from(["rgb", "ycbcr444", "ycbcr422", "ycbcr420"]),
        tables=st.one_of(st.tuples(TABLES), st.tuples(TABLES, TABLES, TABLES)),
    ),
    st.builds(GuardProfile, name=st.just("g"), color=st.just("gray"), tables=st.tuples(TABLES)),
)


@given(PROFILES)
def test_toml_and_dict_round_trip(profile: GuardProfile) -> None:
    import tomllib

    assert GuardProfile.from_dict(profile.to_dict()) == profile
    assert GuardProfile.from_dict(tomllib.loads(profile.to_toml())) == profile


def test_hash_is_of_canonical_json_without_the_name() -> None:
    profile = GuardProfile.preset("fd")
    fields = {
        "schema": 1,
        "color": "rgb",
        "tables": [list(profile.tables[0])],
        "tie": "away",
        "chroma_upsampling": "fancy",
        "edge": "replicate",
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    assert profile.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert GuardProfile("another", profile.color, profile.tables).sha256 == profile.sha256
    assert GuardProfile.preset("fd-paper").sha256 != profile.sha256


def test_save_and_load(tmp_path: Path) -> None:
    profile = GuardProfile.preset("jpeg:40")
    profile.save(tmp_path / "p.toml")
    assert GuardProfile.load(tmp_path / "p.toml") == profile
    assert [p.name for p in tmp_path.iterdir()] == ["p.toml"]


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        ("collor = 'rgb'\n", 1, "unknown key 'collor'"),
        ("schema = 2\n", 1, "schema must be 1"),
        ("schema = 1\ncolor = 'cmyk'\ntables = [1]\n", 2, "color must be one of"),
        ("schema = 1\ncolor = 'rgb'\ntables = [1, 2]\n", 3, "64 steps"),
        ("schema = 1\ncolor = 'rgb'\ntables = 5\n", 3, "list of 64"),
        (f"schema = 1\ncolor = 'rgb'\ntie = 'even'\ntables = [{','.join(['8'] * 64)}]\n", 3, 'tie must be "away"'),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, change: str, line: int, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(change)
    with pytest.raises(ProfileError) as caught:
        GuardProfile.load(path)
    assert f"{path}:{line}: " in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize("step", [0, 256, -3, 2.5, True])
def test_steps_out_of_range(step: Any) -> None:
    with pytest.raises(ProfileError, match="whole number"):
        GuardProfile("x", "rgb", ((step,) * 64,))


def test_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot read"):
        GuardProfile.load(tmp_path / "missing.toml")
    (tmp_path / "a.toml").write_text("schema = = 1")
    with pytest.raises(ProfileError, match="not valid TOML"):
        GuardProfile.load(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileError, match="UTF-8"):
        GuardProfile.load(tmp_path / "b.toml")


def test_resolve() -> None:
    assert resolve_profile("none") is None
    assert resolve_profile("jpeg:75") == GuardProfile.preset("jpeg:75")
    for bad in ("fdd", "jpeg:0", "jpeg:101", "jpeg:x"):
        with pytest.raises(ProfileError):
            resolve_profile(bad)
