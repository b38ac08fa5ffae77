"""The page of several cameras: tiles, an event that is played, a zone that is drawn; and its addresses for programs."""

import json
import re
import socket
import subprocess
import time
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from pictures import decode_bgr
from programs import needed
from sinks.published import fits

from edgeguard.camera.reader import State
from edgeguard.model.prediction import BoxScore, Prediction, Score
from edgeguard.pipeline.event import Event, EventLog, Keeping
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.sinks.event_store import EventStore
from edgeguard.sinks.recorder import EventRecorder
from edgeguard.sinks.web import WebPage
from edgeguard.system.http.budget import CpuBudget
from edgeguard.watch.rules import EventRule, Rules, Zone

Make = Callable[..., FrameResult]
HOSTILE = "<img src=x onerror=alert(1)>"
DRIVE = """
const sleep = ms => new Promise(done => setTimeout(done, ms));
(async () => {
  while (document.querySelectorAll("#tiles button").length < 2) await sleep(50);
  document.querySelectorAll("#tiles button")[1].click();
  while (!document.querySelector("#events button.event")) await sleep(50);
  document.querySelector("#events button.event").click();
  while (!/frame 4 of/.test(at("played").textContent)) await sleep(50);
  at("zone").click();
  const box = at("raw-boxes").getBoundingClientRect();
  for (const [x, y] of [[.25, .25], [.75, .25], [.5, .75]])
    at("raw-boxes").dispatchEvent(
      new MouseEvent("click", {clientX: box.left + x * box.width, clientY: box.top + y * box.height}));
})();
"""


def _get(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture
def cameras(status: RunStatus, make: Make) -> dict[str, RunStatus]:
    """Two cameras that see boxes of a hostile label; the second has a zone and a rule."""
    found = {}
    for name in ("door", "yard"):
        one = RunStatus(f"camera:{name}", status.contract, status.model, status.counters, status.applied, State.RUNNING)
        one.camera, one.events = name, status.events
        box = BoxScore(HOSTILE, 1, 0.9, 20, 40, 120, 200, track=7)
        one.update(make(7, camera=name, prediction=Prediction((Score(HOSTILE, 1, 0.9),), (box,)),
                        zones={"path": {"objects": {HOSTILE: 1}}}))  # fmt: skip
        found[name] = one
    zone = Zone("path", ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9)))
    found["yard"].rules = Rules((zone,), (), (), (EventRule("visitor", label=HOSTILE),)).to_dict()
    return found


def _recorded(make: Make, folder: Path, log: EventLog) -> tuple[EventStore, str]:
    """A store with one event of six frames."""
    store = EventStore(folder, 10**8)
    event = Event("2026-01-01T00-00-00.000Z-yard-visitor-ab12", "yard", "visitor", "object", HOSTILE, 1, 0.9, "path",
                  7, 1000.0, 0.0, 0.5, 0, (20, 40, 120, 200), keeping=Keeping(1, 0.05, 0))  # fmt: skip
    log.tell(event)
    with EventRecorder(store, 0.0, before_s=1.0, camera="yard") as recorder:
        for frame in range(6):
            recorder.write(make(frame, at=frame / 10, events=(event,)))
        event.ended, event.ended_at = 1000.5, 0.5
        recorder.write(make(6, at=0.6))
    log.tell(event)
    return store, event.id


@pytest.fixture
def page(cameras: dict[str, RunStatus], make: Make, tmp_path: Path) -> Iterator[WebPage]:
    store, _ = _recorded(make, tmp_path / "events", cameras["yard"].events)
    with WebPage("127.0.0.1", 0, status=cameras, stale_after_s=10.0, token=None, store=store) as found:
        yield found


@pytest.mark.full
def test_a_browser_is_driven_through_two_cameras_an_event_and_a_zone(page: WebPage, tmp_path: Path) -> None:
    browser = needed("chromium", "google-chrome", "chromium-browser")
    script, kind = page._files["/page.js"]
    page._files["/page.js"] = (script + DRIVE.encode(), kind)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
               "--window-size=1100,1600", "--virtual-time-budget=20000", "--dump-dom", page.url]  # fmt: skip
    html = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert html.count('<button type="button" class=') == 2, "a tile for each camera"
    assert "yard: &lt;img src=x onerror=alert(1)&gt;" in html and HOSTILE not in html
    assert 'src="raw.jpg?camera=yard&amp;frame=7"' in html and "#7</text>" in html
    assert 'class="zone" points="32,24 288,24 288,216"' in html
    assert "visitor: &lt;img src=x onerror=alert(1)&gt; 0.90 (yard, path)" in html
    assert "clip.mp4</a>" in html and "frame 6 of 6" in html
    drawn = re.search(r'\[\[zone\]\]\nname = "zone"\ncamera = "yard"\npoints = (\[\[.*?\]\])', html)
    assert drawn is not None
    corners = np.array(json.loads(drawn[1]))  # clicks are on whole pixels
    assert corners == pytest.approx(np.array([[0.25, 0.25], [0.75, 0.25], [0.5, 0.75]]), abs=0.01)
    assert "<td>event visitor</td>" in html and "(at most 1)" in html


