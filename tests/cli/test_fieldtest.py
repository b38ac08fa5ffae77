"""From printer to report on the command line, in the virtual field."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cli.launch import refused
from commands import here as run
from fieldtest.sheets.objects import write_sign

from edgeguard.demo.assets import ASSETS, bundled_model
from edgeguard.errors import DeviceError
from edgeguard.fieldtest.sheets.build import sheet_and_picture
from edgeguard.fieldtest.sheets.patch_file import PatchFile, write_patch
from edgeguard.fieldtest.sheets.sheet import picture_hash, sheet_raster


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sheets")
    paths = []
    for number, arm in enumerate(("clean", "plain", "noise")):
        paths.append(folder / f"{arm}.pdf")
        done = run("patch", "sheet", "--card", "stop", "--arm", arm, "--number", number, "--output", paths[-1])
        assert done.returncode == 0 and "print it at 100 %" in done.stdout, done.stderr
        assert done.stdout.splitlines()[-1].startswith("next: sheets of ") and str(paths[-1]) in done.stdout
    return paths


@pytest.mark.full
def test_the_whole_way(sheets: list[Path], tmp_path: Path) -> None:
    session = tmp_path / "s"
    grid = ("--distances", "450,800", "--angles", "0,30", "--frames", 2)
    done = run("fieldtest", "plan", session, *sheets, *grid, "--passes", 1, "--model", bundled_model())
    assert done.returncode == 0 and "3 sheets x 4 cells x 1 passes = 12 passes" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1].startswith(
        f"next: print the sheets, then edgeguard fieldtest record {session} "
    )
    refused(run("fieldtest", "plan", session, *sheets), 2, "holds a plan already")
    refused(run("fieldtest", "report", session), 2, "not scored yet")
    shown = [argument for path in sheets for argument in ("--sheets", path)]
    done = run("fieldtest", "record", session, "--source", "synthetic:session", *shown)
    assert done.returncode == 0 and "12 passes stored, 0 missing" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"next: edgeguard fieldtest score {session} --model ")
    again = run("fieldtest", "record", session, "--source", "synthetic:session", *shown)
    refused(again, 1, "nothing was recorded: all passes of the plan are stored already")
    score = ("fieldtest", "score", session, "--model", bundled_model(), "--guard", "off", "--guard", "lgs")
    done = run(*score, "--workers", 1)
    assert done.returncode == 0 and "non-adaptive only" in done.stdout, done.stderr
    assert done.stdout.endswith(f"next: edgeguard fieldtest report {session}\n")
    assert run(*score, "--workers", 1, "--json").stdout == ""  # no patch arm: nothing to compare
    done = run("fieldtest", "report", session)
    assert done.returncode == 0 and "rendered (virtual field)" in (session / "report.html").read_text()
    off = ("fieldtest", "score", session, "--model", bundled_model(), "--guard", "off")
    refused(run(*off, "--guard", "fdd"), 2, "no guard 'fdd'")
    refused(
        run("fieldtest", "score", session, "--model", bundled_model(), "--guard", "fd"), 2, "score with --guard off"
    )


@pytest.mark.full
def test_a_plan_that_shows_nothing_says_so(sheets: list[Path], tmp_path: Path) -> None:
    plan = ("fieldtest", "plan", tmp_path / "s", sheets[0], "--model", bundled_model(), "--passes", 1, "--angles", "0")
    done = run(*plan[:2], tmp_path / "far", *plan[3:], "--distances", "9000")
    assert done.returncode == 0 and "note: THIS PLAN CAN SHOW NOTHING OF STOP: the model is right about" in done.stdout
    assert "too small to tell how it stands" in done.stdout and "next: " not in done.stdout
    done = run(*plan[:2], tmp_path / "both", *plan[3:], "--distances", "500,9000")
    assert "rendered views at 9000 mm" in done.stdout and "plan --distances 500" in done.stdout, done.stdout
    done = run(*plan[:2], tmp_path / "near", *plan[3:], "--distances", "500")
    assert "note: " not in done.stdout, done.stdout


@pytest.mark.full
def test_a_plan_for_a_badge_stands_where_the_detector_knows_it(tmp_path: Path) -> None:
    photo, mask = write_sign(tmp_path)
    badge = ("--object", photo, "--mask", mask, "--label", "stop", "--mm", "100x100", "--mount", "on")
    done = run("patch", "sheet", *badge, "--number", 1, "--output", tmp_path / "clean.pdf")
    assert done.returncode == 0, done.stderr
    done = run("fieldtest", "plan", tmp_path / "s", tmp_path / "clean.pdf", "--model", ASSETS / "detector.tflite")
    assert done.returncode == 0 and "CAN SHOW NOTHING" not in done.stdout, done.stdout
    assert not re.search(r"rendered views at [\d, ]+ mm", done.stdout), (
        "some angles at most, at no distance all of them"
    )
    assert "by size alone: 150, 190, 240, 310 mm" in done.stdout and "too small" not in done.stdout
    far = json.loads((tmp_path / "s" / "plan.json").read_text())["distances_mm"]
    assert len(far) > 1 and min(far) > 200, (
        "nearer it fills more of the picture than any object that the detector learned from"
    )


def test_distances_of_a_patch_are_two_in_order(tmp_path: Path) -> None:
    make = ("patch", "make", bundled_model(), "--untargeted", "--output", tmp_path / "p", "--distances")
    for wrong in ("900,500", "500", "near,far", "nan,500", "500,inf"):
        refused(run(*make, wrong), 2, "--distances wants")


def test_what_a_session_refuses(sheets: list[Path], tmp_path: Path) -> None:
    refused(run("fieldtest", "plan", tmp_path / "a", sheets[0], sheets[0]), 2, "same tags")
    refused(run("fieldtest", "plan", tmp_path / "a", sheets[1]), 2, "no clean sheet")
    missing = f"cannot read the sheet's manifest {tmp_path / 'none.json'}: edgeguard patch sheet writes it beside"
    refused(run("fieldtest", "plan", tmp_path / "a", tmp_path / "none.pdf"), 2, missing)
    refused(run("fieldtest", "plan", tmp_path / "a", sheets[0], "--angles", "left"), 2, "--angles wants numbers")
    assert not (tmp_path / "a").exists()
    refused(
        run("fieldtest", "record", tmp_path), 2, "is not a session: it holds no plan.json; edgeguard fieldtest plan"
    )
    assert run("fieldtest", "plan", tmp_path / "b", sheets[0]).returncode == 0
    refused(run("fieldtest", "record", tmp_path / "b", "--source", "97"), 3, "camera")
    refused(run("fieldtest", "record", tmp_path / "b", "--light", "sun"), 2, "no light")
    refused(run("fieldtest", "record", tmp_path / "b", "--source", "synthetic:session"), 2, "wants --sheets")
    refused(run("fieldtest", "score", tmp_path / "b", "--model", bundled_model()), 2, "holds no passes")
    blank = tmp_path / "blank"
    blank.mkdir()
    assert cv2.imwrite(str(blank / "1.png"), np.full((240, 320, 3), 99, np.uint8))
    nothing = "nothing was recorded: 1 frames came, the last of them said: show a sheet"
    refused(run("fieldtest", "record", tmp_path / "b", "--source", blank), 1, nothing)


def test_sheets_and_sizes(tmp_path: Path) -> None:
    output = tmp_path / "s.pdf"
    done = run(
        "patch", "sheet", "--arm", "noise", "--size", "30mm", "--page", "Letter", "--card-mm", 100, "--output", output
    )
    assert done.returncode == 0, done.stderr
    sheet, _ = sheet_and_picture(output)
    assert sheet.overlay is not None and sheet.overlay.side_mm == 30 and sheet.object_mm == 100
    refused(run("patch", "sheet", "--output", tmp_path / "s.png"), 2, "wants a .pdf")
    photographs = ("patch", "make", bundled_model(), "--images", tmp_path, "--untargeted", "--output", tmp_path / "p")
    refused(run(*photographs, "--size", "38mm"), 2, "photographs have no millimeters")
    refused(run("patch", "sheet", "--page", "A0", "--output", output), 2, "A4 or Letter")
    card = ("patch", "sheet", "--output", output, "--card")
    refused(run(*card, "sign.png"), 2, "your picture is --object sign.png --label NAME --mm WxH")
    refused(run(*card, "bus"), 2, "there is no card 'bus'; cards: stop, no entry")
    refused(run("patch", "sheet", "--arm", "noise", "--size", "big", "--output", output), 2, "a size is 10%")
    refused(run("patch", "sheet", "--arm", "patch", "--output", output), 2, "wants --patch")
    refused(run("patch", "sheet", "--output", tmp_path / "no" / "s.pdf"), 3, "cannot write")
    refused(run("patch", "check", tmp_path / "no.png", "--bar-mm", 40), 2, "--bar-mm 40 wants --sheet: the bar is 100")


@pytest.mark.full
def test_a_photograph_of_a_print(sheets: list[Path], tmp_path: Path) -> None:
    sheet, picture = sheet_and_picture(sheets[0])
    raster = sheet_raster(sheet, picture, 5.0)
    for name, scale in (("good.png", 1.0), ("small.png", 0.95)):
        paper = np.full((1485, 1050, 3), 250, np.uint8)
        printed = cv2.resize(raster, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        top, left = (1485 - printed.shape[0]) // 2, (1050 - printed.shape[1]) // 2
        paper[top : top + printed.shape[0], left : left + printed.shape[1]] = printed
        photo = np.pad(paper, ((80, 80), (120, 120), (0, 0)), constant_values=50)
        cv2.imwrite(str(tmp_path / name), cv2.GaussianBlur(photo, (0, 0), 1.0)[:, :, ::-1])
    done = run("patch", "check", tmp_path / "good.png", "--sheet", sheets[0])
    assert done.returncode == 0 and "4 of 4 tags" in done.stdout and "outline of A4" in done.stdout, done.stderr
    refused(run("patch", "check", tmp_path / "small.png", "--sheet", sheets[0]), 1, "print is at 95")
    refused(run("patch", "check", tmp_path / "good.png", "--sheet", sheets[1]), 1, "not sheet 1")
    refused(run("patch", "check", tmp_path / "good.png", "--bar-mm", 90), 1, "90.0 %")
    assert json.loads(run("patch", "check", tmp_path / "good.png", "--json").stdout)["tags"] == 4
    refused(run("patch", "check", sheets[0]), 2, "not")
    assert "without --sheet" in run("patch", "check", tmp_path / "good.png").stdout
    hidden = cv2.imread(str(tmp_path / "good.png"))
    assert hidden is not None
    hidden[: hidden.shape[0] // 3, : hidden.shape[1] // 2] = 120  # a hand
    cv2.imwrite(str(tmp_path / "hidden.png"), hidden)
    refused(run("patch", "check", tmp_path / "hidden.png", "--sheet", sheets[0]), 1, "3 of 4 tags are seen")


def test_a_patch_on_another_object_is_said(tmp_path: Path) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    made = PatchFile("yield", None, "ab", None, 0.3, (0.0, 0.1), "square", 4, 2, 0, picture_hash(picture))
    write_patch(tmp_path, made, picture)
    sheet = ("patch", "sheet", "--arm", "patch", "--patch", tmp_path, "--output", tmp_path / "s.pdf")
    done = run(*sheet, "--card", "stop")
    assert done.returncode == 0 and "the patch was made on 'yield', not on 'stop'" in done.stderr
    done = run(*sheet, "--card", "yield")
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.full
def test_a_plan_says_that_a_control_is_another_one(tmp_path: Path) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    made = PatchFile("stop", None, "ab", None, 0.2, (0.0, 0.1), "square", 4, 2, 0, picture_hash(picture))
    (tmp_path / "p").mkdir()
    write_patch(tmp_path / "p", made, picture)
    paths = []
    for number, arm in enumerate(("clean", "plain", "noise", "patch")):
        paths.append(tmp_path / f"{arm}.pdf")
        more = () if arm in ("clean", "plain") else ("--patch", tmp_path / "p")
        assert run("patch", "sheet", "--arm", arm, *more, "--number", number, "--output", paths[-1]).returncode == 0
    done = run("fieldtest", "plan", tmp_path / "s", *paths, "--passes", 2)
    assert done.returncode == 0 and "note: The plain control (sheet 1) covers 38 mm" in done.stdout, done.stderr
    assert "noise control" not in done.stdout


def test_no_file_of_the_user_is_overwritten(tmp_path: Path) -> None:
    picture = np.full((64, 64, 3), 200, np.uint8)
    made = PatchFile("stop", None, "ab", None, 0.2, (0.0, 0.1), "square", 4, 2, 0, picture_hash(picture))
    write_patch(tmp_path, made, picture)
    cv2.imwrite(str(tmp_path / "sign.png"), picture)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    sign = ("--object", tmp_path / "sign.png", "--label", "stop", "--mm", "60x60")
    refused(run("patch", "sheet", *sign, "--output", tmp_path / "sign.pdf"), 2, "sign.png is there and of no sheet")
    patch = ("patch", "sheet", "--arm", "patch", "--patch", tmp_path)
    refused(run(*patch, "--output", tmp_path / "patch.pdf"), 2, "patch.json is there and of no sheet")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "sign.png").rename(tmp_path / "object.png")
    sign = ("--object", tmp_path / "object.png", *sign[2:])
    refused(
        run("patch", "make", bundled_model(), *sign, "--untargeted", "--output", tmp_path), 2, "object.png would be"
    )
    for _ in range(2):  # a sheet of one's own is made again
        assert run("patch", "sheet", *sign, "--output", tmp_path / "s.pdf").returncode == 0


@pytest.mark.full
def test_an_ended_analysis_leaves_none_of_other_scores(
    sheets: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, grid = tmp_path / "s", ("--distances", "450", "--angles", "0", "--frames", 1, "--passes", 1)
    assert run("fieldtest", "plan", session, sheets[0], *grid).returncode == 0
    source = ("--source", "synthetic:session", "--sheets", sheets[0])
    assert run("fieldtest", "record", session, *source).returncode == 0
    (session / "why.json").write_text('{"schema": 1, "patches": []}')

    def ended(*given: object) -> None:
        raise DeviceError("the disk is gone")

    monkeypatch.setattr("edgeguard.fieldtest.analysis.why.why_it_fails", ended)
    score = ("fieldtest", "score", session, "--model", bundled_model(), "--guard", "off", "--workers", 1)
    refused(run(*score), 3, "the disk is gone")
    assert (session / "scores.jsonl").exists() and not (session / "why.json").exists()


@pytest.mark.full
@pytest.mark.convert
def test_a_patch_by_command(tmp_path: Path) -> None:
    make = ("patch", "make", bundled_model(), "--output", tmp_path / "p", "--frame", "320x240", "--batch", 1)
    refused(run(*make), 2, "say --target LABEL")
    refused(run(*make, "--target", "yeld"), 2, "no label 'yeld'")
    refused(run(*make, "--untargeted", "--through-guard", "fdd"), 2, "fdd")
    refused(run(*make, "--untargeted", "--at", "middle"), 2, "--at wants x,y")
    done = run(*make, "--untargeted", "--steps", 2, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["target"] is None, done.stderr
    output = tmp_path / "patch.pdf"
    assert run("patch", "sheet", "--arm", "patch", "--patch", tmp_path / "p", "--output", output).returncode == 0
    (tmp_path / "p" / "patch.json").write_text("{}")
    refused(
        run("patch", "sheet", "--arm", "patch", "--patch", tmp_path / "p", "--output", output),
        2,
        "not a patch of version",
    )


@pytest.mark.parametrize(
    ("known", "planned"), [({200.0: 0, 300.0: 8, 400.0: 7}, (300.0, 400.0)), ({}, (100.0, 150.0, 160.0))]
)
def test_a_distance_at_which_a_longer_look_finds_nothing_is_left_out(
    known: dict[float, int], planned: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeguard.cli import fieldtest_plan
    from edgeguard.fieldtest.analysis.clean_views import CleanViews
    from edgeguard.fieldtest.session import distances

    def asked(*given: Any, least: int | None = None, **_: object) -> list[CleanViews]:
        right = {200.0: 8, 300.0: 8, 400.0: 8} if least else known
        return [CleanViews("sign", distance, 0.0, right.get(distance, 0), 8) for distance in given[2]]

    monkeypatch.setattr(fieldtest_plan, "_asked", asked)
    monkeypatch.setattr(distances, "candidate_distances_mm", lambda *_: (200.0, 300.0, 400.0))
    nothing: Any = None
    far, views = fieldtest_plan._known_distances_mm(nothing, [], (100.0, 150.0, 160.0), (0.0,), 62.2)
    assert far == planned == tuple(one.distance_mm for one in views)
