"""The page on which corners are marked: its data, its refusals, and a browser that marks with mouse and keyboard."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fieldtest.session.phone import Exif, bare, object_corners, written
from programs import needed

from edgeguard.fieldtest.session.importing import import_all, look_at_all, to_be_marked
from edgeguard.fieldtest.session.look import Lens
from edgeguard.fieldtest.session.mark_page import MarkPage
from edgeguard.fieldtest.session.marks import read_marks
from edgeguard.fieldtest.session.plan import make_plan, write_plan
from edgeguard.fieldtest.session.session import Session
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet
from edgeguard.fieldtest.virtual.field import Stand

SIZE = (800, 600)
STAND = Stand(600, 20, seed=3)
SQUARE = [[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]]
#: Corners by the mouse, the last one moved ten pixels by the keyboard; then a box by the keyboard alone; then none.
DRIVE = """
const sleep = ms => new Promise(done => setTimeout(done, ms));
const press = (key, shiftKey) => document.body.dispatchEvent(
  new KeyboardEvent("keydown", {key, shiftKey, bubbles: true, cancelable: true}));
const until = async what => { while (!what()) await sleep(30); };
const pictureIs = k => until(() => ready && now === k);
(async () => {
  await pictureIs(0);
  const box = view.getBoundingClientRect();
  for (const [x, y] of CLICKS)
    view.dispatchEvent(new MouseEvent("click", {clientX: box.left + x * box.width, clientY: box.top + y * box.height}));
  press("4");
  press("ArrowLeft", true);
  press("Enter");
  await pictureIs(1);
  press("b");
  press("ArrowLeft");
  press("Enter");
  await pictureIs(2);
  press("x");
  await until(() => pictures.every(p => p.mark));
  at("finish").click();
})();
"""


@pytest.fixture
def photos(sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> Path:
    """Three photographs without tags; the folder of the last says no arm."""
    for name, k in (("clean/a.jpg", 0), ("plain/b.jpg", 1), ("other/c.jpg", 2)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True)
        rgb = bare(*sheets[k], STAND, *SIZE)
        path.write_bytes(written(rgb, ".jpg", Exif(f"2026:05:01 12:0{k}:00")))
    return tmp_path / "photos"


@pytest.fixture
def page(photos: Path, sheets: list[tuple[Sheet, Picture]], tmp_path: Path) -> Iterator[MarkPage]:
    folder = tmp_path / "s"
    folder.mkdir()
    write_plan(folder, make_plan([s for s, _ in sheets], (600,), (0, 20), ("bright",), passes=2))
    session = Session(folder)
    looked = look_at_all(session, [photos], Lens(str(folder), None, 3.0), 1)
    with MarkPage(session, to_be_marked(looked), {}, port=0) as served:
        yield served


def _post(page: MarkPage, data: object) -> object:
    request = urllib.request.Request(f"{page.url}mark", json.dumps(data).encode())
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())


def test_marks_are_checked_and_kept(page: MarkPage, tmp_path: Path) -> None:
    with urllib.request.urlopen(page.url + "pictures.json", timeout=5) as answer:
        said = json.loads(answer.read())
    assert [one["name"] for one in said["pictures"]] == [
        "photos/clean/a.jpg",
        "photos/other/c.jpg",
        "photos/plain/b.jpg",
    ]
    assert said["pictures"][0]["sheets"] == [10] and said["pictures"][1]["sheets"] == []
    assert said["pictures"][0]["film"] is None
    assert said["sheets"][1] == {"number": 11, "name": "stop, plain", "width": 120.0, "height": 120.0}
    with urllib.request.urlopen(page.url + "picture.jpg?number=1", timeout=5) as answer:
        assert answer.read()[:2] == b"\xff\xd8"
    assert _post(page, {"number": 0, "kind": "corners", "points": SQUARE, "sheet": None}) == {"left": 2}
    assert [mark.kind for mark in read_marks(tmp_path / "s").values()] == ["corners"]
    for wrong in (
        {"number": 7, "kind": "none"}, {"number": 0, "kind": "corners", "points": SQUARE[:3]},
        {"number": 0, "kind": "corners", "points": SQUARE[::-1]}, {"number": 0, "kind": "box", "points": SQUARE[2::-2]},
        {"number": 0, "kind": "corners", "points": [[9, 9], *SQUARE[1:]]}, {"number": 0, "kind": "none", "sheet": 99},
        {"number": "0", "kind": "none"}, ["kind"], {"number": 0, "kind": "line", "points": []},
    ):  # fmt: skip
        with pytest.raises(urllib.error.HTTPError, match="400"):
            _post(page, wrong)
    assert page.left == 2
    for path in ("picture.jpg?number=9", "picture.jpg", "nothing"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(page.url + path, timeout=5)


@pytest.mark.full
def test_a_browser_marks_with_mouse_and_keyboard(
    page: MarkPage, photos: Path, sheets: list[tuple[Sheet, Picture]], tmp_path: Path
) -> None:
    chromium = needed("chromium", "google-chrome", "chromium-browser")
    corners = (object_corners(sheets[0][0], STAND, *SIZE) + 0.5) / SIZE
    shifted = corners + np.array([[0, 0], [0, 0], [0, 0], [10 / SIZE[0], 0]])
    script, kind = page._files["/page.js"]
    drive = DRIVE.replace("CLICKS", json.dumps(shifted.tolist())).encode()
    page._files["/page.js"] = script + drive, kind
    page._pictures.sort(key=lambda one: one.file.name.endswith("c.jpg"))
    common = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    subprocess.run(
        [*common, "--virtual-time-budget=20000", "--window-size=1280,1000", f"--screenshot={tmp_path / 'p.png'}",
         page.url],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    page.wait()
    assert sorted(mark.kind for mark in page.marks.values()) == ["box", "corners", "none"]
    session = page._session
    looked = look_at_all(session, [photos], Lens(str(session.folder), None, 3.0), 1)
    done = import_all(session, looked, page.marks, light="bright", gap_s=10, film_fps=3)
    assert done.frames == 2 and done.not_used[0].reason == "marked as not showing the object"
    marked = next(f for one in session.passes for f in one.frames if f.pose_from == "corners")
    assert marked.distance_mm == pytest.approx(STAND.distance_mm, rel=0.05)
    assert np.abs(np.array(marked.corners) - object_corners(sheets[0][0], STAND, *SIZE)).max() < 1.5


PROPOSE = """
const report = [];
const film = (index, points) => ({film: "f", pass: null, index, mark: points && {kind: "corners", points}});
const square = side => [[.5 - side / 2, .5 - side / 2], [.5 + side / 2, .5 - side / 2],
                        [.5 + side / 2, .5 + side / 2], [.5 - side / 2, .5 + side / 2]];
