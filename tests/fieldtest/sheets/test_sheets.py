import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import here
from numpy.typing import NDArray
from pictures import read_bgr
from programs import needed

from edgeguard.errors import CheckFailed, EdgeGuardError, InputError
from edgeguard.fieldtest.sheets import print_check
from edgeguard.fieldtest.sheets.build import made_sheet, sheet_and_picture, write_sheet
from edgeguard.fieldtest.sheets.layout import PageName
from edgeguard.fieldtest.sheets.patch_file import PatchFile, read_patch, write_patch
from edgeguard.fieldtest.sheets.pdf import sheet_pdf
from edgeguard.fieldtest.sheets.print_check import check_print
from edgeguard.fieldtest.sheets.sheet import Overlay, Sheet, mask_of, parse_sheet, picture_hash, sheet_raster
from edgeguard.fieldtest.sheets.tags import FoundSheet, find_sheets

DPI = 300
PAGE_MM = {"A4": (210.0, 297.0), "Letter": (215.9, 279.4)}


def _pages(pdf: bytes, folder: Path) -> list[NDArray[np.uint8]]:
    """The PDF's pages as pdftoppm draws them."""
    program = needed("pdftoppm")
    (folder / "s.pdf").write_bytes(pdf)
    subprocess.run([program, "-r", str(DPI), "-png", str(folder / "s.pdf"), str(folder / "p")], check=True)
    return [read_bgr(path)[:, :, ::-1].copy() for path in sorted(folder.glob("p-*.png"))]


@pytest.mark.parametrize("page", ["A4", pytest.param("Letter", marks=pytest.mark.full)])
def test_tags_are_printed_at_the_right_millimetres(page: PageName, tmp_path: Path) -> None:
    sheet, picture = made_sheet("stop", "noise", number=100, object_mm=110, tag_mm=36)
    (drawn,) = _pages(sheet_pdf(sheet, picture, page), tmp_path)
    width, height = PAGE_MM[page]
    assert drawn.shape[1] == pytest.approx(width / 25.4 * DPI, abs=1)
    assert drawn.shape[0] == pytest.approx(height / 25.4 * DPI, abs=1)
    (found,) = find_sheets(drawn)
    assert found.number == 100 and sorted(found.corners) == [0, 1, 2, 3]
    offset = np.array([(width - sheet.layout.width) / 2, (height - sheet.layout.height) / 2])
    for place, corners in found.corners.items():
        rect = sheet.layout.tags[place]
        wanted = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * rect.width + [rect.left, rect.top] + offset
        assert np.abs((corners + 0.5) / DPI * 25.4 - wanted).max() < 0.1
    bar = sheet.layout.scale_bar
    row = drawn[round((bar.top + offset[1] + 0.5) / 25.4 * DPI)].max(1) < 50
    row = row[: round((bar.left + offset[0] + 103) / 25.4 * DPI)]  # a line of text stands beside it
    assert np.flatnonzero(row).size / DPI * 25.4 == pytest.approx(100, abs=0.2)


def test_letters_that_the_font_lacks_are_question_marks(tmp_path: Path) -> None:
    sheet, picture = made_sheet("stop", "clean", number=7)
    (tmp_path / "s.pdf").write_bytes(sheet_pdf(replace(sheet, object="Größe \u0437\u043d\u0430\u043a \u6b62"), picture))
    told = subprocess.run(
        [needed("pdftotext"), str(tmp_path / "s.pdf"), "-"], capture_output=True, text=True, check=True
    )
    assert "Größe ???? ? / clean" in told.stdout and "sheet 7," in told.stdout