def test_what_a_program_gets(page: WebPage, cameras: dict[str, RunStatus]) -> None:
    tiles = json.loads(_get(f"{page.url}cameras.json")[1])
    fits("cameras", tiles)
    assert [tile["objects"] for tile in tiles] == [{HOSTILE: 1}] * 2
    assert json.loads(_get(f"{page.url}state.json?camera=yard")[1])["camera"] == "yard"
    fits("result", json.loads(_get(f"{page.url}state.json?camera=yard")[1])["last"])
    fits("history", json.loads(_get(f"{page.url}history.json?camera=door")[1]))
    assert _get(f"{page.url}state.json?camera=none")[0] == 404
    events = json.loads(_get(f"{page.url}events.json")[1])
    fits("events", events)
    fits("event", events[0])
    ident = events[0]["id"]
    assert events[0]["film"] and events[0]["thumbnail"] and events[0]["ended"] == 1000.5
    frames = json.loads(_get(f"{page.url}events/{ident}/frames.json")[1])
    fits("frames", frames)
    received = cameras["door"].last and cameras["door"].last.received
    assert received and _get(f"{page.url}events/{ident}/{frames[0][0]}")[1] == received.jpeg
    assert decode_bgr(_get(f"{page.url}events/{ident}/thumbnail.jpg")[1]).shape == (240, 320, 3)
    code, film = _get(f"{page.url}events/{ident}/clip.mp4")
    assert code == 200 and film[4:8] == b"ftyp" and received.jpeg is not None and received.jpeg in film