pictures = [film(0, square(.1)), film(10), film(20, square(.4)), film(30), {film: null, pass: null, index: null}];
report.push(proposed(pictures[1])[2][0], proposed(pictures[3])[2][0], proposed(pictures[4]));
const still = (pass, points) => ({...film(null, points), film: null, pass});
pictures = [still("plain/pass-0001", square(.2)), still("plain/pass-0001"), still("plain/pass-0002")];
report.push(proposed(pictures[1])[2][0], proposed(pictures[2]));
document.title = JSON.stringify(report);
"""


@pytest.mark.full
def test_a_film_s_pictures_are_proposed_as_for_a_steady_approach(page: MarkPage, tmp_path: Path) -> None:
    chromium = needed("chromium", "google-chrome", "chromium-browser")
    script, kind = page._files["/page.js"]
    page._files["/page.js"] = script.replace(b"load();\n", b"") + PROPOSE.encode(), kind
    common = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    shown = subprocess.run(
        [*common, "--virtual-time-budget=3000", "--dump-dom", page.url], capture_output=True, text=True, timeout=120
    )
    found = json.loads(shown.stdout.split("<title>")[1].split("</title>")[0])
    # half way between the distances 10 and 2.5 is 6.25, where the side is .16
    assert found[0] == pytest.approx(0.58) and found[1] == pytest.approx(0.7) and found[2] is None
    assert found[3] == pytest.approx(0.6) and found[4] is None  # nothing moves within a recorded pass
