import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from fieldtest.conftest import play

from edgeguard.demo.assets import bundled_clip, bundled_model
from edgeguard.errors import CheckFailed, InputError
from edgeguard.fieldtest.analysis.comparison import Comparison
from edgeguard.fieldtest.analysis.findings import findings
from edgeguard.fieldtest.analysis.paired import Difference
from edgeguard.fieldtest.analysis.report import html_report, text_report
from edgeguard.fieldtest.analysis.score import (
    Outcome,
    Scores,
    _frame,
    _Job,
    check_scorable,
    read_scores,
    score,
    write_scores,
)
from edgeguard.fieldtest.session.plan import make_plan, write_plan
from edgeguard.fieldtest.session.session import FrameRecord, Pass, Session
from edgeguard.fieldtest.sheets.sheet import Overlay, Picture, Sheet
from edgeguard.guard.passes import receive_jpeg, received_tensor
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.model import load_model
from edgeguard.patchguard import patch_guard

LABELS = ("background", "stop", "yield")
GUARDS = ("off", "fd")


@pytest.mark.full
def test_a_session_scored_is_what_the_device_says(recorded: Session) -> None:
    scores = score(recorded.folder, bundled_model(), ["off", "contract", "lgs", "recompression"], workers=2)
    frames = sum(len(done.frames) for done in recorded.passes)
    assert len(scores.outcomes) == 4 * frames and scores.unreadable == () and read_scores(recorded.folder) == scores
    model = load_model(bundled_model())
    contract = model.contract
    for outcome in [o for o in scores.outcomes if o.guard == "contract"][:6]:
        data = recorded.read_frame(recorded.passes[outcome.number].frames[outcome.shot])
        tensor = received_tensor(receive_jpeg(data, contract.guard.profile), contract, contract.guard.profile)
        assert outcome.index == int(model.infer(tensor).argmax()) and outcome.pass1 == "none"
    for outcome in [o for o in scores.outcomes if o.guard == "recompression"][:6]:
        data = recorded.read_frame(recorded.passes[outcome.number].frames[outcome.shot])
        from edgeguard.preprocess.crop_resize import crop_and_resize

        pixels = crop_and_resize(decode_rgb(data), contract.input, contract.preprocess)
        assert outcome.alarm == patch_guard("recompression")(pixels).alarm
    found = findings(recorded, scores)
    assert {arm.sheet.arm for arm in found.arms} == {"clean", "plain", "noise"}
    assert found.costs[0].clean.n == 24 and found.costs[0].change is None and found.costs[1].change is not None


@pytest.mark.full
def test_the_live_arm_is_what_ran_while_recording(
    session: Session, sheets: list[tuple[Sheet, Picture]], recorded: Session
) -> None:
    play(session, sheets, bundled_model())
    scores = score(session.folder, bundled_model(), ["off", "contract", "live"], workers=1)
    by_guard = {g: [(o.number, o.shot, o.index) for o in scores.outcomes if o.guard == g] for g in scores.guards}
    assert by_guard["live"] == by_guard["contract"] and len(by_guard["live"]) == 72
    found = findings(Session(session.folder), scores)
    assert any("says otherwise on 0 of 72 frames" in note for note in found.notes)
    assert [cost.guard for cost in found.costs] == ["off", "contract", "live"]
    with pytest.raises(InputError, match="no live arm: record with --model"):
        score(recorded.folder, bundled_model(), ["off", "live"], workers=1)


def test_damaged_frames_are_counted_and_said(recorded: Session) -> None:
    frame = recorded.folder / recorded.passes[0].frames[0].file
    frame.write_bytes(frame.read_bytes()[:100])
    told = list[tuple[int, int]]()
    scores = score(recorded.folder, bundled_model(), ["off"], 1, lambda *shown: told.append(shown))
    total = sum(len(done.frames) for done in recorded.passes)
    assert told == [(done, total) for done in range(total + 1)]  # the first before a process is ready
    assert len(scores.unreadable) == 1 and "truncated" in scores.unreadable[0]
    assert any("could not be read" in note for note in findings(recorded, scores).notes)


def test_a_process_that_scores_reads_no_journal(recorded: Session) -> None:
    """Each read all of it, half a minute of 100,000 frames, before anything was said."""
    first = recorded.passes[0]
    (recorded.folder / "passes.jsonl").write_text("it is not read\n")
    found, said = _frame(str(recorded.folder), str(bundled_model()), ("off",), _Job(0, 0, first.sheet, first.frames[0]))
    assert len(found) == 1 and not said


