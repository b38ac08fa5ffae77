"""Photographs and films become passes; each file is used byte for byte, or listed with its reason."""

import dataclasses
import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import here
from fieldtest.session.phone import Exif, bare, film, object_corners, tagged, written

from edgeguard.errors import InputError
from edgeguard.fieldtest.session.importing import Imported, import_all, look_at_all, to_be_marked
from edgeguard.fieldtest.session.look import Lens
from edgeguard.fieldtest.session.marks import Mark, read_marks, write_marks
from edgeguard.fieldtest.session.photographs import kind_of, read_shot
from edgeguard.fieldtest.session.placing import NOT_MARKED
from edgeguard.fieldtest.session.plan import make_plan, write_plan
from edgeguard.fieldtest.session.said import FILE
from edgeguard.fieldtest.session.session import Session
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet
from edgeguard.fieldtest.sheets.tags import find_sheets
from edgeguard.fieldtest.virtual.field import Stand, placed_at

SIZE = (640, 480)


def _session(folder: Path, sheets: list[tuple[Sheet, Picture]]) -> Session:
    folder.mkdir()
    write_plan(folder, make_plan([s for s, _ in sheets], (450, 800), (0, 30), ("bright", "dim"), passes=2, frames=3))
    return Session(folder)


def _import(session: Session, *given: Path, marks: dict[str, Mark] | None = None, gap_s: float = 10.0) -> Imported:
    looked = look_at_all(session, given, Lens(str(session.folder), None, 3.0), 1)
    return import_all(session, looked, marks or {}, light="bright", gap_s=gap_s, film_fps=3.0)


