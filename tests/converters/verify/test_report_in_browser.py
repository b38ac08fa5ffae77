"""The report as a browser shows it: headless Chromium, without a network."""

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from programs import needed

pytestmark = [pytest.mark.convert, pytest.mark.full]


@pytest.fixture(scope="module")
def report(trained: Path, squares: list, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgeguard.guard import GuardProfile
    from edgeguard_converters import convert

    folder = tmp_path_factory.mktemp("report")
    for suffix in ("html", "json"):
        convert(
            trained, output=folder / "m.tflite", calibration=squares[:60], evaluation=squares[60:], crop="none",
            profile=GuardProfile.preset("fd"), preprocess="tf", report=folder / f"r.{suffix}",
        )  # fmt: skip
    return folder / "r.html"


def _chromium() -> str:
    return needed("chromium", "google-chrome", "chromium-browser")


def _run(page: Path, *arguments: str) -> str:
    with_profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [_chromium(), "--headless", "--no-sandbox", "--disable-gpu", with_profile, *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_every_section_is_there_and_nothing_is_loaded(report: Path) -> None:
    text = report.read_text()
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text and "<script" not in text
    shown = _run(report, "--dump-dom")
    for heading in ("Gates", "Layers", "Images furthest from float", "Speed on this machine", "Operators", "Contract"):
        assert f"<h2>{heading}</h2>" in shown
    assert shown.count("<rect") >= 8 and shown.count("<figure>") == 6


def test_the_picture_has_a_chart_and_no_empty_page(report: Path, tmp_path: Path) -> None:
    picture = tmp_path / "r.png"
    _run(report, f"--screenshot={picture}", "--window-size=1100,1600", "--hide-scrollbars")
    page = cv2.imread(str(picture))
    assert page is not None
    assert page.shape[:2] == (1600, 1100)
    blue = (np.abs(page.astype(int) - np.array([0xA5, 0x6E, 0x3A])).max(axis=2) < 8).sum()  # the chart's bars, BGR
    assert blue > 5000 and page.std() > 10


def test_the_data_says_the_same(report: Path) -> None:
    import json

    data = json.loads(report.with_suffix(".json").read_text())
    assert data["passed"] is True and data["schema"] == 1 and len(data["layers"]) >= 6
    assert data["gates"]["n"] == 60 and data["contract"]["task"] == "classify"
    assert data["latencies_ms"][0]["threads"] == 1 and data["verdict"]
    assert data["edgetpu"]["mapped"] == sum(data["operators"].values())
