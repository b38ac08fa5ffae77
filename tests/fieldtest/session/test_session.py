import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fieldtest.conftest import play
from pictures import decode_bgr

from edgeguard.camera import Applied
from edgeguard.camera.source import Captured, Lost
from edgeguard.errors import DeviceError, InputError
from edgeguard.fieldtest.analysis.score import read_scores
from edgeguard.fieldtest.session.guide import Guide, Observation, Situation, observe
from edgeguard.fieldtest.session.plan import Cell, Plan, make_plan, passes_for_interval, read_plan, write_plan
from edgeguard.fieldtest.session.record import Status, record, record_drive_by
from edgeguard.fieldtest.session.session import Session
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet
from edgeguard.fieldtest.sheets.tags import Pose
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand, VirtualField, drive_by, open_virtual_field

Sheets = list[tuple[Sheet, Picture]]


def _painter(sheets: Sheets, index: int = 0) -> SheetPainter:
    return SheetPainter(*sheets[index])


class TestPlan:
    def test_it_comes_back(self, plan: Plan, tmp_path: Path) -> None:
        write_plan(tmp_path, plan)
        assert read_plan(tmp_path) == plan and len(plan.cells()) == 4

    def test_sample_sizes_are_wilsons(self) -> None:
        """The reference table: full widths at p = .5 for n = 20, 50, 100, 200, 385."""
        for n, points in ((20, 40), (50, 27), (100, 19), (200, 14), (385, 10)):
            wanted = passes_for_interval((points + 0.5) / 100)
            assert abs(wanted - n) <= 0.12 * n

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"numbers": (10, 10, 12)}, "same tags"), ({"arms": ("plain", "noise")}, "no clean sheet"),
            ({"distances": ()}, "distance"), ({"lights": ("a", "a")}, "light"), ({"print_scale": 2.0}, "print scale"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_planned(self, change: dict[str, Any], said: str, sheets: Sheets) -> None:
        chosen = [sheet for sheet, _ in sheets if sheet.arm in change.get("arms", ("clean", "plain", "noise"))]
        numbers = change.get("numbers", (10, 11, 12))
        chosen = [replace(s, number=n) for s, n in zip(chosen, numbers, strict=False)]
        with pytest.raises(InputError, match=said):
            make_plan(
                chosen, change.get("distances", (500,)), (0,), change.get("lights", ("a",)), 2,
                print_scale=change.get("print_scale", 1.0),
            )  # fmt: skip

    def test_a_patch_for_another_model(self, sheets: Sheets) -> None:
        patch = replace(sheets[1][0], arm="patch", model_sha256="aa", target="yield")
        with pytest.raises(InputError, match="another model"):
            make_plan([sheets[0][0], patch], (500,), (0,), ("a",), 2, model_sha256="bb")

    def test_frontal_poses_get_the_slack_of_their_uncertainty(self, plan: Plan) -> None:
        assert plan.cell_at(455, 5, 1, "bright") == Cell(450, 0, "bright")
        assert plan.cell_at(455, 11, 6, "bright") == Cell(450, 0, "bright")
        assert plan.cell_at(455, 11, 1, "bright") is None and plan.cell_at(600, 0, 1, "bright") is None


class TestObserve:
    def test_a_sheet_where_it_stands(self, plan: Plan, sheets: Sheets) -> None:
        frame = _painter(sheets, 1).frame(Stand(500, 30))
        seen = observe(frame, plan)
        assert seen.situation is Situation.HOLD and seen.sheet == 11 and seen.tags == 4 and seen.pose is not None
        assert abs(seen.pose.distance_mm / 500 - 1) < 0.02 and abs(seen.pose.angle_deg - 30) < 3

    def test_the_measured_bar_corrects_distances(self, plan: Plan, sheets: Sheets) -> None:
        seen = observe(_painter(sheets).frame(Stand(500, 30)), replace(plan, print_scale=0.95))
        assert seen.pose is not None and seen.pose.distance_mm == pytest.approx(475, rel=0.02)

    def test_what_cannot_be_recorded(self, plan: Plan, sheets: Sheets) -> None:
        assert observe(np.full((480, 640, 3), 90, np.uint8), plan).situation is Situation.EMPTY
        foreign = SheetPainter(*made_sheet("stop", "clean", number=77)).frame(Stand(500))
        assert observe(foreign, plan).situation is Situation.FOREIGN
        burnt = _painter(sheets).frame(Stand(500, exposure=1.6))
        assert observe(burnt, plan).situation is Situation.BURNT
        one, other = (_painter(sheets, k).frame(Stand(800))[:, 160:480] for k in (0, 1))
        assert observe(np.concatenate([one, other], 1), plan).situation is Situation.TWO_SHEETS
        hidden = _painter(sheets).frame(Stand(500))
        hidden[:, 320:] = 90
        hidden[260:] = 90
        assert observe(hidden, plan).situation is Situation.TAGS_HIDDEN
        bent = _painter(sheets).frame(Stand(450))
        bent[:, 320:] = np.roll(bent[:, 320:], 40, axis=0)
        assert observe(bent, plan).situation is Situation.BENT


class TestGuide:
    CELL = Cell(450.0, 0.0, "bright")

    def _hold(self, distance: float = 450.0) -> Observation:
        return Observation(Situation.HOLD, 10, Pose(distance, 1.0, 1.0, 0.1), 4)

    def _guide(self, plan: Plan, passes: int = 2) -> Guide:
        return Guide(plan, Counter({(10, self.CELL): passes}))

    def test_a_sheet_that_stays_is_one_pass(self, plan: Plan) -> None:
        guide = self._guide(plan)
        found = [guide.step(self._hold(), "bright") for _ in range(9)]
        assert [advice.finished for advice in found] == [False, False, True] + [False] * 6
        assert {advice.situation for advice in found[3:]} == {Situation.TAKE_AWAY}

    def test_it_has_to_leave_before_the_next_pass(self, plan: Plan) -> None:
        guide = self._guide(plan)
        for _ in range(3):
            guide.step(self._hold(), "bright")
        guide.step(Observation(Situation.EMPTY), "bright")  # one frame without tags may be a blur
        assert guide.step(self._hold(), "bright").situation is Situation.TAKE_AWAY
        for _ in range(2):
            guide.step(Observation(Situation.EMPTY), "bright")
        assert [guide.step(self._hold(), "bright").finished for _ in range(3)] == [False, False, True]
        assert guide.next_wanted("bright") is None

    def test_an_interrupted_pass_begins_again(self, plan: Plan) -> None:
        guide = self._guide(plan)
        guide.step(self._hold(), "bright")
        guide.step(self._hold(600), "bright")
        assert [guide.step(self._hold(), "bright").held for _ in range(3)] == [1, 2, 3]

    def test_complete_positions_are_said(self, plan: Plan) -> None:
        assert self._guide(plan, 0).step(self._hold(), "bright").situation is Situation.DONE_HERE


@pytest.mark.full
def test_a_session_is_recorded_and_frames_are_the_cameras_bytes(session: Session, sheets: Sheets) -> None:
    status = play(session, sheets)
    assert len(session.passes) == status.wanted == 24 and not session.missing() and status.next_wanted is None
    again = Session(session.folder)
    assert again.passes == session.passes and again.recover() == []
    for done in again.passes:
        assert len(done.frames) == 3 and done.cell is not None
        for frame in done.frames:
            assert again.read_frame(frame)[:2] == b"\xff\xd8" and frame.tags >= 2 and frame.jpeg_tables is not None
            assert abs(frame.distance_mm / done.cell.distance_mm - 1) < 0.12
    repeats = Counter((done.sheet, done.cell, done.repeat) for done in again.passes)
    assert set(repeats.values()) == {1}


class _Unplugged:
    """A camera that goes away after some frames."""

    name, live, applied = "unplugged", False, Applied()

    def __init__(self, painter: SheetPainter, after: int) -> None:
        self.field, self.after = VirtualField(painter, [Stand(450), Stand(800)], shots=10), after

    def frames(self) -> Iterator[Captured | Lost]:
        for index, frame in enumerate(self.field.frames()):
            if index == self.after:
                raise DeviceError("the camera is gone")
            yield frame

    def close(self) -> None:
        pass


@pytest.mark.full
def test_nothing_is_lost_when_the_camera_is_unplugged(session: Session, sheets: Sheets) -> None:
    status = Status("bright", 0, 24)
    with pytest.raises(DeviceError):
        record(session, _Unplugged(_painter(sheets), 12), status, lambda advice, stored: None)
    kept = Session(session.folder)
    assert len(kept.passes) == 1 and kept.passes[0].cell == Cell(450, 0, "bright") and status.done == 1
    play(kept, sheets)
    assert not kept.missing() and len(kept.passes) == 24


def test_a_power_cut_leaves_no_half_pass(recorded: Session, sheets: Sheets) -> None:
    journal = recorded.folder / "passes.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-40])  # the last line is torn; its frames lie there without a line
    cut = Session(recorded.folder)
    assert len(cut.passes) == 23
    said = cut.recover()
    assert len(said) == 2 and "half-written" in said[0] and "unfinished" in said[1]
    assert not (recorded.folder / "frames" / "00023").exists()
    play(cut, sheets)
    assert len(Session(recorded.folder).passes) == 24


def test_sessions_are_not_mixed(recorded: Session, plan: Plan) -> None:
    write_plan(recorded.folder, replace(plan, session="another"))
    with pytest.raises(InputError, match="another session"):
        Session(recorded.folder)


@pytest.mark.parametrize("name", ["frames", "passes.jsonl", "plan.json"])
def test_a_strangers_session_clears_and_writes_nothing_elsewhere(session: Session, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    (victim / "00007").mkdir(parents=True)
    (victim / "00007" / "letter.txt").write_text("mine")
    (victim / "plan.json").write_bytes((session.folder / "plan.json").read_bytes())
    place = session.folder / name
    if place.is_dir():
        place.rmdir()
    place.unlink(missing_ok=True)
    place.symlink_to(victim if name == "frames" else victim / name)
    with pytest.raises(InputError, match=f"{name} is a link: what is written here has to lie in"):
        Session(session.folder)
    assert (victim / "00007" / "letter.txt").read_text() == "mine" and not (victim / "passes.jsonl").exists()


def test_only_folders_of_passes_are_cleared(session: Session, tmp_path: Path) -> None:
    elsewhere, frames = tmp_path / "elsewhere", session.folder / "frames"
    (frames / "00003").mkdir(parents=True)
    (frames / "my notes").mkdir()
    elsewhere.mkdir()
    (elsewhere / "letter.txt").write_text("mine")
    (frames / "00004").symlink_to(elsewhere)
    assert session.recover() == ["00003: frames of an unfinished pass were dropped"]
    assert (elsewhere / "letter.txt").exists() and (frames / "my notes").exists()


def test_folders_of_other_versions_and_damaged_journals(session: Session) -> None:
    journal = session.folder / "passes.jsonl"
    journal.write_bytes(b"no json\n{}\n")
    with pytest.raises(InputError, match="damaged"):
        Session(session.folder)
    journal.write_bytes(b'{"schema": 7}\n')
    with pytest.raises(InputError, match="another version"):
        Session(session.folder)
    plan_file = session.folder / "plan.json"
    plan_file.write_text(json.dumps({**json.loads(plan_file.read_text()), "schema": 2}))
    with pytest.raises(InputError, match="version 2"):
        Session(session.folder)
    with pytest.raises(InputError, match="not a session"):
        Session(session.folder / "nowhere")


def test_a_truncated_frame_is_found(recorded: Session) -> None:
    frame = recorded.passes[0].frames[0]
    path = recorded.folder / frame.file
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="truncated or changed"):
        recorded.read_frame(frame)


def test_a_full_disk_is_a_device_error(session: Session, sheets: Sheets, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DeviceError, match="No space left"):
        play(session, sheets)
    monkeypatch.undo()
    assert Session(session.folder).passes == []


@pytest.mark.full
def test_a_drive_by_is_one_pass_binned_by_frame(session: Session, sheets: Sheets) -> None:
    field = VirtualField(_painter(sheets), drive_by(3, frames=20))
    record_drive_by(session, field, Status("bright", 0, 24), lambda advice, stored: None)
    (done,) = session.passes
    assert done.cell is None and len(done.frames) >= 15
    assert len({frame.cell.distance_mm for frame in done.frames}) == 2
    assert all(abs(f.distance_mm / s.distance_mm - 1) < 0.03 for f, s in zip(done.frames, field.stands, strict=False))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("synthetic:field?colour=red", "colour"), ("synthetic:field?path=sideways", "path is"),
        ("synthetic:field?width=0", "width is 16 to 8192"), ("synthetic:field?frames=-3", "frames is 1 to"),
        ("synthetic:field?exposure=nan", "exposure is 0 to"), ("synthetic:field?distance=0", "distance is 1 to"),
        ("synthetic:field?distance=far", "could not convert"), ("synthetic:field?card=tree", "no card"),
    ],
)  # fmt: skip
def test_wrong_addresses_of_a_field(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_virtual_field(spec)


def test_a_field_by_its_address() -> None:
    field = open_virtual_field(
        "synthetic:field?card=yield&arm=noise&path=drive-by&frames=4&width=320&height=240&light=dim"
    )
    frames = [decode_bgr(frame.jpeg or b"") for frame in field.frames()]
    assert len(frames) == len(field) == 4 and frames[0].shape == (240, 320, 3)
    assert field.truth(0).distance_mm > field.truth(3).distance_mm and field.truth(0).light == "dim"


def _spoil(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of JSON data with one value changed."""
    if not path:
        return new
    copied = list(value) if isinstance(value, list) else dict(value)
    copied[path[0]] = _spoil(copied[path[0]], path[1:], new)
    return copied


_RANGE = [float(place) for place in range(1000)]


@pytest.mark.parametrize(
    ("path", "new", "said"),
    [
        (("passes",), "x", "passes"), (("passes",), 0, "out of range"), (("frames",), True, "frames"),
        (("distances_mm",), [10**400], "64 bits"), (("distances_mm",), [float("inf")], "no finite number"),
        (("angles_deg",), [], "at least one"), (("lights",), [5], "str"), (("sheets",), [5], "sheet"),
        (("sheets", 0, "label"), 5, "str"), (("sheets", 0, "number"), 1.5, "int"),
        (("sheets", 1, "overlay", "center_mm"), [10**400, 0], "64 bits"), (("field_of_view_deg",), 1e9, "out of range"),
        (("distances_mm",), _RANGE * 20, "wants 240000 passes"),
    ],
)  # fmt: skip
def test_a_plan_of_a_stranger_is_refused_in_one_line(
    session: Session, path: tuple[Any, ...], new: Any, said: str
) -> None:
    place = session.folder / "plan.json"
    place.write_text(json.dumps(_spoil(json.loads(place.read_text()), path, new)))
    with pytest.raises(InputError, match=said) as refused:
        Session(session.folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (("frames",), [5]), (("frames", 0, "file"), 5), (("frames", 0, "distance_mm"), 10**400),
        (("frames", 0, "exposure"), {"iso": "x"}), (("frames", 0, "exposure"), dict.fromkeys("abcdefghijklmnopq", 0.0)),
        (("frames", 0, "live"), 7), (("sheet",), None), (("repeat",), []),
        (("cell", "distance_mm"), []), (("cell", "light"), 5), (("number",), float("inf")),
    ],
)  # fmt: skip
def test_a_journal_of_a_stranger_is_refused_in_one_line(recorded: Session, path: tuple[Any, ...], new: Any) -> None:
    journal = recorded.folder / "passes.jsonl"
    first = json.loads(journal.read_text().splitlines()[0])
    journal.write_text(json.dumps(_spoil(first, path, new)) + "\n")
    with pytest.raises(InputError, match=r"passes\.jsonl:1 is damaged"):
        Session(recorded.folder)


def test_a_journal_of_very_many_frames_is_refused(recorded: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a gigabyte of them took 1.3 GB and a minute."""
    stored = sum(len(done.frames) for done in recorded.passes)
    monkeypatch.setattr("edgeguard.fieldtest.session.session._MOST_FRAMES", stored)
    session = Session(recorded.folder)
    assert session.passes == recorded.passes
    done = session.passes[0]
    with pytest.raises(InputError, match="would hold more than .* frames"):
        session.store(done.sheet, done.cell, [], [{}])
    assert Session(recorded.folder).passes == recorded.passes, "nothing of a pass too many was written"
    monkeypatch.setattr("edgeguard.fieldtest.session.session._MOST_FRAMES", stored - 1)
    with pytest.raises(InputError, match="more than .* frames"):
        Session(recorded.folder)


def test_angles_have_no_side_and_sheets_their_own_tags(sheets: Sheets) -> None:
    clean, plain = sheets[0][0], dataclasses.replace(sheets[1][0], number=sheets[0][0].number)
    with pytest.raises(InputError, match="without its side"):
        make_plan([clean], (450,), (-30, 30), ("bright",), passes=1)
    with pytest.raises(InputError, match=r"same tags \(stop, clean and stop, plain\)"):
        make_plan([clean, plain], (450,), (0,), ("bright",), passes=1)
    with pytest.raises(InputError, match="same tags"):
        make_plan([clean, clean], (450,), (0,), ("bright",), passes=1)


def test_a_plan_of_too_many_passes_is_refused_before_they_are_listed(sheets: Sheets) -> None:
    with pytest.raises(InputError, match="wants 1000000000 passes"):
        make_plan([sheets[0][0]], _RANGE, _RANGE, [str(place) for place in range(1000)], 1)


@pytest.mark.parametrize("name", ["plan.json", "passes.jsonl"])
@pytest.mark.parametrize("kind", ["a link", "a device", "larger"])
def test_a_session_is_made_of_plain_files(session: Session, name: str, kind: str) -> None:
    place = session.folder / name
    place.unlink(missing_ok=True)
    if kind == "a link":
        place.symlink_to("/dev/zero")
    elif kind == "larger":
        with place.open("wb") as stream:
            stream.truncate(1 << 40)
    else:
        os.mkfifo(place)  # waits for ever for whoever reads it as a file
    with pytest.raises(InputError, match=kind):
        Session(session.folder)


def test_what_is_missing_is_counted_in_one_look(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "count", lambda *_: pytest.fail("each cell looks at every pass"))
    assert sum(session.missing().values()) == 24


def test_a_model_that_answers_nan_leaves_its_recording_readable(recorded: Session) -> None:
    journal = recorded.folder / "passes.jsonl"
    first = json.loads(journal.read_text().splitlines()[0])
    live = {
        "model": "m",
        "guard": "none",
        "index": 1,
        "score": float("nan"),
        "alarm": False,
        "pass1": "none",
        "ms": 1.0,
    }
    journal.write_text(json.dumps(_spoil(first, ("frames", 0, "live"), live)) + "\n")
    found = Session(recorded.folder).passes[0].frames[0].live
    assert found is not None and found.score != found.score


@pytest.mark.parametrize("said", ["[]", '{"labels": 5}', "5", '{"schema": 1}\n5', "1" * 400])
def test_scores_of_a_stranger_are_refused_in_one_line(session: Session, said: str) -> None:
    (session.folder / "scores.jsonl").write_text(said + "\n")
    with pytest.raises(InputError, match="score again"):
        read_scores(session.folder)


@pytest.mark.parametrize(
    ("path", "new", "said"),
    [
        (("number",), 7, "says that it is pass 7"), (("number",), -1, "says that it is pass -1"),
        (("sheet",), 99, "the plan has no sheet 99"), (("frames",), [], "a pass without frames"),
        (("frames", 0, "captured_at"), float("nan"), "a time or a distance"),
        (("frames", 0, "captured_at"), 1e300, "a time or a distance"),
        (("frames", 0, "distance_mm"), 0.0, "a time or a distance"),
        (("frames", 0, "angle_deg"), float("inf"), "an angle is no number"),
        (("frames", 0, "cell", "distance_mm"), float("nan"), "a position is out of range"),
        (("cell", "angle_deg"), float("nan"), "a position is out of range"),
    ],
)  # fmt: skip
def test_a_pass_contradicts_neither_its_place_nor_the_plan(
    recorded: Session, path: tuple[Any, ...], new: Any, said: str
) -> None:
    """Scores and reports look both up by their numbers: `fieldtest score` ended in exit code 70."""
    journal = recorded.folder / "passes.jsonl"
    first, *others = journal.read_text().splitlines()
    journal.write_text("\n".join([json.dumps(_spoil(json.loads(first), path, new)), *others, ""]))
    with pytest.raises(InputError, match=rf"passes\.jsonl:1 is damaged: .*{said}"):
        Session(recorded.folder)


@pytest.mark.parametrize("kind", ["a file", "a pipe"])
def test_what_is_no_folder_among_the_frames_stays(recorded: Session, kind: str) -> None:
    place = recorded.folder / "frames" / "00099"
    place.write_bytes(b"") if kind == "a file" else os.mkfifo(place)
    assert recorded.recover() == [] and place.exists()