@pytest.mark.full
def test_double_masking_of_a_frame(recorded: Session) -> None:
    keep = recorded.passes[:1]
    (recorded.folder / "passes.jsonl").write_bytes(
        (recorded.folder / "passes.jsonl").read_bytes().split(b"\n")[0] + b"\n"
    )
    scores = score(recorded.folder, bundled_model(), ["off", "double-masking"], workers=1)
    assert len(scores.outcomes) == 2 * len(keep[0].frames)


def test_what_cannot_be_scored(recorded: Session, session: Session) -> None:
    with pytest.raises(InputError, match="no guard 'lgz'"):
        score(recorded.folder, bundled_model(), ["off", "lgz"])
    with pytest.raises(InputError, match="no passes"):
        score(session.folder, bundled_model(), ["off"])
    with pytest.raises(InputError):
        score(recorded.folder, bundled_clip(), ["off"])
    with pytest.raises(InputError, match="not scored"):
        read_scores(recorded.folder)
    (recorded.folder / "scores.jsonl").write_text("{}\n{]\n")
    with pytest.raises(InputError, match="damaged"):
        read_scores(recorded.folder)
    with pytest.raises(
        InputError,
        match=r"has no label 'tram', which the clean sheet of 'stop' wants; it has the labels background, stop,",
    ):
        check_scorable(load_model(bundled_model()), bundled_model(), [Sheet(1, "stop", "tram", "clean")])
    with pytest.raises(InputError, match="has no label 'bus'"):
        check_scorable(load_model(bundled_model()), bundled_model(), [Sheet(1, "stop", "stop", "patch", target="bus")])
    for done in recorded.passes:
        for frame in done.frames:
            (recorded.folder / frame.file).write_bytes(b"")
    with pytest.raises(CheckFailed, match="nothing was scored: of 72 stored frames none can be used"):
        score(recorded.folder, bundled_model(), ["off"], workers=1)
    with pytest.raises(InputError, match="guard off"):
        findings(recorded, Scores(recorded.plan.session, "", LABELS, ("fd",), ()))


def _made_up(folder: Path, *, patch_hits: float, guarded_hits: float, repeats: int = 12) -> tuple[Session, Scores]:
    """A session without frames: clean and controls always right, the patch as often a success as said."""
    place = Overlay((0, 20), 38)
    sheets = [
        Sheet(1, "stop", "stop", "clean"), Sheet(2, "stop", "stop", "plain", overlay=place),
        Sheet(3, "stop", "stop", "noise", overlay=place),
        Sheet(4, "stop", "stop", "patch", overlay=place, target="yield", model_sha256="m"),
    ]  # fmt: skip
    plan = make_plan(sheets, (500, 800), (0, 30), ("bright", "dim"), passes=repeats, frames=2)
    write_plan(folder, plan)
    rng = np.random.default_rng(0)
    passes: list[Pass] = []
    outcomes: list[Outcome] = []
    for sheet in sheets:
        for cell in plan.cells():
            for repeat in range(repeats):
                number = len(passes)
                record = FrameRecord("frames/x.jpg", "", 0.0, cell.distance_mm, cell.angle_deg, 1.0, 4, cell, None, {})
                passes.append(Pass(plan.session, number, sheet.number, cell, repeat, (record, record)))
                for guard, rate in zip(GUARDS, (patch_hits, guarded_hits), strict=True):
                    hit = sheet.arm == "patch" and rng.random() < rate
                    for shot in range(2):
                        outcomes.append(Outcome(number, shot, guard, 2 if hit else 1, 0.9, False, "none", 1.0))
    session = Session(folder)
    session.passes = passes
    return session, Scores(plan.session, "m", LABELS, GUARDS, tuple(outcomes))


def test_a_patch_that_works_and_a_guard_that_helps(tmp_path: Path) -> None:
    found = findings(*_made_up(tmp_path, patch_hits=0.9, guarded_hits=0.3))
    assert len(found.comparisons) == 5 and all(c.difference.shown for c in found.comparisons)
    guard = found.comparisons[-1]
    assert "does guard fd change" in guard.question and guard.difference.mean == pytest.approx(-0.6, abs=0.15)
    patch = next(arm for arm in found.arms if arm.sheet.arm == "patch" and arm.guard == "off")
    assert patch.targeted.share == pytest.approx(0.9, abs=0.06) and patch.targeted.n == 8 * 12 * 2
    assert (
        patch.passes.n == 96 and sorted(patch.by_distance) == [500, 800] and sorted(patch.by_light) == ["bright", "dim"]
    )
    assert sum(c.n for c in patch.by_cell.values()) == patch.targeted.n
    assert "non-adaptive only" in found.notes[-1]