@pytest.mark.full
def test_a_large_sheet_is_tiled_and_nothing_is_lost(tmp_path: Path) -> None:
    """The pages laid over each other by their overlap are the sheet."""
    sheet, picture = made_sheet("yield", "clean", number=3, object_mm=300, tag_mm=60)
    pages = _pages(sheet_pdf(sheet, picture), tmp_path)
    assert len(pages) == 4
    step_x, step_y = (210 - 30) / 25.4 * DPI, (297 - 30) / 25.4 * DPI
    whole = np.full((round(2 * step_y + 500), round(2 * step_x + 500), 3), 255, np.uint8)
    edge = round(11 / 25.4 * DPI)
    for index, drawn in enumerate(pages):
        inner = drawn[edge:-edge, edge:-edge]
        top, left = round(index // 2 * step_y), round(index % 2 * step_x)
        whole[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    (found,) = find_sheets(
        np.asarray(cv2.resize(whole, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), np.uint8)
    )
    assert found.number == 3 and len(found.corners) == 4


def test_manifests_come_back_and_belong_to_their_pictures(tmp_path: Path) -> None:
    sheet, picture = made_sheet("left", "plain", seed=3)
    write_sheet(tmp_path / "s.pdf", sheet, picture, b"%PDF")
    assert sheet_and_picture(tmp_path / "s.pdf")[0] == sheet
    other = picture.copy()
    other[0, 0] ^= 1
    cv2.imwrite(str(tmp_path / "s.png"), other[:, :, ::-1])
    with pytest.raises(InputError, match="not the picture"):
        sheet_and_picture(tmp_path / "s.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a sheet"),
        ("[]", "version"),
        ('{"schema": 9}', "version"),
        ('{"schema": 1, "arm": "clean"}', "damaged"),
    ],
)
def test_damaged_manifests(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(InputError, match=said):
        sheet_and_picture(tmp_path / "s.json")


def test_what_cannot_be_made() -> None:
    with pytest.raises(InputError, match="no card"):
        made_sheet("parking", "clean")
    with pytest.raises(InputError, match="no arm"):
        made_sheet("stop", "dirty")
    with pytest.raises(InputError, match="wants --patch"):
        made_sheet("stop", "patch")
    with pytest.raises(InputError, match="stick out"):
        made_sheet("stop", "plain", overlay=Overlay((50, 0), 40))
    with pytest.raises(InputError, match="no shape"):
        mask_of("star", 8)


def test_shapes_cover_what_they_say() -> None:
    covered = {shape: float(mask_of(shape, 200).mean()) for shape in ("square", "round", "ring", "stickers")}
    assert covered["square"] == 1 and covered["round"] == pytest.approx(np.pi / 4, abs=0.01)
    assert covered["ring"] == pytest.approx(np.pi / 4 * 0.75, abs=0.01)
    assert covered["stickers"] == pytest.approx(0.56, abs=0.02)


def test_a_patch_and_its_manifest(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    about = PatchFile("stop", "yield", "ab", None, 0.3, (0.0, 0.2), "round", 4, 2, 0, picture_hash(picture))
    write_patch(tmp_path, about, picture)
    back, pixels = read_patch(tmp_path)
    assert back == about and np.array_equal(pixels, picture)
    sheet, _ = made_sheet("stop", "patch", patch=tmp_path)
    control, _ = made_sheet("stop", "noise", patch=tmp_path)
    assert sheet.target == "yield" and sheet.overlay == control.overlay and control.target is None
    assert sheet.overlay is not None and sheet.overlay.side_mm == pytest.approx(36)
    # the second is a picture of another format under the name of a .png, which only OpenCV would take
    for data in (b"no picture", b"P6\n48 48\n255\n" + picture.tobytes()):
        (tmp_path / "patch.png").write_bytes(data)
        with pytest.raises(InputError, match="is no picture"):
            read_patch(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("side_share", "x"), ("side_share", 1e308), ("side_share", 0), ("side_share", None), ("side_share", [1]),
        ("side_share", float("nan")), ("center_share", [0]), ("center_share", [0, 0, 0]), ("center_share", [1e308, 0]),
        ("center_share", 5), ("shape", ["square"]), ("shape", 5), ("target", 5), ("target", ["x"]), ("object", None),
        ("model_sha256", None), ("through_guard", {"a": 1}), ("steps", "x"), ("mode", ["x"]), ("schema", True),
        ("seed", 10**30), ("more", 1),
    ],
)  # fmt: skip
def test_a_patch_of_a_stranger_fits_or_is_refused(tmp_path: Path, key: str, value: object) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    about = PatchFile("stop", "yield", "ab", None, 0.3, (0.0, 0.2), "round", 4, 2, 0, picture_hash(picture))
    write_patch(tmp_path, about, picture)
    (tmp_path / "patch.json").write_text(json.dumps({**about.to_dict(), key: value}))
    with pytest.raises(InputError, match=r"patch\.json"):
        made_sheet("stop", "patch", patch=tmp_path)


@pytest.mark.parametrize("name", ["patch.json", "patch.png"])
def test_the_files_of_a_patch_are_plain_files_of_bounded_size(tmp_path: Path, name: str) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    about = PatchFile("stop", "yield", "ab", None, 0.3, (0.0, 0.2), "round", 4, 2, 0, picture_hash(picture))
    for kind, said in (("pipe", "is a device, a pipe"), ("link", "is a link"), ("giant", "is larger than")):
        write_patch(tmp_path, about, picture)
        path = tmp_path / name
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "link":
            path.symlink_to("/dev/zero")
        else:
            with open(path, "wb") as file:
                file.truncate(3 << 30)  # a hole: nothing is on the disk
        with pytest.raises(InputError, match=said):
            read_patch(tmp_path)
        path.unlink()


def test_the_picture_of_a_sheet_is_of_bounded_size(tmp_path: Path) -> None:
    sheet, picture = made_sheet("stop", "clean")
    write_sheet(tmp_path / "a.pdf", sheet, picture, b"")
    (tmp_path / "a.png").unlink()
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(InputError, match="the sheet's picture .* is larger than"):
        sheet_and_picture(tmp_path / "a.json")


def _photo(scale: float, cast: tuple[float, float, float] = (1, 1, 1)) -> tuple[NDArray[np.uint8], Sheet]:
    """A print of some scale on a dark table, seen from above at an angle."""
    sheet, picture = made_sheet("stop", "clean", number=20)
    raster = sheet_raster(sheet, picture, 5.0)
    paper = np.full(((297 * 5), (210 * 5), 3), 255, np.uint8)
    printed = cv2.resize(raster, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (paper.shape[0] - printed.shape[0]) // 2, (paper.shape[1] - printed.shape[1]) // 2
    paper[top : top + printed.shape[0], left : left + printed.shape[1]] = printed
    h, w = paper.shape[:2]
    corners = np.array([[420, 130], [1480, 180], [1420, 1700], [360, 1620]], np.float32)
    matrix = cv2.getPerspectiveTransform(np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32) - 0.5, corners)
    photo = cv2.warpPerspective(paper, matrix, (1900, 1800), borderValue=(60, 55, 50), flags=cv2.INTER_LINEAR)
    lit = cv2.GaussianBlur(photo, (0, 0), 0.8) * np.array(cast) * 0.85 + 5
    return np.clip(lit + np.random.default_rng(0).normal(0, 2, lit.shape), 0, 255).astype(np.uint8), sheet


@pytest.mark.parametrize("scale", [1.0, 0.97, 0.94])
def test_the_true_scale_of_a_print(scale: float) -> None:
    photo, sheet = _photo(scale)
    found = check_print(photo, sheet)
    assert found.number == 20 and found.tags == 4 and found.page == "A4" and found.fit_px < 1
    assert found.scale == pytest.approx(scale, abs=0.006)


@pytest.mark.full
def test_colours_of_a_print() -> None:
    warm = check_print(_photo(1.0, (1.0, 0.93, 0.8))[0])
    assert warm.color_error is not None and warm.color_error < 6  # white balance is fitted away
    photo, _ = _photo(1.0)
    faded = np.clip(photo.astype(int) + (photo[:, :, ::-1] // 4), 0, 255).astype(np.uint8)
    worse = check_print(faded).color_error
    assert worse is not None and worse > 2 * warm.color_error


def test_photographs_that_show_no_print() -> None:
    with pytest.raises(InputError, match="no tags"):
        check_print(np.full((300, 400, 3), 99, np.uint8))
    photo, sheet = _photo(1.0)
    with pytest.raises(InputError, match="2 sheets"):
        other, _ = made_sheet("yield", "clean", number=5)
        second = sheet_raster(other, np.zeros((9, 9, 3), np.uint8), 3.0)
        check_print(np.concatenate([photo, np.pad(second, ((0, 1800 - second.shape[0]), (20, 20), (0, 0)))], 1))
    with pytest.raises(CheckFailed, match="not sheet 21"):
        check_print(photo, replace(sheet, number=21))


def test_without_reportlab_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reportlab.lib.units", None)
    output = tmp_path / "clean.pdf"
    done = here("patch", "sheet", "--card", "stop", "--arm", "clean", "--output", output)
    assert done.returncode == 2 and "bin/pip install reportlab" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_sheet_says_what_its_patch_wants() -> None:
    plain = Sheet(3, "stop", "stop", "patch", picture_sha256="0" * 64)
    assert plain.aim == "anything" and "mode" not in plain.to_dict()
    assert replace(plain, target="yield").aim == "yield"
    vanish = replace(plain, mode="vanish")
    assert vanish.aim == "not found" and parse_sheet(json.loads(vanish.to_json()), "x") == vanish
    with pytest.raises(InputError, match="mode"):
        parse_sheet({**plain.to_dict(), "mode": ["vanish"]}, "x")


@pytest.mark.parametrize("spread", [0.0, 1e-30, np.inf, np.nan, 1e30])
def test_tags_in_impossible_places_are_one_line(monkeypatch: pytest.MonkeyPatch, spread: float) -> None:
    """Photographs of hand-made tags ended in `SVD did not converge`, and in exit code 70."""
    place = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * np.float32(spread)
    seen = FoundSheet(1, dict.fromkeys(range(4), place))
    monkeypatch.setattr(print_check, "find_sheets", lambda _: [seen])
    with pytest.raises(InputError, match="as on no flat sheet"):
        check_print(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("taken", ["s.pdf", "s.json", "s.png"])
def test_a_sheet_that_cannot_be_written_whole_is_not_written(tmp_path: Path, taken: str) -> None:
    sheet, picture = made_sheet("stop", "clean")
    (tmp_path / taken).mkdir()
    with pytest.raises(EdgeGuardError):
        write_sheet(tmp_path / "s.pdf", sheet, picture, b"%PDF")
    assert [path.name for path in tmp_path.iterdir()] == [taken]
