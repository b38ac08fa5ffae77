"""Frames of a stranger's session that are a few pixels by tens of thousands: pages and films of them have bounds."""

import io
import json
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edgeguard.errors import InputError
from edgeguard.fieldtest.analysis.counted import Counted
from edgeguard.fieldtest.analysis.films import write_films
from edgeguard.fieldtest.analysis.findings import findings
from edgeguard.fieldtest.analysis.image_map import drawn
from edgeguard.fieldtest.analysis.report import html_report
from edgeguard.fieldtest.analysis.score import Outcome, Scores
from edgeguard.fieldtest.session.session import Session


@pytest.fixture
def strips(recorded: Session) -> tuple[Session, Scores]:
    """A recorded session whose frames are 2x3,000 pixels; by their width alone they were 480,000 rows."""
    data = cv2.imencode(".png", np.full((3000, 2, 3), 90, np.uint8))[1].tobytes()
    journal = recorded.folder / "passes.jsonl"
    passes = [json.loads(line) for line in journal.read_text().splitlines()]
    for done in passes:
        for frame in done["frames"]:
            frame["sha256"] = sha256(data).hexdigest()
            (recorded.folder / frame["file"]).write_bytes(data)
    journal.write_text("".join(json.dumps(done) + "\n" for done in passes))
    session = Session(recorded.folder)
    said = [Outcome(one.number, shot, "off", 1, 0.9, False, "none", 1.0) for one in session.passes for shot in range(3)]
    return session, Scores(session.plan.session, "m", ("background", "stop"), ("off",), tuple(said))


def test_films_and_pages_of_strips_are_as_large_as_others(strips: tuple[Session, Scores], tmp_path: Path) -> None:
    session, scores = strips
    found = findings(session, scores)
    (film,) = write_films(session, found, tmp_path, 1)
    with Image.open(io.BytesIO(film.gif)) as shown:
        assert shown.size[0] <= 1000 and shown.size[1] <= 2000
    assert len(html_report(session, found, [film])) < 2_000_000


def test_films_are_not_written_where_a_link_leads(strips: tuple[Session, Scores], tmp_path: Path) -> None:
    session, scores = strips
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "report-films").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        write_films(session, findings(session, scores), tmp_path / "report-films", 1)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("size", [(3000, 2), (2, 3000), (1, 1)])
def test_a_map_over_a_strip(size: tuple[int, int]) -> None:
    picture = drawn(np.full((*size, 3), 90, np.uint8), {(0, 0): Counted(1, 2), (5, 3): Counted(0, 1)})
    assert picture.shape[1] == 640 and picture.shape[0] <= 1920