def test_no_effect_is_said_in_words(tmp_path: Path) -> None:
    found = findings(*_made_up(tmp_path, patch_hits=0.5, guarded_hits=0.5))
    assert found.comparisons[-1].answer.startswith("No effect was shown: the interval includes zero")
    lines = text_report(found)
    assert sum("No effect was shown" in line for line in lines) >= 1


def test_an_interval_without_zero_needs_the_test_as_well() -> None:
    assert "does not exclude chance" in Comparison("?", Difference(0.2, 0.01, 0.39, 0.06, 9)).answer


def test_a_control_that_does_more_is_no_patch_that_beats_it() -> None:
    answer = Comparison(
        "stop: does it beat the plain control, guard off?", Difference(-0.4, -0.5, -0.3, 0.001, 40)
    ).answer
    assert "the other way round: the control succeeds more often: -40 points" in answer


def test_a_control_that_leaves_no_room_is_named() -> None:
    none = Difference(0.0, -0.06, 0.06, 1.0, 13)
    answer = Comparison("badge: does it beat the plain control, guard off?", none, ("plain", 0.94)).answer
    assert answer.endswith("13 passes). The plain control alone succeeds on 94 %: there is no room for an effect.")
    assert Comparison("?", none, ("plain", 0.5)).answer.endswith("13 passes).")


def test_no_line_of_a_chart_is_lost(tmp_path: Path) -> None:
    session, scores = _made_up(tmp_path, patch_hits=1.0, guarded_hits=1.0, repeats=1)
    guards = ("off", *(f"g{k}" for k in range(9)))
    outcomes = tuple(replace(o, guard=guard) for o in scores.outcomes if o.guard == "off" for guard in guards)
    page = html_report(session, findings(session, replace(scores, guards=guards, outcomes=outcomes)))
    assert "Success by distance (2 of 2)" in page and "Success by angle (1 of 2)" in page
    for guard in guards:
        assert page.count(f"patch, {guard}") >= 2  # by distance and by angle


def test_frames_where_the_clean_object_fails_count_for_nothing(tmp_path: Path) -> None:
    session, scores = _made_up(tmp_path, patch_hits=1.0, guarded_hits=1.0)
    near = {done.number for done in session.passes if done.sheet == 1 and done.cell and done.cell.distance_mm == 500}
    outcomes = tuple(replace(o, index=0) if o.number in near and o.guard == "off" else o for o in scores.outcomes)
    found = findings(session, replace(scores, outcomes=outcomes))
    patch = next(arm for arm in found.arms if arm.sheet.arm == "patch" and arm.guard == "off")
    assert patch.targeted.n == 4 * 12 * 2 and list(patch.by_distance) == [800]
    assert any("not eligible" in note for note in found.notes)
    assert any("were planned" in note for note in found.notes)
    assert not any("More than half" in note for note in found.notes)
    clean = {done.number for done in session.passes if done.sheet == 1}
    outcomes = tuple(replace(o, index=0) if o.number in clean and o.guard == "off" else o for o in scores.outcomes)
    notes = findings(session, replace(scores, outcomes=outcomes)).notes
    assert any("More than half" in note and "Plan other distances or angles" in note for note in notes)


def test_arms_that_are_missing_somewhere_are_named(tmp_path: Path) -> None:
    session, scores = _made_up(tmp_path, patch_hits=1.0, guarded_hits=1.0)
    cell = session.plan.cells()[0]
    session.passes = [done for done in session.passes if not (done.sheet == 2 and done.cell == cell)]
    found = findings(session, scores)
    assert any("stop plain" in note and "500 mm, 0 degrees, bright" in note for note in found.notes)
    control = next(c for c in found.comparisons if "plain control, guard off" in c.question)
    assert control.difference.n == 7 * 12


def test_an_alarm_stops_an_attack_and_costs_clean_frames(tmp_path: Path) -> None:
    session, scores = _made_up(tmp_path, patch_hits=1.0, guarded_hits=1.0)
    outcomes = tuple(replace(o, alarm=o.guard == "fd") for o in scores.outcomes)
    found = findings(session, replace(scores, outcomes=outcomes))
    assert found.costs[1].clean.share == 0 and found.costs[0].clean.share == 1
    patch = next(arm for arm in found.arms if arm.sheet.arm == "patch" and arm.guard == "fd")
    assert patch.targeted.hits == 0 and patch.alarms.share == 1


def test_a_patch_for_another_model_is_said(tmp_path: Path) -> None:
    session, scores = _made_up(tmp_path, patch_hits=1.0, guarded_hits=1.0)
    found = findings(session, replace(scores, model_sha256="other"))
    assert any("transfer test" in note for note in found.notes)


