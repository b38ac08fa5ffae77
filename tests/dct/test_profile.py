import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.dct.slack import smallest_steps
from edgeguard.guard import GuardProfile, ProfileError, resolve_profile

TABLES = st.lists(st.integers(1, 255), min_size=64, max_size=64).map(tuple)
PROFILES = st.one_of(
    st.builds(
        GuardProfile,
        name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20),
        color=st.sampled_from(["rgb", "ycbcr444", "ycbcr422", "ycbcr420"]),
        tables=st.one_of(st.tuples(TABLES), st.tuples(TABLES, TABLES, TABLES)),
    ),
    st.builds(
        GuardProfile, name=st.just("g"), color=st.just("gray"), tables=st.tuples(TABLES), room=st.integers(0, 64)
    ),
    st.builds(
        GuardProfile,
        name=st.just("p"),
        color=st.just("rgb"),
        tables=st.just((smallest_steps(2, 0.5),)),
        room=st.integers(0, 64),
        proof_levels=st.integers(0, 2),
    ),
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


def test_room_and_proof_levels_are_keys_only_where_they_are_not_0() -> None:
    """So that the hash of every profile from before they existed holds."""
    plain = GuardProfile("p", "rgb", (smallest_steps(1, 1),))
    roomy = replace(plain, room=16, proof_levels=1)
    assert not {"room", "proof_levels"} & set(plain.to_dict()) and "room" not in plain.to_toml()
    assert GuardProfile.preset("fd").sha256 == "7e284adda35e3cc44d4ef585d2d5300c095f635fcd162f287e7abb5a313b89a5"
    assert roomy.to_dict()["room"] == 16 and roomy.to_dict()["proof_levels"] == 1
    assert len({plain.sha256, roomy.sha256, replace(roomy, room=17).sha256, replace(roomy, proof_levels=0).sha256}) == 4
    assert roomy.multiplied(2).room == 16


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        ("room = 65\n", 4, "room is 0 to 64"),
        ("room = 1.5\n", 4, "room wants a whole number"),
        ("proof_levels = 5\n", 4, "proof_levels is 0 to 4"),
        ("proof_levels = 1\n", 3, "steps too small for proof_levels 1: edgeguard guard design --certify 1"),
    ],
)
def test_errors_of_room_and_proof_levels(tmp_path: Path, lines: str, line: int, message: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(f"schema = 1\ncolor = 'rgb'\ntables = [{','.join(['12'] * 64)}]\n{lines}")
    with pytest.raises(ProfileError, match=message) as caught:
        GuardProfile.load(path)
    assert f"p.toml:{line}: " in str(caught.value)


def test_jpeg_has_no_room(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(GuardProfile.preset("fd-jpeg").to_toml() + "room = 16\n")
    with pytest.raises(ProfileError, match=r"p.toml:\d+: room is for rgb and gray profiles"):
        GuardProfile.load(path)


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
