"""The operator's page: its data, its one button, and how a browser shows it."""

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from pictures import read_bgr
from programs import needed

from edgeguard.errors import DeviceError
from edgeguard.fieldtest.session.plan import make_plan, write_plan
from edgeguard.fieldtest.session.record import Status, record
from edgeguard.fieldtest.session.session import Session
from edgeguard.fieldtest.session.web import GuidePage, status_document
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand, VirtualField


@pytest.fixture
def begun(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> tuple[Session, Status]:
    """One pass is recorded, the sheet still stands there."""
    write_plan(tmp_path, make_plan([s for s, _ in sheets], (450,), (0,), ("bright", "dim"), passes=2, frames=3))
    session = Session(tmp_path)
    status = Status("bright", 0, 12)
    record(session, VirtualField(SheetPainter(*sheets[0]), [Stand(450)], shots=5), status, lambda advice, stored: None)
    return session, status


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bytes(answer.read())


def test_the_page_and_its_light(begun: tuple[Session, Status]) -> None:
    session, status = begun
    with GuidePage(session, status, port=0) as page:
        said = json.loads(_get(page.url + "status.json"))
        assert said["done"] == 1 and said["wanted"] == 12 and said["advice"].startswith("recorded: take the sheet away")
        assert said["grid"][1][1] == {"text": "1/2", "full": False} and "light bright" in said["next"]
        assert _get(page.url + "frame.jpg")[:2] == b"\xff\xd8"
        urllib.request.urlopen(urllib.request.Request(page.url + "light", b"dim"), timeout=5)
        assert status.light == "dim" and json.loads(_get(page.url + "status.json"))["grid"][1][1]["text"] == "0/2"
        for path, data in (("light", b"green"), ("nowhere", None)):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(urllib.request.Request(page.url + path, data), timeout=5)
        with pytest.raises(DeviceError, match="cannot serve"):
            GuidePage(session, status, port=int(page.url.rstrip("/").rsplit(":", 1)[1]))


def test_a_complete_plan_says_so(recorded: Session) -> None:
    assert status_document(recorded, Status("bright", 24, 24))["next"] == "all passes are recorded"


@pytest.mark.full
def test_a_browser_shows_it(begun: tuple[Session, Status], tmp_path: Path) -> None:
    chromium = needed("chromium", "google-chrome", "chromium-browser")
    session, status = begun
    common = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    with GuidePage(session, status, port=0) as page:
        wait = "--virtual-time-budget=3000"
        shown = subprocess.run([*common, wait, "--dump-dom", page.url], capture_output=True, text=True, timeout=120)
        picture = tmp_path / "page.png"
        subprocess.run(
            [*common, wait, f"--screenshot={picture}", "--window-size=900,1100", page.url],
            capture_output=True, timeout=120, check=True,
        )  # fmt: skip
    assert "recorded: take the sheet away" in shown.stdout and "1 of 12" in shown.stdout
    assert '<button class="on">bright</button>' in shown.stdout and "<td>1/2</td>" in shown.stdout
    assert read_bgr(picture).std() > 20
