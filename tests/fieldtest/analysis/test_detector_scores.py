"""Detectors in scores: found, vanished, called something else; a memory; and when an approach was first seen."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from evaluate.detectors.made_detectors import CELL, LABELS, PLACES, SIDE, detector, frame
from PIL import Image

from edgeguard.camera.source import Captured
from edgeguard.errors import InputError
from edgeguard.fieldtest.analysis.detections import NOTHING, judged_box
from edgeguard.fieldtest.analysis.films import write_films
from edgeguard.fieldtest.analysis.findings import findings
from edgeguard.fieldtest.analysis.memory import first_run
from edgeguard.fieldtest.analysis.report import html_report, text_report
from edgeguard.fieldtest.analysis.score import Outcome, read_scores, score
from edgeguard.fieldtest.analysis.success import has_its_way
from edgeguard.fieldtest.session.plan import make_plan, write_plan
from edgeguard.fieldtest.session.session import Session
from edgeguard.fieldtest.sheets.sheet import ARMS, Overlay, Sheet
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.model.prediction import BoxScore

RED, GREEN, GONE = (5, 0), (5, 1), None
BOTH = "red in its place, green elsewhere"
#: Frames of approaches: what stands in the object's place, and elsewhere.
SHOWN: dict[str, list[list[Any]]] = {
    "clean": [[GONE, RED, RED, RED], [GONE, RED, RED, RED]],
    "plain": [[GONE, RED, RED, RED], [GONE, GONE, RED, RED]],
    "patch": [[GONE, GONE, RED, GREEN], [GONE, GONE, RED, RED], [GONE, GREEN, GONE, GONE]],
}


def _session(
    folder: Path, shown_of: dict[str, list[list[Any]]] = SHOWN, mode: str | None = None, target: str | None = None
) -> Session:  # fmt: skip
    """A thing that should be found as red, in films that come nearer."""
    place = Overlay((0, 20), 38)
    sheets = [Sheet(k, "stop", "red", arm, overlay=place if k else None) for k, arm in enumerate(ARMS[:2] + ARMS[3:])]
    sheets[2] = replace(sheets[2], mode=mode, target=target)
    write_plan(folder, make_plan(sheets, (500, 1000), (0,), ("bright",), passes=2, frames=2))
    session = Session(folder)
    x, y = PLACES[5]
    # the card's sign fills 0.86 of the card: its box is the red square then
    low = np.array([x, y]) + CELL / 2 - CELL / 2 / 0.86
    high = np.array([x, y]) + CELL / 2 + CELL / 2 / 0.86
    corners = ((low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]))
    for sheet in sheets:
        for shown in shown_of[sheet.arm]:
            captured, poses = list[Captured](), list[dict[str, Any]]()
            for k, what in enumerate(shown):
                others = [(15, 0)] if sheet.arm == "plain" else [(15, 1)] if what is BOTH else []
                rgb = frame(*([RED] if what is BOTH else [what] if what else []), *others)
                data = cv2.imencode(".png", rgb[:, :, ::-1])[1].tobytes()
                captured.append(Captured(k, "film", None, decode_rgb(data), 100 + 0.5 * k, "source"))
                poses.append({
                    "distance_mm": 1000.0 - 200 * k, "angle_deg": 0.0, "angle_error_deg": 1.0, "tags": 0,
                    "cell": session.plan.nearest_cell(1000 - 200 * k, 0, "bright"), "live": None,
                    "corners": tuple((float(a), float(b)) for a, b in corners), "pose_from": "corners",
                    "origin": f"film {k}", "size": (SIDE, SIDE),
                })  # fmt: skip
            session.store(sheet.number, None, captured, poses)
    return session


@pytest.fixture
def scored(tmp_path: Path) -> tuple[Session, Path]:
    """A session, and the detector that scores it."""
    (tmp_path / "red.tflite").write_bytes(detector())
    (tmp_path / "s").mkdir()
    return _session(tmp_path / "s"), tmp_path / "red.tflite"


@pytest.mark.full
def test_a_detector_scores_films(scored: tuple[Session, Path]) -> None:
    session, model = scored
    scores = score(session.folder, model, ["off", "fd"], workers=1, memory=2)
    assert read_scores(session.folder) == scores and scores.task == "detect" and scores.memory == 2
    said = {(o.number, o.shot): o for o in scores.outcomes if o.guard == "off"}
    red, green = LABELS.index("red"), LABELS.index("green")
    wanted = {GONE: NOTHING, RED: red, GREEN: green}
    number = 0
    for arm in SHOWN.values():
        for shown in arm:
            assert [said[number, k].index for k in range(4)] == [wanted[what] for what in shown]
            number += 1
    assert said[2, 0].elsewhere == 1 and said[0, 0].elsewhere == 0
    found = findings(session, scores)
    arms = {arm.sheet.arm: arm for arm in found.arms if arm.guard == "off"}
    # the far cell's clean frames were right half of the time, which is not more than half: only the near one counts
    assert arms["patch"].vanished is not None and arms["patch"].mislabeled is not None
    assert (arms["patch"].vanished.hits, arms["patch"].mislabeled.hits, arms["patch"].untargeted.n) == (2, 1, 6)
    assert arms["patch"].untargeted.hits == 3 and arms["clean"].vanished == type(arms["patch"].vanished)(0, 4)
    remembered = {one.sheet.arm: (one.attacked, one.n) for one in found.memory.arms if one.guard == "off"}
    assert remembered == {"clean": (0, 2), "plain": (0, 2), "patch": (2, 3)}
    first = {one.sheet.arm: one for one in found.memory.first if one.guard == "off"}
    assert (first["clean"].distance_mm, first["clean"].seconds, first["clean"].never) == (600, 1.0, 0)
    assert first["patch"].never == 2 and first["patch"].distance_mm == 400
    assert any("another box of the object's class lies elsewhere" in note for note in found.notes)
    assert any("Photographs and films were imported" in note for note in found.notes)
    assert any("with a memory of 2 frames, does it beat the plain control" in line for line in text_report(found))
    _report(session, model.parent)


def test_a_memory_that_the_clean_object_never_enters_is_said_to_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "red.tflite").write_bytes(detector())
    (tmp_path / "s").mkdir()
    seen: dict[str, list[list[Any]]] = {
        "clean": [[RED, GONE, RED, RED]] * 2,
        "plain": [[RED] * 4] * 2,
        "patch": [[GONE] * 4] * 2,
    }
    session = _session(tmp_path / "s", seen)
    for frames, silent in ((2, False), (3, True)):
        scores = score(session.folder, tmp_path / "red.tflite", ["off"], workers=1, memory=frames)
        found = findings(session, scores)
        assert any(f"memory of {frames} frames nothing can be said of" in note for note in found.notes) is silent
        assert (
            any(f"with a memory of {frames} frames, does it" in one.question for one in found.comparisons) is not silent
        )


@pytest.mark.parametrize(
    ("mode", "target", "shown", "won"),
    [
        ("create", "green", [BOTH, BOTH, RED, BOTH], 3),
        pytest.param("create", "red", [BOTH, BOTH, RED, BOTH], 0, marks=pytest.mark.full),
        pytest.param("create", None, [BOTH, GONE, RED, RED], 1, marks=pytest.mark.full),
        pytest.param("mislabel", None, [GONE, GREEN, RED, GREEN], 2, marks=pytest.mark.full),
        pytest.param("vanish", None, [GONE, GREEN, RED, GREEN], 3, marks=pytest.mark.full),
    ],
)  # fmt: skip
def test_a_success_is_what_the_patch_was_made_for(
    mode: str, target: str | None, shown: list[Any], won: int, tmp_path: Path
) -> None:
    (tmp_path / "red.tflite").write_bytes(detector())
    (tmp_path / "s").mkdir()
    seen = {"clean": [[RED] * 4] * 2, "plain": [[RED] * 4] * 2, "patch": [shown] * 2}
    session = _session(tmp_path / "s", seen, mode, target)
    scores = score(session.folder, tmp_path / "red.tflite", ["off"], workers=1, memory=2)
    assert read_scores(session.folder) == scores
    found = findings(session, scores)
    (patch,) = (arm for arm in found.arms if arm.sheet.arm == "patch")
    assert sum(one.hits for one in patch.by_distance.values()) == 2 * won
    assert patch.targeted.hits == (2 * won if target else 0)
    beats = [one for one in found.comparisons if "does it beat the plain control" in one.question]
    # under the plain control a red thing lies elsewhere: to create "any" or "red" there is no work of the patch
    control = 4 if mode == "create" and target in (None, "red") else 0
    assert beats[0].difference.mean == pytest.approx((won - control) / 4)
    assert len(beats) == (1 if mode == "create" else 2)  # with a memory it is asked whether the object was seen
    if mode == "create":
        old = replace(scores, outcomes=tuple(replace(one, apart=None) for one in scores.outcomes))
        with pytest.raises(InputError, match="score again"):
            findings(session, old)


@pytest.mark.parametrize(
    ("mode", "target", "index", "apart", "won"),
    [
        (None, None, 2, (), True), (None, None, 1, (), False), (None, 3, 2, (), False), (None, 3, 3, (), True),
        ("vanish", None, NOTHING, (), True), ("vanish", None, 2, (), True), ("mislabel", None, NOTHING, (), False),
        ("mislabel", None, 2, (), True), ("mislabel", 3, 2, (), False), ("create", None, 1, (2,), True),
        ("create", None, NOTHING, (), False), ("create", 3, 1, (2,), False), ("create", 3, 1, (2, 3), True),
    ],
)  # fmt: skip
def test_what_each_goal_counts(
    mode: str | None, target: int | None, index: int, apart: tuple[int, ...], won: bool
) -> None:  # fmt: skip
    said = Outcome(0, 0, "off", index, 0.9, False, "none", 1.0, (), 0, apart)
    assert has_its_way(said, 1, target, mode) == won
    assert not has_its_way(replace(said, alarm=True), 1, target, mode)


def _report(session: Session, folder: Path) -> None:
    found = findings(session, read_scores(session.folder))
    films = write_films(session, found, folder / "films", 2)
    assert [film.frames for film in films] == [4, 4] and films[0].mp4.name == "film-1.mp4"
    film = cv2.VideoCapture(str(films[0].mp4))
    count, (height, width) = 0, Image.open(io.BytesIO(films[0].gif)).size[::-1]
    while film.read()[0]:
        count += 1
    assert count == 4 and film.get(cv2.CAP_PROP_FRAME_WIDTH) == width
    with Image.open(folder / "films" / "film-1.gif") as gif:
        assert getattr(gif, "n_frames", 1) == 4 and gif.size == (width, height)
    page = html_report(session, found, films)
    for text in ("not found", "With a memory of 2 frames", "first detection", "films/film-1.mp4", "Success by place"):
        assert text in page


def test_the_box_on_the_object() -> None:
    truth = (10.0, 10.0, 30.0, 30.0)
    own, other = BoxScore("a", 1, 0.5, 10, 10, 30, 28), BoxScore("b", 2, 0.9, 11, 10, 30, 30)
    far = BoxScore("a", 1, 0.8, 60, 60, 80, 80)
    assert judged_box([other, far, own], truth, 1) == judged_box([own, far], truth, 1)
    assert (judged_box([other, far], truth, 1).index, judged_box([other, far], truth, 1).elsewhere) == (2, 1)
    assert judged_box([far], truth, 1).index == NOTHING and judged_box([], truth, 1).index == NOTHING
    half = BoxScore("a", 1, 0.9, 10, 10, 30, 19)
    assert judged_box([half], truth, 1).index == NOTHING


@pytest.mark.parametrize(
    ("seen", "length", "place"),
    [("", 1, None), ("0110", 2, 2), ("01011", 3, None), ("111", 1, 0), ("0111", 3, 3)],
)
def test_the_first_run(seen: str, length: int, place: int | None) -> None:
    assert first_run([one == "1" for one in seen], length) == place


def test_what_is_not_for_detectors(scored: tuple[Session, Path]) -> None:
    session, model = scored
    for guard in ("double-masking", "live"):
        with pytest.raises(InputError, match=f"{guard} is for classifiers"):
            score(session.folder, model, ["off", guard], workers=1)
