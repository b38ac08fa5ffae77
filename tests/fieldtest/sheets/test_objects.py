"""Sheets of real objects: what is read of a photograph, what is refused, what is printed, where the tags say it is."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fieldtest.sheets.objects import sign_subject, write_sign
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.fieldtest.session.plan import make_plan, read_plan, write_plan
from edgeguard.fieldtest.sheets.build import made_sheet, sheet_and_picture, write_sheet
from edgeguard.fieldtest.sheets.cutout import read_object
from edgeguard.fieldtest.sheets.field_object import FieldObject, Mount
from edgeguard.fieldtest.sheets.patch_file import PatchFile, read_patch, write_patch
from edgeguard.fieldtest.sheets.sheet import picture_hash, read_sheet
from edgeguard.fieldtest.sheets.subject import (
    OBJECT_PICTURE,
    card_subject,
    patch_subject,
    picture_beside,
    sheet_subject,
    write_subject,
)
from edgeguard.fieldtest.sheets.tags import camera_matrix, find_sheets, pose_of
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand, open_virtual_field, project
from edgeguard.scene.outlines import box_around

MOUNTS: tuple[Mount, ...] = ("sheet", "on", "beside")


def _patch(folder: Path, subject: FieldObject | None, stickers: int = 1) -> Path:
    picture = np.random.default_rng(0).integers(0, 256, (24, 24 * stickers, 3), np.uint8)
    more = tuple((0.0, -0.33 * k) for k in range(1, stickers))
    about = PatchFile("my sign", None, "ab", None, 0.3, (0.0, 0.1), "square", 4, 2, 0, picture_hash(picture),
                      about=subject, more_centers=more)  # fmt: skip
    folder.mkdir()
    write_patch(folder, about, picture)
    return folder


def test_an_object_is_cut_out_along_its_mask_in_true_proportions(tmp_path: Path) -> None:
    photo, mask = write_sign(tmp_path)
    about, kept = read_object(photo, label="stop", size_mm=(600, 600), mask=mask)
    assert about.name == "my sign" and about.mount == "sheet" and about.picture_sha256 == kept.sha256
    assert len(about.outline) == 8  # it is an octagon
    assert abs(kept.rgb.shape[0] - kept.rgb.shape[1]) <= 1 and kept.alpha[0, 0] == 0 and kept.alpha.max() == 255
    assert (kept.on_white()[0, 0] == 255).all()


def test_what_is_transparent_is_not_the_object(tmp_path: Path) -> None:
    photo, mask = write_sign(tmp_path)
    rgb, cover = cv2.imread(str(photo)), cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    assert rgb is not None and cover is not None
    cv2.imwrite(str(tmp_path / "my cut.png"), np.dstack([rgb, cover]))
    cut, kept = read_object(tmp_path / "my cut.png", label="stop", size_mm=(600, 600))
    masked, wanted = read_object(photo, label="stop", size_mm=(600, 600), mask=mask)
    assert np.array_equal(kept.alpha, wanted.alpha) and cut.outline == masked.outline
    white = np.full_like(rgb, 255)
    cv2.imwrite(str(tmp_path / "white.png"), np.dstack([white, cover]))  # a mask whose background is clear
    _, by_it = read_object(photo, label="stop", size_mm=(600, 600), mask=tmp_path / "white.png")
    assert np.array_equal(by_it.alpha, wanted.alpha)
    cv2.imwrite(str(tmp_path / "full.png"), np.dstack([rgb, np.full_like(cover, 255)]))
    assert read_object(tmp_path / "full.png", label="stop", size_mm=(600, 600))[1].alpha.min() == 255


def test_objects_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path) -> None:
    photo, mask = write_sign(tmp_path)
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((512, 512), np.uint8))
    cv2.imwrite(str(tmp_path / "other.png"), np.full((9, 9), 255, np.uint8))
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((5, 5, 3), np.uint8))
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (tmp_path / "burst.jpg").write_bytes(b"\0\0\0\x18ftypavis" + bytes(40))
    cv2.imwrite(str(tmp_path / "clear.png"), np.full((60, 60, 4), (255, 255, 255, 0), np.uint8))
    for path, size, given, words in (
        (photo, (600, 600), tmp_path / "empty.png", "is empty: a mask is white where the object is"),
        (photo, (600, 600), tmp_path / "other.png", "a mask has its size"),
        (photo, (600, 300), mask, "which is not 600x300 mm"),
        (tmp_path / "tiny.png", (60, 60), None, "at least 8 are needed"),
        (tmp_path / "phone.heic", (60, 60), None, "save it as JPEG"),
        (tmp_path / "burst.jpg", (60, 60), None, "HEIC or AVIF file"),
        (tmp_path / "clear.png", (60, 60), None, "transparent everywhere"),
        (photo, (600, 600), tmp_path / "clear.png", "a mask has its size"),
        (tmp_path / "none.jpg", (60, 60), None, "none.jpg"),
        (photo, (6, 6), mask, "sides are 10 to 5000 mm"),
    ):
        with pytest.raises(InputError, match=words):
            read_object(path, label="stop", size_mm=size, mask=given)
    with pytest.raises(InputError, match="--label"):
        read_object(photo, label=" ", size_mm=(600, 600))
    with pytest.raises(InputError, match="in one line"):
        read_object(photo, label="stop\x1b[2J", size_mm=(600, 600))


@pytest.mark.parametrize("mount", MOUNTS)
def test_sheets_of_an_object_come_back_and_say_where_it_stands(mount: Mount, tmp_path: Path) -> None:
    subject = sign_subject(tmp_path, mount)
    arms = {arm: made_sheet(subject, arm) for arm in ("clean", "noise")}
    assert len({sheet.number for sheet, _ in arms.values()}) == 2
    sheet, picture = arms["noise"]
    write_sheet(tmp_path / "n.pdf", sheet, picture, b"%PDF", subject)
    back, pixels = sheet_and_picture(tmp_path / "n.pdf")
    assert back == sheet and np.array_equal(pixels, picture) and back.about == subject.about
    again = sheet_subject(back, tmp_path / "n.pdf")
    assert again.cutout is not None and subject.cutout is not None and again.cutout.sha256 == subject.cutout.sha256
    painter = SheetPainter(sheet, picture, cutout=subject.cutout)
    (found,) = find_sheets(painter.frame(Stand(450, 25, 20, seed=3), 1280, 960))
    pose = pose_of(found, sheet.layout, camera_matrix(1280, 960))
    assert found.number == sheet.number and pose is not None
    assert pose.distance_mm == pytest.approx(450, rel=0.03) and pose.angle_deg == pytest.approx(25, abs=4)


def test_the_clean_paper_on_an_object_has_a_window_that_shows_it(tmp_path: Path) -> None:
    subject, stand = sign_subject(tmp_path, "on"), Stand(350, seed=2, noise=0)
    clean, noise = (SheetPainter(*made_sheet(subject, arm), cutout=subject.cutout) for arm in ("clean", "noise"))
    sheet, _ = made_sheet(subject, "clean")
    assert sheet.overlay is None and sheet.window is not None
    center = project(np.array([[*sheet.window.center_mm, 0.0]]), stand, 640, 480)[0].astype(int)
    size = slice(center[1] - 6, center[1] + 6), slice(center[0] - 6, center[0] + 6)
    red, mixed = (painter.frame(stand)[size].reshape(-1, 3).mean(0) for painter in (clean, noise))
    assert red[0] > 2 * red[1] and not mixed[0] > 2 * mixed[1]


def test_pieces_and_stickers_lie_where_the_manifest_says(tmp_path: Path) -> None:
    subject = sign_subject(tmp_path, "beside")
    folder = _patch(tmp_path / "p", subject.about, stickers=2)
    write_subject(folder / OBJECT_PICTURE, subject)
    sheet, picture = made_sheet(subject, "patch", patch=folder)
    assert picture.shape == (24, 48, 3) and len(sheet.overlays) == 2
    assert sheet.overlays[1].center_mm == pytest.approx((0.0, -49.5))
    stand = Stand(300, seed=2, noise=0)
    frames = [
        SheetPainter(*made_sheet(subject, arm, patch=folder), cutout=subject.cutout).frame(stand)
        for arm in ("clean", "plain")
    ]
    for place in sheet.overlays:
        x, y = project(np.array([[*place.center_mm, 0.0]]), stand, 640, 480)[0].astype(int)
        assert np.ptp(frames[1][y, x].astype(int)) < 25 < np.ptp(frames[0][y, x].astype(int))
    back, _ = read_patch(folder)
    found = patch_subject(folder, back)
    assert found is not None and found.about == subject.about and back.centers == ((0.0, 0.1), (0.0, -0.33))


def test_a_patch_for_another_object_is_refused(tmp_path: Path) -> None:
    subject = sign_subject(tmp_path)
    assert subject.about is not None
    for about, words in (
        (replace(subject.about, picture_sha256="cd", name="yours"), "another object: 'yours'"),
        (replace(subject.about, width_mm=100.0), "of 100x150 mm"),
        (replace(subject.about, mount="on"), "--mount on"),
    ):
        with pytest.raises(InputError, match=words):
            made_sheet(subject, "patch", patch=_patch(tmp_path / words.split()[0], about))
    with pytest.raises(InputError, match="not for the card 'stop'"):
        made_sheet("stop", "plain", patch=_patch(tmp_path / "q", subject.about))


def test_a_patch_that_aims_at_the_objects_own_label_is_refused(tmp_path: Path) -> None:
    folder = _patch(tmp_path / "p", None)
    about, picture = read_patch(folder)
    write_patch(folder, replace(about, target="stop"), picture)
    with pytest.raises(InputError, match="the object's own label: every frame would be a success"):
        made_sheet("stop", "patch", patch=folder)
    assert made_sheet("yield", "patch", patch=folder)[0].target == "stop"
    write_patch(folder, replace(about, target="stop", mode="create"), picture)  # a second one may be wanted
    assert made_sheet("stop", "patch", patch=folder)[0].mode == "create"


def test_manifests_of_cards_keep_their_keys_and_those_of_objects_add_some(tmp_path: Path) -> None:
    card, _ = made_sheet("stop", "noise")
    assert not {"about", "stickers", "window"} & card.to_dict().keys()
    subject = sign_subject(tmp_path, "on")
    sheets = [made_sheet(subject, arm)[0] for arm in ("clean", "plain")]
    write_plan(tmp_path, make_plan(sheets, (450,), (0,), ("bright",), 2))
    assert read_plan(tmp_path).sheets == tuple(sheets)
    with pytest.raises(InputError, match="two different objects"):
        make_plan([sheets[0], replace(sheets[1], about=None)], (450,), (0,), ("bright",), 2)
    path = tmp_path / "s.json"
    for bad in (b'"mount": "glued"', b'"width_mm": 1e9'):
        key = bad.split(b":")[0]
        lines = [bad + b"," if line.strip().startswith(key) else line for line in sheets[0].to_json().splitlines()]
        path.write_bytes(b"\n".join(lines))
        with pytest.raises(InputError):
            read_sheet(path)


def test_an_object_bends_and_its_box_with_it(tmp_path: Path) -> None:
    subject = sign_subject(tmp_path, "beside")
    sheet, picture = made_sheet(subject, "clean")
    painter = SheetPainter(sheet, picture, cutout=subject.cutout)
    stand = Stand(350, seed=5, noise=0, bend=0.05)
    bend = painter.bend(stand)
    assert bend is not None and painter.bend(replace(stand, bend=0.0)) is None
    points = sheet.outline_mm()
    assert np.abs(bend.moved(bend.seen_at(points)) - points).max() < 0.5
    red = _red(painter.frame(stand))
    flat = np.concatenate([bend.seen_at(points), np.zeros((len(points), 1))], 1)
    box = box_around(project(flat, stand, 640, 480), 640, 480)
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert box == pytest.approx((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), abs=7)


def _red(frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
    mask = ((frame[:, :, 0] > 110) & (frame[:, :, 1] < 70) & (frame[:, :, 2] < 80)).astype(np.uint8)
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    return np.asarray(labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))


def test_a_field_of_an_object_before_photographs(tmp_path: Path) -> None:
    subject = sign_subject(tmp_path, "beside")
    sheet, picture = made_sheet(subject, "clean")
    write_sheet(tmp_path / "c.pdf", sheet, picture, b"%PDF", subject)
    assert picture_beside(tmp_path / "c.pdf").name == "c-object.png"
    (tmp_path / "behind").mkdir()
    cv2.imwrite(str(tmp_path / "behind" / "a.png"), np.full((300, 400, 3), (200, 20, 20), np.uint8))
    (tmp_path / "behind" / "broken.jpg").write_bytes(b"no")
    address = f"synthetic:field?sheet={tmp_path}/c.pdf&distance=450&frames=1&bend=0.02&backgrounds={tmp_path}/behind"
    field = open_virtual_field(address)
    frame = field.painter.frame(field.truth(0))
    assert frame[5, 5, 2] > 2 * frame[5, 5, 0]  # the blue wall of the photograph
    assert _red(frame).sum() > 500
    stand = open_virtual_field(f"synthetic:field?sheet={tmp_path}/c.pdf").truth(0)
    assert stand.distance_mm == pytest.approx(5 * 150, rel=0.05)  # as far, in sides of the object, as a card stands
    assert open_virtual_field(f"synthetic:field?sheet={tmp_path}/c.pdf&path=drive-by").truth(29).distance_mm > 430
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        open_virtual_field(f"synthetic:field?backgrounds={tmp_path / 'empty'}")


def test_cards_are_subjects_as_well() -> None:
    subject = card_subject("stop", 90.0)
    assert subject.mount == "sheet" and subject.overlay(0.5, (0.0, 0.1)).center_mm == (0.0, 9.0)
