"""The page from outside: what it serves, whom it refuses, and what a browser makes of it."""

import io
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from pictures import decode_bgr
from PIL import Image
from programs import needed

from edgeguard.camera.reader import State
from edgeguard.errors import DeviceError, InputError
from edgeguard.guard import GuardProfile
from edgeguard.guard.passes import Received, receive_raw
from edgeguard.model.prediction import BoxScore, ClassMap, Keypoint, Prediction, Score
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.sinks.class_colors import color_of
from edgeguard.sinks.web import WebPage
from edgeguard.system.addresses import read_token

Make = Callable[..., FrameResult]
TOKEN = "0123456789abcdef"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _get(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, error.read(), {k.lower(): v for k, v in error.headers.items()}


def test_what_it_serves(status: RunStatus) -> None:
    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        code, html, headers = _get(page.url)
        assert code == 200 and b"<script src" in html and "default-src 'none'" in headers["content-security-policy"]
        assert not re.search(rb"https?://", html + _get(f"{page.url}page.js")[1] + _get(f"{page.url}page.css")[1])
        state = json.loads(_get(f"{page.url}state.json")[1])
        assert state["last"]["label"] == "stop" and state["state"] == "running" and len(state["history"]) == 1
        assert status.last is not None and status.last.received is not None
        assert _get(f"{page.url}raw.jpg")[1] == status.last.received.jpeg
        sanitized = decode_bgr(_get(f"{page.url}sanitized.jpg")[1])
        assert sanitized.shape == (240, 320, 3)
        assert _get(f"{page.url}healthz")[:2] == (200, b"ok\n")
        assert _get(f"{page.url}../../etc/passwd")[0] == 404 and _get(f"{page.url}nothing")[0] == 404
        status.last, status.result_at = None, status.began - 100
        assert _get(f"{page.url}raw.jpg")[0] == 404 and _get(f"{page.url}healthz")[0] == 503


def test_pictures_are_those_of_the_result_that_was_told(status: RunStatus, make: Make) -> None:
    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        state = json.loads(_get(f"{page.url}state.json")[1])
        frame, told = state["last"]["frame"], status.last
        other = Received(None, np.zeros((240, 320, 3), np.uint8), "run")
        status.update(make(8, received=other))
        assert told is not None and told.received is not None
        assert _get(f"{page.url}raw.jpg?frame={frame}")[1] == told.received.jpeg
        black = decode_bgr(_get(f"{page.url}raw.jpg")[1])
        assert black.max() < 3
        for n in range(9, 15):
            status.update(make(n))
            _get(f"{page.url}state.json")
        assert _get(f"{page.url}raw.jpg?frame={frame}")[0] == 404 and _get(f"{page.url}raw.jpg?frame=x")[0] == 200


def test_the_received_picture_has_the_cameras_levels_though_pass_1_leaves_room(status: RunStatus, make: Make) -> None:
    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        white = receive_raw(np.full((240, 320, 3), 255, np.uint8), GuardProfile.preset("proof-1"))
        status.update(make(8, received=white))
        assert white.decode().max() < 245 and decode_bgr(_get(f"{page.url}raw.jpg")[1]).min() > 250


def test_a_name_that_was_made_to_point_here_reads_nothing(status: RunStatus) -> None:
    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        assert _get(f"{page.url}state.json", Host="evil.example:80")[0] == 421
        assert _get(f"{page.url}state.json", Host="localhost:80")[0] == 200


def test_a_token_beyond_loopback(status: RunStatus) -> None:
    with pytest.raises(InputError, match="can be reached from outside: give --web-token-file"):
        WebPage("0.0.0.0", 0, status=status, stale_after_s=10.0, token=None)
    with WebPage("0.0.0.0", 0, status=status, stale_after_s=10.0, token=TOKEN) as page:
        url = page.url.replace("0.0.0.0", "127.0.0.1")
        assert _get(url)[0] == _get(f"{url}state.json")[0] == _get(f"{url}?token=wrong")[0] == 401
        assert _get(f"{url}healthz")[0] == 200
        code, _, headers = _get(f"{url}?token={TOKEN}")
        cookie = headers["set-cookie"]
        assert code == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie
        assert _get(f"{url}state.json", Cookie=cookie.split(";")[0])[0] == 200
        assert _get(f"{url}state.json", Authorization=f"Bearer {TOKEN}")[0] == 200


def test_tokens_and_ports(status: RunStatus, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("abc")
    with pytest.raises(InputError, match="at least 16 characters"):
        read_token(tmp_path / "short")
    with pytest.raises(InputError, match="cannot read the token file"):
        read_token(tmp_path / "none")
    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        port = int(page.url.rstrip("/").rpartition(":")[2])
        with pytest.raises(DeviceError, match="cannot serve the page"):
            WebPage("127.0.0.1", port, status=status, stale_after_s=10.0, token=None)


@pytest.fixture
def browser() -> str:
    return needed("chromium", "google-chrome", "chromium-browser")


def _rendered(browser: str, url: str) -> str:
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.full
def test_a_browser_shows_it(browser: str, status: RunStatus) -> None:
    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        html = _rendered(browser, page.url)
        assert "stop  0.90" in html and "camera running" in html and "after pass 2: fd" in html
        assert re.search(r'<img id="raw"[^>]*src="raw.jpg\?frame=7"', html) and "MJPG, 320x240" in html
        assert '<body class="live run">' in html
        status.state, status.reason, status.ringing = State.LOST, "camera:0 was lost", ("patch",)
        status.away_since = time.time() - 75
        html = _rendered(browser, page.url)
        assert "camera lost" in html and "ALARM: patch | camera:0 was lost" in html
        assert '<body class="live run away">' in html and "the last one: stop, frame 7, 1 pass (" in html
        assert re.search(r'<p id="label">no picture since [^<]*\(\d+ s\)</p>', html) and "stop  0.90" not in html


@pytest.mark.full
def test_a_browser_draws_boxes_on_both_pictures_and_counts_classes(browser: str, status: RunStatus, make: Make) -> None:
    boxes = (
        BoxScore("<b>cat", 16, 0.9, 20, 40, 120, 200), BoxScore("<b>cat", 16, 0.5, 150, 5, 200, 60),
        BoxScore("dog", 17, 0.7, 200, 100, 330, 250),
    )  # fmt: skip
    status.update(make(8, prediction=Prediction((Score("<b>cat", 16, 0.9),), boxes)))
    status.counters.refused["wrong MAC"] = 3
    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        html = _rendered(browser, page.url)
        assert json.loads(_get(f"{page.url}state.json")[1])["size"] == [320, 240]
    assert html.count('<rect class="box" x="20" y="40" width="100" height="160">') == 2  # received and sanitised
    assert html.count('viewBox="0 0 320 240"') == 2 and html.count("&lt;b&gt;cat 0.50</text>") == 2
    assert "Objects by class" in html and "<td>&lt;b&gt;cat</td><td>2 (best 0.90)</td>" in html
    assert "<td>dog</td><td>1 (best 0.70)</td>" in html and "<td>refused: wrong MAC</td>" in html


@pytest.mark.full
def test_names_of_boxes_on_each_other_stand_below_each_other(browser: str, status: RunStatus, make: Make) -> None:
    boxes = (BoxScore("left", 1, 0.9, 20, 100, 120, 200), BoxScore("right", 2, 0.8, 24, 102, 120, 200))
    status.update(make(8, prediction=Prediction((Score("left", 1, 0.9),), boxes)))
    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        html = _rendered(browser, page.url)
    at = {name: float(y) for y, name in re.findall(r'<text [^>]*y="([0-9.]+)"[^>]*>(left|right) 0', html)}
    size = float(re.findall(r"font-size: ([0-9.]+)px", html)[0])
    assert at["right"] - at["left"] >= size


@pytest.mark.full
def test_a_browser_draws_the_mask_and_lists_the_classes_with_their_colors(
    browser: str, status: RunStatus, make: Make
) -> None:
    classes = np.zeros((24, 32), np.int64)
    classes[6:12, 8:24] = 15
    shares = (Score("background", 0, 0.875), Score("<b>person", 15, 0.125))
    seen = ClassMap(classes, 0.0, 20.0, 320.0, 220.0)
    status.update(make(8, prediction=Prediction(shares, shares=shares, class_map=seen)))
    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        html = _rendered(browser, page.url)
        png = np.asarray(Image.open(io.BytesIO(_get(f"{page.url}mask.png?frame=8")[1])))
        assert _get(f"{page.url}mask.png?frame=7")[0] == 404  # a result without a mask
    color = color_of(15)
    assert color is not None and png.shape == (24, 32, 4) and (png[classes == 15] == (*color, 255)).all()
    assert not png[classes == 0].any()
    place = 'href="mask.png?frame=8" x="0" y="20" width="320" height="200"'
    assert html.count(f'<image class="mask" {place}') == 2  # received and sanitised
    assert "Classes by share of the picture" in html and "background  88 %" in html
    assert '<h2 id="counts-title">Best classes in the last day, minute by minute</h2>' in html
    assert re.search(
        r'<span class="swatch" style="background-color: rgb\(240, 200, 60\);"></span>&lt;b&gt;person<', html
    )
    assert "<td>12.5 %</td>" in html and html.count('class="swatch"') == 1


@pytest.mark.full
def test_a_browser_draws_the_points_of_a_pose(browser: str, status: RunStatus, make: Make) -> None:
    points = (Keypoint("<b>nose", 0, 0.9, 100.5, 50.0), Keypoint("left eye", 1, 0.2, 110.0, 45.0))
    status.update(make(8, prediction=Prediction((Score("pose", 0, 0.55),), keypoints=points)))
    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        html = _rendered(browser, page.url)
    assert html.count('<circle class="point" cx="100.5" cy="50"') == 2 and html.count('class="point"') == 2
    assert html.count("<title>&lt;b&gt;nose 0.90</title>") == 2 and "<td>0.20 (not drawn)</td>" in html
    assert '<h2 id="classes">Keypoints</h2>' in html and "pose  0.55" in html


@pytest.mark.full
def test_a_browser_shows_nothing_as_of_now_when_the_run_does_not_answer(browser: str, status: RunStatus) -> None:
    """The process is gone, or the network: the label goes and the pictures turn gray."""
    answers = iter([status.to_dict(status.last)])

    def once(last: FrameResult | None) -> dict[str, Any]:
        return next(answers)  # then it fails, and the server answers 500

    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        with mock.patch.object(status, "to_dict", once):
            html = _rendered(browser, page.url)
    assert "the run does not answer" in html and '<body class="live run away">' in html
    assert re.search(r'<p id="label">no answer since [^<]*\(\d+ s\)</p>', html) and "stop  0.90" not in html


@pytest.mark.full
def test_a_browser_is_told_of_a_frozen_picture_and_of_refused_frames(browser: str, status: RunStatus) -> None:
    with WebPage("127.0.0.1", 0, status=status, stale_after_s=10.0, token=None) as page:
        status.ringing = ("frozen",)
        html = _rendered(browser, page.url)
        assert '<p id="label">the picture does not change</p>' in html and "live run away" in html
        status.ringing, status.state, status.away_since = ("refused",), State.REFUSED, time.time()
        html = _rendered(browser, page.url)
        assert '<p id="label">frames are refused since ' in html and "camera refused" in html