@pytest.mark.parametrize(
    "path", ["events/../../etc/passwd", "events/%2e%2e/event.json", "events/x/event.json", "events//event.json",
             "events/2026-01-01T00-00-00.000Z-yard-visitor-ab12/../secret.txt", "events/./secret.txt", "events/x"],
)  # fmt: skip
def test_nothing_but_events_is_read(page: WebPage, tmp_path: Path, path: str) -> None:
    (tmp_path / "events" / "secret.txt").write_text("secret")
    with socket.create_connection(("127.0.0.1", int(page.url.rstrip("/").rpartition(":")[2])), timeout=5) as link:
        link.sendall(f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert link.recv(1 << 16).startswith(b"HTTP/1.1 404")


def test_a_link_out_of_an_event_is_not_followed(page: WebPage, tmp_path: Path) -> None:
    (event,) = (tmp_path / "events").iterdir()
    (event / "clip.mp4").unlink()
    (event / "clip.mp4").symlink_to("/etc/passwd")
    (tmp_path / "events" / "linked").symlink_to("/etc")
    assert _get(f"{page.url}events/{event.name}/clip.mp4")[0] == 404


def test_snapshots_and_streams_are_of_now_and_want_the_token(
    cameras: dict[str, RunStatus], make: Make, tmp_path: Path
) -> None:
    token = "0123456789abcdef"
    with WebPage("127.0.0.1", 0, status=cameras, stale_after_s=10.0, token=token) as page:
        assert _get(f"{page.url}snapshot.jpg")[0] == _get(f"{page.url}stream.mjpg")[0] == 401
        code, raw = _get(f"{page.url}snapshot.jpg?camera=yard&token={token}")
        last = cameras["yard"].last
        assert code == 200 and last is not None and last.received is not None and raw == last.received.jpeg
        drawn = decode_bgr(_get(f"{page.url}snapshot.jpg?annotated=1", Authorization=f"Bearer {token}")[1]).astype(int)
        assert drawn.shape == (240, 320, 3) and abs(drawn[120, 20] - (120, 220, 90)).max() < 60, "the box is drawn"
        with urllib.request.urlopen(f"{page.url}stream.mjpg?fps=30&token={token}", timeout=5) as stream:
            assert stream.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=edgeguard"
            first = stream.read(len(raw))
            assert first.startswith(b"--edgeguard\r\nContent-Type: image/jpeg\r\nContent-Length: ")
            door = cameras["door"]
            assert door.last is not None
            door.update(replace(door.last, frame=8))
            assert b"--edgeguard" in stream.read(len(raw) + 100)
        cameras["door"].state = State.LOST
        assert _get(f"{page.url}snapshot.jpg?token={token}")[0] == 503
        assert _get(f"{page.url}stream.mjpg?fps=x&token={token}")[0] == 400
        assert _get(f"{page.url}stream.mjpg?fps=nan&token={token}")[0] == 400


def test_streams_are_bounded_and_end_with_the_page(cameras: dict[str, RunStatus]) -> None:
    links = []
    with WebPage("127.0.0.1", 0, status=cameras, stale_after_s=10.0, token=None) as page:
        port = int(page.url.rstrip("/").rpartition(":")[2])
        for _ in range(8):
            link = socket.create_connection(("127.0.0.1", port), timeout=5)
            link.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert link.recv(15) == b"HTTP/1.1 200 OK"
            links.append(link)
        assert _get(f"{page.url}stream.mjpg")[0] == 503
        began = time.monotonic()
    assert time.monotonic() - began < 5
    for link in links:
        link.close()


def test_health_names_the_camera_that_is_not_well(cameras: dict[str, RunStatus]) -> None:
    with WebPage("127.0.0.1", 0, status=cameras, stale_after_s=10.0, token=None) as page:
        assert _get(f"{page.url}healthz") == (200, b"ok\n")
        cameras["yard"].result_at = time.monotonic() - 60
        code, text = _get(f"{page.url}healthz")
        assert code == 503 and text.startswith(b"yard: no result for 60 s")


def test_a_large_file_of_an_event_is_not_held_in_memory(page: WebPage, tmp_path: Path) -> None:
    (event,) = (tmp_path / "events").iterdir()
    with open(event / "thumbnail.jpg", "wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    with socket.create_connection(("127.0.0.1", int(page.url.rstrip("/").rpartition(":")[2])), timeout=5) as link:
        link.sendall(f"GET /events/{event.name}/thumbnail.jpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = link.recv(1 << 16)
    assert head.startswith(b"HTTP/1.1 200") and b"Content-Length: 1073741824\r\n" in head
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20


def test_what_is_sent_of_a_film_takes_a_share_of_a_core(page: WebPage, tmp_path: Path) -> None:
    (event,) = (tmp_path / "events").iterdir()
    with open(event / "clip.mp4", "ab") as film:
        film.truncate(64 << 20)
    port, took = int(page.url.rstrip("/").rpartition(":")[2]), 0
    with mock.patch.object(page, "_budget", mock.Mock(spec=CpuBudget)) as budget:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
            link.sendall(f"GET /events/{event.name}/clip.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            while data := link.recv(1 << 20):
                took += len(data)
        assert took > 64 << 20
        assert budget.wait.call_count >= 64 and sum(call.args[0] for call in budget.spend.call_args_list) > 0


def test_a_file_that_grows_is_sent_as_it_was_announced(page: WebPage, tmp_path: Path) -> None:
    (event,) = (tmp_path / "events").iterdir()
    lines = event / "results.jsonl"
    with open(lines, "ab") as file:
        file.truncate(20 << 20)
        answer = page._event_file(f"{event.name}/results.jsonl")
        file.truncate(30 << 20)
    sent = list[int]()
    assert answer.stream is not None
    answer.stream(lambda data: sent.append(len(data)))
    assert sum(sent) == 20 << 20 == int(answer.headers["Content-Length"])


def test_films_on_their_way_are_bounded(page: WebPage, tmp_path: Path) -> None:
    (event,) = (tmp_path / "events").iterdir()
    with open(event / "clip.mp4", "ab") as film:
        film.truncate(64 << 20)  # more than sockets hold
    port = int(page.url.rstrip("/").rpartition(":")[2])
    links = []
    for _ in range(8):
        links.append(socket.create_connection(("127.0.0.1", port)))
        links[-1].sendall(f"GET /events/{event.name}/clip.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert links[-1].recv(12) == b"HTTP/1.1 200"
    assert _get(f"{page.url}events/{event.name}/clip.mp4")[0] == 503
    for link in links:
        link.close()
