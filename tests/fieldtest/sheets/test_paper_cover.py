"""Papers on small objects: tags and scale bar that fit, and a word where the object would vanish behind them."""

from pathlib import Path

import pytest
from fieldtest.sheets.objects import sign_subject

from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.field_object import Mount
from edgeguard.fieldtest.sheets.paper_cover import covering_lines, paper_share
from edgeguard.fieldtest.sheets.sheet import ARMS, Sheet, parse_sheet


def _paper(folder: Path, side_mm: float, tag_mm: float | None = None) -> Sheet:
    return made_sheet(sign_subject(folder, "on", side_mm=side_mm), "clean", tag_mm=tag_mm, number=0)[0]


def test_a_small_objects_paper_leaves_it_to_be_seen(tmp_path: Path) -> None:
    shares = {side: paper_share(_paper(tmp_path, side)) for side in (100.0, 120.0, 150.0, 240.0, 600.0)}
    assert all(0.15 < share < 0.5 for share in shares.values()), shares
    assert covering_lines([_paper(tmp_path, 120.0)]) == []


@pytest.mark.parametrize(("side_mm", "tag_mm", "percent"), [(60.0, None, 76), (100.0, None, 42), (100.0, 40.0, 100)])
def test_where_little_is_left_a_line_says_what_to_do(
    side_mm: float, tag_mm: float | None, percent: int, tmp_path: Path
) -> None:
    paper = _paper(tmp_path, side_mm, tag_mm)
    (line,) = covering_lines([paper, paper])
    assert f"covers {percent} % of my sign ({side_mm:g} x {side_mm:g} mm)" in line and "--mount sheet" in line


def test_other_mounts_hide_nothing(tmp_path: Path) -> None:
    others: tuple[Mount, ...] = ("sheet", "beside")
    for mount in others:
        made = made_sheet(sign_subject(tmp_path, mount, side_mm=60.0), "clean", number=0)[0]
        assert paper_share(made) == 0 and not made.short_bar


def test_a_paper_of_before_keeps_its_long_bar(tmp_path: Path) -> None:
    paper = _paper(tmp_path, 100.0)
    assert paper.short_bar and paper.layout.scale_bar.width == 40
    manifest = paper.to_dict()
    assert parse_sheet(manifest, "it") == paper
    del manifest["short_bar"]
    before = parse_sheet(manifest, "it")
    assert before.layout.scale_bar.width == 100 and before.layout.width == 110
    assert "short_bar" not in _paper(tmp_path, 300.0).to_dict()


@pytest.mark.parametrize("mount", ["on", *(pytest.param(m, marks=pytest.mark.full) for m in ("sheet", "beside"))])
def test_the_arms_of_an_object_never_share_their_tags(mount: Mount, tmp_path: Path) -> None:
    for side_mm in range(100, 160, 4):
        subject = sign_subject(tmp_path, mount, side_mm=float(side_mm))
        numbers = [made_sheet(subject, arm)[0].number for arm in ARMS[:3]]
        assert [number % len(ARMS) for number in numbers] == [0, 1, 2]