def _put(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _reasons(done: Imported) -> dict[str, str]:
    return {one.name: one.reason for one in done.not_used}


def test_tagged_photographs_turned_by_exif(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    session, photos = _session(tmp_path / "s", sheets), tmp_path / "photos"
    wanted = {}
    for k, (orientation, suffix, size) in enumerate(
        ((1, ".jpg", (640, 480)), (6, ".jpg", (480, 640)), (8, ".jpg", (480, 640)), (3, ".png", (800, 600)))
    ):
        stand = Stand(450, 0 if k % 2 else 30, seed=k)
        rgb = tagged(*sheets[k % 3], stand, *size)
        data = written(rgb, suffix, Exif(f"2026:05:01 12:0{k}:00", orientation=orientation))
        wanted[_put(photos / f"{k}{suffix}", data)] = (stand, sheets[k % 3][0].number, data)
    done = _import(session, photos)
    assert (done.frames, done.passes, done.not_used) == (4, 4, ())
    again = Session(session.folder)
    assert len(again.passes) == 4
    for one in again.passes:
        (frame,) = one.frames
        stand, sheet, data = wanted[frame.sha256]
        assert one.sheet == sheet and again.read_frame(frame) == data
        assert frame.distance_mm == pytest.approx(stand.distance_mm, rel=0.035)
        assert frame.angle_deg == pytest.approx(stand.angle_deg, abs=12 if stand.angle_deg == 0 else 5)
        assert frame.pose_from == "tags" and frame.tags == 4 and str(frame.origin).startswith("photos/")
        assert frame.captured_at % 60 == 0 and one.cell == frame.cell and frame.cell.light == "bright"
    assert _import(again, photos).frames == 0
    assert len(Session(session.folder).passes) == 4
    assert again.recover() == []


def test_marked_photographs_and_what_the_folder_says(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    session, photos = _session(tmp_path / "s", sheets), tmp_path / "photos"
    stand = Stand(800, 30, tilt_deg=10, seed=4)
    rgb = bare(*sheets[1], stand, *SIZE)
    keys = {
        name: _put(photos / name, written(rgb, ".jpg", Exif(f"2026:05:01 12:0{k}:00"), 90 + k))
        for k, name in enumerate(("dim/plain/a.jpg", "plain/box.jpg", "plain/none.jpg", "elsewhere/b.jpg"))
    }
    done = _import(session, photos)
    assert done.frames == 0 and done.unmarked == 4 and set(_reasons(done).values()) == {NOT_MARKED}
    corners = object_corners(sheets[1][0], stand, *SIZE) + np.random.default_rng(0).normal(0, 0.7, (4, 2))
    points = tuple((float(x), float(y)) for x, y in (corners + 0.5) / SIZE)
    low, high = (corners.min(0) + 0.5) / SIZE, (corners.max(0) + 0.5) / SIZE
    box = ((float(low[0]), float(low[1])), (float(high[0]), float(high[1])))
    marks = {
        keys["dim/plain/a.jpg"]: Mark("corners", points), keys["plain/box.jpg"]: Mark("box", box),
        keys["plain/none.jpg"]: Mark("none"), keys["elsewhere/b.jpg"]: Mark("corners", points),
    }  # fmt: skip
    write_marks(session.folder, marks)
    assert read_marks(session.folder) == marks
    done = _import(session, photos, marks=marks)
    reasons = _reasons(done)
    assert reasons["photos/plain/none.jpg"] == "marked as not showing the object"
    assert reasons["photos/elsewhere/b.jpg"].startswith("no tag and no folder says which arm it is")
    by_origin = {frame.origin: (one, frame) for one in Session(session.folder).passes for frame in one.frames}
    one, frame = by_origin["photos/dim/plain/a.jpg"]
    assert one.sheet == sheets[1][0].number and frame.cell.light == "dim" and frame.pose_from == "corners"
    assert frame.distance_mm == pytest.approx(800, rel=0.05) and frame.angle_deg == pytest.approx(30, abs=6)
    _, sized = by_origin["photos/plain/box.jpg"]
    assert sized.distance_mm == pytest.approx(800, rel=0.08) and sized.pose_from == "size"
    assert any("their angle is not known" in note for note in done.notes)


def test_passes_are_placements(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    session, photos = _session(tmp_path / "s", sheets), tmp_path / "photos"
    rgb = tagged(*sheets[0], Stand(450, 0, seed=1), *SIZE)
    for k, second in enumerate((0, 4, 12, 40)):
        _put(photos / f"{k}.jpg", written(rgb, ".jpg", Exif(f"2026:05:01 12:00:{second:02d}"), 80 + k))
    for k in range(2):
        _put(photos / "timeless" / f"{k}.jpg", written(rgb, ".jpg", Exif(None), 90 + k))
    done = _import(session, photos)
    assert sorted(len(one.frames) for one in Session(session.folder).passes) == [1, 2, 3]
    assert [one.repeat for one in session.passes] == [0, 1, 2]
    assert any("2 photographs say no time" in note for note in done.notes)
    _put(photos / "late.jpg", written(rgb, ".jpg", Exif("2026:05:01 12:00:45"), 70))
    late = _import(Session(session.folder), photos)
    assert late.frames == 0 and "belongs to the placement of pass" in _reasons(late)["photos/late.jpg"]
    _put(photos / "timeless" / "late.jpg", written(rgb, ".jpg", Exif(None), 60))
    again = _import(Session(session.folder), photos)
    assert again.frames == 0 and "belongs to the placement of pass" in _reasons(again)["photos/timeless/late.jpg"]


@pytest.mark.full
def test_a_film_is_one_pass(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    session, photos = _session(tmp_path / "s", sheets), tmp_path / "photos"
    photos.mkdir()
    far_to_near = [Stand(float(d), 5, seed=3) for d in np.linspace(850, 430, 30)]
    film(photos / "drive.mp4", [tagged(*sheets[1], stand, *SIZE) for stand in far_to_near])
    done = _import(session, photos)
    (one,) = Session(session.folder).passes
    assert one.cell is None and len(one.frames) == 3 and done.films == 1 and done.frames == 3
    distances = [frame.distance_mm for frame in one.frames]
    assert distances == sorted(distances, reverse=True) and distances[0] == pytest.approx(850, rel=0.03)
    assert one.frames[1].captured_at - one.frames[0].captured_at == pytest.approx(1 / 3, abs=0.01)
    assert {frame.cell.distance_mm for frame in one.frames} == {450, 800}
    assert _import(Session(session.folder), photos).frames == 0


def _mixed(sheets: list[tuple[Sheet, Picture]], photos: Path, count: int) -> dict[str, Mark]:
    """Photographs of mixed size, rotation, EXIF and format, and all that lies beside photographs; the marks."""
    rng, marks = np.random.default_rng(28), dict[str, Mark]()
    foreign = made_sheet("stop", "clean", number=77)
    for k in range(count):
        sheet, picture = sheets[k % 3]
        size = ((640, 480), (480, 640), (1000, 750), (960, 540))[k % 4]
        stand = placed_at(rng, float(rng.uniform(430, 820)), float(rng.uniform(0, 40)), "bright")
        exif = Exif(
            f"2026:05:01 {10 + k // 60:02d}:{k % 60:02d}:00" if k % 5 else None, "25" if k % 2 else None,
            "+02:00" if k % 3 else None, (1, 6, 8, 3)[k // 4 % 4], k % 7 != 0,
        )  # fmt: skip
        suffix = (".jpg", ".jpg", ".jpg", ".png", ".webp", ".tif", ".bmp")[k % 7]
        if suffix in (".bmp", ".tif", ".webp", ".png"):
            exif = dataclasses.replace(exif, orientation=1)
        name = f"photos {k}" if k % 11 else f"-n\n\u202e{k}; $(x) 'é"
        if k % 3 == 2:
            rgb = bare(sheet, picture, stand, *size)
            key = _put(photos / sheet.arm / f"{name}{suffix}", written(rgb, suffix, exif))
            if k % 2:
                corners = object_corners(sheet, stand, *size)
                marks[key] = Mark("corners", tuple((float(x), float(y)) for x, y in (corners + 0.5) / size))
            continue
        if k % 20 == 1:
            sheet, picture = foreign
        _put(photos / f"{name}{suffix}", written(tagged(sheet, picture, stand, *size), suffix, exif))
    good = (photos / "photos 7.jpg").read_bytes()  # of the plain arm
    heic = b"\0\0\0\x18ftypheic" + bytes(200)
    beside = {
        "IMG_1.HEIC": heic, "IMG_2.jpg": heic, "a.dng": b"II*\0" + bytes(99), "empty.jpg": b"", "half.jpg": good[:999],
        "again.jpg": good, "notes.txt": b"plain", "Thumbs.db": b"\xd0\xcf\x11\xe0", "broken.mp4": b"\0\0\0\x18ftypmp42",
        "motion.jpg": good + b"\0\0\0\x18ftypmp42" + bytes(500), "clean/wrong arm.jpg": good + b"\0",
    }  # fmt: skip
    for name, data in beside.items():
        _put(photos / name, data)
    os.mkfifo(photos / "pipe.jpg")
    (photos / "loop").symlink_to(photos)
    (photos / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    return marks


def _check_nothing_lost(session: Session, photos: Path, done: Imported) -> None:
    """Each file is used or listed once, used ones byte for byte."""
    files = {
        f"{photos.name}/{Path(at, name).relative_to(photos)}"
        for at, folders, names in os.walk(photos)
        for name in [*names, *(f for f in folders if Path(at, f).is_symlink())]
    }
    lines = [json.loads(line) for line in (session.folder / FILE).read_text().splitlines()]
    named = Counter(line.get("file", line.get("name")) for line in lines)
    assert set(named) == files and max(named.values()) == 1
    assert all(line.get("reason") or line.get("frame") for line in lines)
    for line in lines:
        if "frame" in line:
            stored = (session.folder / line["frame"]).read_bytes()
            assert stored == (photos / line["file"].split("/", 1)[1]).read_bytes()
    assert done.frames + len(done.not_used) == len(files)
    reasons = _reasons(done)
    assert "set the phone to JPEG" in reasons["photos/IMG_1.HEIC"] and "HEIC" in reasons["photos/IMG_2.jpg"]
    assert "ends early" in reasons["photos/half.jpg"] and reasons["photos/empty.jpg"] == "the file is empty"
    assert reasons["photos/photos 7.jpg"] == "has the same bytes as photos/again.jpg"
    assert "its folder says clean" in reasons["photos/clean/wrong arm.jpg"]
    assert "a link to a folder" in reasons["photos/loop"] and "a device, a pipe" in reasons["photos/pipe.jpg"]
    assert any(reason.startswith("its tags are of sheet 77") for reason in reasons.values())


def test_a_folder_that_has_grown_is_imported_again(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    session = _session(tmp_path / "s", sheets)
    _put(
        photos / "a.jpg", written(tagged(*sheets[0], Stand(450, 0, seed=1), *SIZE), ".jpg", Exif("2026:05:01 12:00:00"))
    )
    first = _import(session, photos)
    again = _import(session, photos)
    assert first.frames == 1 and not first.is_known
    assert again.frames == 0 and again.is_known and _reasons(again)["photos/a.jpg"] == "is stored already, in pass 0"
    photos.joinpath("b.jpg").write_bytes(b"")
    _put(
        photos / "c.jpg", written(tagged(*sheets[1], Stand(450, 0, seed=2), *SIZE), ".jpg", Exif("2026:05:01 12:09:00"))
    )
    grown = _import(session, photos)
    assert grown.frames == 1 and not grown.is_known
    assert {line.get("file", line.get("name")): "frame" in line for line in grown.lines} == {
        "photos/a.jpg": False, "photos/b.jpg": False, "photos/c.jpg": True
    }  # fmt: skip
    kept = [json.loads(line) for line in (session.folder / FILE).read_text().splitlines()]
    assert sorted(line.get("frame", "none").split("/")[0] for line in kept) == ["frames", "frames", "none"]


@pytest.mark.full
def test_nothing_is_lost(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    session = _session(tmp_path / "s", sheets)
    marks = _mixed(sheets, photos, 15)
    _check_nothing_lost(session, photos, _import(session, photos, marks=marks))


@pytest.mark.full
def test_two_hundred_photographs(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    session = _session(tmp_path / "s", sheets)
    marks = _mixed(sheets, photos, 200)
    done = _import(session, photos, marks=marks)
    _check_nothing_lost(session, photos, done)
    assert done.frames > 120


def test_the_sheet_for_two_reasons_of_doubt(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    session, photos = _session(tmp_path / "s", sheets), tmp_path / "photos"
    both = tagged(*sheets[0], Stand(800, 0, seed=1, x=-0.3), 960, 480)
    other = tagged(*sheets[1], Stand(800, 0, seed=1, x=0.3), 960, 480)
    both[:, 480:] = other[:, 480:]
    _put(photos / "both.png", written(both, ".png", Exif()))
    tiny = bare(*sheets[0], Stand(800, 0), *SIZE)
    key = _put(photos / "clean" / "tiny.png", written(tiny, ".png", Exif()))
    mark = Mark("corners", ((0.5, 0.5), (0.505, 0.5), (0.505, 0.505), (0.5, 0.505)))
    reasons = _reasons(_import(session, photos, marks={key: mark}))
    assert reasons["photos/both.png"].startswith("two sheets are in the picture")
    assert reasons["photos/clean/tiny.png"].startswith("the object is 3 x 2 pixels, less than 8")


def _one_tag(rgb: Picture, keep: int = 1) -> Picture:
    """All tags but the first so many painted over."""
    out = rgb.copy()
    (found,) = find_sheets(rgb)
    for place in sorted(found.corners)[keep:]:
        cv2.fillConvexPoly(out, np.rint(found.corners[place]).astype(np.int32), (128, 128, 128))
    return out


def _mark(sheet: Sheet, stand: Stand, number: int | None = None) -> Mark:
    points = tuple((float(x), float(y)) for x, y in (object_corners(sheet, stand, *SIZE) + 0.5) / SIZE)
    return Mark("corners", points, number)


def test_a_single_tag_names_the_sheet_and_may_not_be_contradicted(
    sheets: list[tuple[Sheet, Picture]], tmp_path: Path
) -> None:
    session, photos = _session(tmp_path / "s", sheets), tmp_path / "photos"
    stand, marks = Stand(450, 0, seed=1), dict[str, Mark]()
    rgb = _one_tag(tagged(*sheets[1], stand, *SIZE))  # of the plain arm, number 11
    for k, (name, number) in enumerate((("a.jpg", None), ("clean/b.jpg", None), ("c.jpg", 10), ("plain/d.jpg", None))):
        key = _put(photos / name, written(rgb, ".jpg", Exif(f"2026:05:01 12:0{k}:00"), 85 + k))
        marks[key] = _mark(sheets[1][0], stand, number)
    done = _import(session, photos, marks=marks)
    reasons = _reasons(done)
    assert "its tags say sheet 11 (plain), its folder says clean" in reasons["photos/clean/b.jpg"]
    assert "a tag says sheet 11 (plain), it is marked as sheet 10 (clean)" in reasons["photos/c.jpg"]
    assert [one.sheet for one in session.passes] == [11, 11] and len(reasons) == 2


def test_tags_of_another_session_are_not_marked_away(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    session, photos = _session(tmp_path / "s", sheets), tmp_path / "photos"
    stand, marks = Stand(450, 0, seed=1), dict[str, Mark]()
    for k, keep in enumerate((4, 1)):
        rgb = _one_tag(tagged(*made_sheet("stop", "clean", number=77), stand, *SIZE), keep)
        key = _put(photos / "clean" / f"{keep}.jpg", written(rgb, ".jpg", Exif(f"2026:05:01 12:0{k}:00")))
        marks[key] = _mark(sheets[0][0], stand)
    looked = look_at_all(session, [photos], Lens(str(session.folder), None, 3.0), 1)
    assert [one.file.path.name for one in to_be_marked(looked)] == ["1.jpg"]  # one stray tag may be a phantom
    done = _import(session, photos, marks=marks)
    assert done.frames == 1 and _reasons(done)["photos/clean/4.jpg"].startswith("its tags are of sheet 77")


def test_corners_that_no_flat_object_has_are_refused(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    session, photos = _session(tmp_path / "s", sheets), tmp_path / "photos"
    key = _put(photos / "clean" / "a.jpg", written(bare(*sheets[0], Stand(450, 0), *SIZE), ".jpg", Exif()))
    kite = Mark("corners", ((0.4, 0.4), (0.6, 0.4), (0.9, 0.9), (0.4, 0.6)))
    done = _import(session, photos, marks={key: kite})
    assert (
        _reasons(done)["photos/clean/a.jpg"] == "the marked corners fit no flat object of 120 x 120 mm: mark them again"
    )


def test_pictures_turned_away_from_the_plan_are_said(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    session, photos = _session(tmp_path / "s", sheets), tmp_path / "photos"
    for k, angle in enumerate((30.0, 50.0)):
        rgb = tagged(*sheets[0], Stand(450, angle, seed=1), *SIZE)
        _put(photos / f"{k}.jpg", written(rgb, ".jpg", Exif(f"2026:05:01 12:0{k}:00")))
    notes = _import(session, photos).notes
    assert any(note.startswith("1 pictures are turned more than 10 degrees off every angle") for note in notes)


def test_photographs_beside_a_film_are_a_pass_of_their_own(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    session, photos = _session(tmp_path / "s", sheets), tmp_path / "photos"
    photos.mkdir()
    rgb = tagged(*sheets[0], Stand(450, 0, seed=1), *SIZE)
    film(photos / "still.mp4", [rgb] * 3)
    assert _import(session, photos).passes == 1
    _put(photos / "a.jpg", written(rgb, ".jpg", Exif(None)))
    assert _import(session, photos).passes == 1


def test_a_strangers_corners_are_refused(recorded: Session) -> None:
    journal = recorded.folder / "passes.jsonl"
    good = journal.read_text()
    corners = json.dumps(json.loads(good.splitlines()[0])["frames"][0]["corners"], separators=(",", ":"))
    for wrong in (
        "[[0,0],[0,0],[0,0],[0,0]]",
        "[[NaN,0],[2,0],[2,1],[0,1]]",
        "[[0,0],[1e99,0],[1,1],[0,1]]",
        "[[0,0]]",
    ):
        assert corners in good
        journal.write_text(good.replace(corners, wrong))
        with pytest.raises(InputError, match="damaged"):
            Session(recorded.folder)


def test_damaged_marks_are_refused(tmp_path: Path) -> None:
    for text in ("{", '{"schema": 2}', '{"schema": 1, "marks": {"a": {"kind": "corners", "points": [[0, 0]]}}}'):
        (tmp_path / "marks.json").write_text(text)
        with pytest.raises(InputError):
            read_marks(tmp_path)


@pytest.mark.parametrize(
    ("head", "suffix", "kind"),
    [
        (b"\0\0\0\x18ftypmif1", ".heic", "heic"), (b"\0\0\0\x14ftypqt  ", ".MOV", "film"),
        (b"RIFF\0\0\0\0AVI ", ".avi", "film"), (b"RIFF\0\0\0\0WEBP", ".jpg", "photograph"),
        (b"II*\0", ".NEF", "raw"), (b"hello", ".jpg", "other"), (b"hello", ".heif", "heic"),
    ],
)  # fmt: skip
def test_kinds_of_files(head: bytes, suffix: str, kind: str) -> None:
    assert kind_of(head, suffix) == kind


def test_time_and_lens_of_exif() -> None:
    rgb = np.zeros((30, 40, 3), np.uint8)
    noon = read_shot(written(rgb, ".jpg", Exif("2026:05:01 12:00:00", None, None))).taken_at
    east = read_shot(written(rgb, ".jpg", Exif("2026:05:01 12:00:00", "5", "+02:00")))
    assert noon is not None and east.taken_at == noon - 7200 + 0.5 and east.focal_35_mm == 29
    for taken, zone in (("0000:00:00 00:00:00", None), ("yesterday", "+99:99"), (None, None)):
        shot = read_shot(written(rgb, ".png", Exif(taken, "x", zone, focal=False)))
        assert shot.taken_at is None and shot.focal_35_mm is None
    assert read_shot(b"nothing").taken_at is None


def test_a_list_of_files_that_is_damaged_is_said_before_anything_is_stored(
    sheets: list[tuple[Sheet, Picture]], tmp_path: Path
) -> None:
    session, photos = _session(tmp_path / "s", sheets), tmp_path / "photos"
    _put(photos / "a.jpg", written(tagged(*sheets[0], Stand(450, 0, seed=1), *SIZE), ".jpg", Exif()))
    (session.folder / FILE).write_text("[1]\n")
    with pytest.raises(InputError, match=r"import\.jsonl is damaged"):
        _import(session, photos)
    assert session.passes == [] and Session(session.folder).passes == []


def test_a_link_to_itself_is_one_line(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> None:
    _session(tmp_path / "s", sheets)
    (tmp_path / "ring.jpg").symlink_to(tmp_path / "ring.jpg")
    done = here("fieldtest", "import", tmp_path / "ring.jpg", "--plan", tmp_path / "s")
    assert done.returncode == 1 and "cannot be read: Too many levels of symbolic links" in done.stdout