def test_scores_come_back(tmp_path: Path) -> None:
    session, scores = _made_up(tmp_path, patch_hits=1.0, guarded_hits=1.0, repeats=1)
    write_scores(tmp_path / "scores.jsonl", scores)
    assert read_scores(tmp_path) == scores
    lines = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["session"] == session.plan.session


@pytest.mark.full
def test_the_report_is_whole_and_needs_nothing_from_outside(recorded: Session) -> None:
    scores = score(recorded.folder, bundled_model(), ["off", "lgs"], workers=2)
    page = html_report(recorded, findings(recorded, scores))
    assert "http" not in page.replace("http://www.w3.org", "") and "<script" not in page
    for heading in ("Answers", "What limits them", "What the guards cost", "What was before the camera"):
        assert f"<h2>{heading}</h2>" in page
    assert page.count("<figure>") == 6 and "<svg" in page and 'class="heat"' in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shot": 77}, "no frame 77 of pass 0"), ({"shot": -1}, "no frame -1"),
        ({"guard": "zz"}, "is not named before"), ({"shot": 1}, "comes twice"), ({"index": -2}, "an answer -2"),
        ({"ms": float("nan")}, "a time that is none"),
    ],
)  # fmt: skip
def test_scores_that_do_not_fit_their_session_are_refused(
    recorded: Session, change: dict[str, object], said: str
) -> None:
    """Reports look frames up by them: `fieldtest report` ended in exit code 70."""
    one = Outcome(0, 0, "off", 1, 0.5, False, "none", 1.0)
    head = Scores(recorded.plan.session, "m", LABELS, ("off",), (one, replace(one, shot=1)))
    write_scores(recorded.folder / "scores.jsonl", head)
    assert read_scores(recorded.folder) == head
    other: Any = replace(one, **cast(Any, change))
    write_scores(recorded.folder / "scores.jsonl", replace(head, outcomes=(other, head.outcomes[1])))
    with pytest.raises(InputError, match=rf"do not fit its passes \(.*{said}.*\): score again"):
        findings(recorded, read_scores(recorded.folder))


@pytest.mark.parametrize("change", [{"memory": 0}, {"memory": -5}, {"task": "zz"}, {"guards": ("off", "off")}])
def test_a_head_of_scores_that_cannot_be_is_refused(recorded: Session, change: dict[str, object]) -> None:
    head = replace(Scores(recorded.plan.session, "m", LABELS, ("off",), ()), **cast(Any, change))
    write_scores(recorded.folder / "scores.jsonl", head)
    with pytest.raises(InputError, match="do not fit its passes"):
        findings(recorded, read_scores(recorded.folder))


@pytest.mark.parametrize(
    "line",
    [
        "{}", '{"a": [[], [], []]}',
        json.dumps({**vars(Outcome(0, 0, "off", 1, 0.5, False, "none", 1.0)), "boxes": [[1, 1, 1, 1, 1, 1]] * 21}),
        json.dumps({**vars(Outcome(0, 0, "off", 1, 0.5, False, "none", 1.0)), "apart": [1] * 1001}),
    ],
)  # fmt: skip
def test_scores_of_lines_that_are_none_are_refused(recorded: Session, line: str) -> None:
    write_scores(recorded.folder / "scores.jsonl", Scores(recorded.plan.session, "m", LABELS, ("off",), ()))
    with (recorded.folder / "scores.jsonl").open("a") as scores:
        scores.write(f"{line}\n")
    with pytest.raises(InputError, match="damaged: score again"):
        read_scores(recorded.folder)


def test_scores_without_end_take_no_memory(recorded: Session) -> None:
    """A file of 250 MB took 3 GB and minutes: it is read a line at a time, and no longer than it can be of these
    frames."""
    one = Outcome(0, 0, "off", 1, 0.5, False, "none", 1.0)
    head = Scores(recorded.plan.session, "m", LABELS, ("off",), (one,))
    write_scores(recorded.folder / "scores.jsonl", head)
    first, line, *_ = (recorded.folder / "scores.jsonl").read_text().splitlines()
    (recorded.folder / "scores.jsonl").write_text("\n".join([first, *[line] * 40_000, "no line"]))
    with pytest.raises(InputError, match="damaged: score again") as refused:
        read_scores(recorded.folder)
    assert "more than the session's frames" in str(refused.value.__cause__)
    (recorded.folder / "scores.jsonl").write_text(f"{first}\n" + "\n" * 3_000_000)
    tracemalloc.start()
    with pytest.raises(InputError, match="damaged: score again"):
        read_scores(recorded.folder)
    assert tracemalloc.get_traced_memory()[1] < 20e6  # the file itself is 3 MB; its lines were 150
    tracemalloc.stop()
