"""Why a patch fails: on a virtual field with one step made worse on purpose, that step is named first."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from fieldtest.analysis.bad_field import played, sheets_with

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError
from edgeguard.fieldtest.analysis.why import why_it_fails
from edgeguard.fieldtest.analysis.why_files import STEPS, Strength, Why, clear_why, read_why, why_lines
from edgeguard.fieldtest.analysis.why_frames import (
    BLURS,
    FieldFrame,
    coded_like,
    fitted_colors,
    measured,
    pasted,
)
from edgeguard.fieldtest.sheets.sheet import Sheet, object_picture
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.jpeg.header import read_whole_jpeg
from edgeguard.model import load_model
from edgeguard.scene.cards import draw_card
from edgeguard.scene.views import background

SHEET = Sheet(1, "stop", "stop", "patch")
CORNERS = ((100.0, 90.0), (210.0, 90.0), (210.0, 200.0), (100.0, 200.0))


def _field_frame(sigma: float, quality: int, gains: tuple[float, float, float]) -> FieldFrame:
    """The card in a scene, with known colors, blur and coding."""
    scene = background(np.random.default_rng(1), 320, 240).astype(np.uint8)
    content = object_picture("stop").astype(np.float32) * gains + 10
    rgb = np.clip(np.rint(pasted(scene, content.astype(np.float32), CORNERS, SHEET, sigma)), 0, 255).astype(np.uint8)
    data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return FieldFrame(decode_rgb(data), data, SHEET, CORNERS, 1.0, "bright")


@pytest.mark.parametrize(("sigma", "quality"), [(0.0, 95), (2.0, 90), (4.0, 30)])
def test_blur_and_colors_are_measured_on_the_frame(sigma: float, quality: int) -> None:
    frame = _field_frame(sigma, quality, (0.8, 0.7, 0.6))
    found = measured(frame, object_picture("stop"), None, 0.0)
    assert found.sigma == pytest.approx(sigma, abs=0.45)
    white, red = found.colors(np.array([[255, 255, 255], [200, 25, 35]], np.float32))
    assert np.abs(white - (214, 188, 163)).max() < 5 and np.abs(red - (170, 27, 31)).max() < 9


def test_a_camera_codes_again_as_it_did() -> None:
    rgb = background(np.random.default_rng(2), 320, 240).astype(np.uint8)
    for options in ([cv2.IMWRITE_JPEG_QUALITY, 40], [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
                                                     cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]):  # fmt: skip
        data = cv2.imencode(".jpg", rgb[:, :, ::-1], options)[1].tobytes()
        again = coded_like(rgb, read_whole_jpeg(data)).astype(int)
        assert np.abs(again - decode_rgb(data)).mean() < 0.5


def test_colors_that_nothing_tells_stay_what_they_are() -> None:
    gray = np.linspace(0, 255, 200, dtype=np.float32)[:, None].repeat(3, 1)
    mapped = fitted_colors(gray, gray)(np.array([[255, 0, 0], [120, 120, 120]], np.float32))
    assert np.abs(mapped - [[255, 0, 0], [120, 120, 120]]).max() < 12


def test_a_whole_picture_is_mapped_once() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (700, 300, 3), np.uint8)
    colors = fitted_colors(*(np.random.default_rng(k).uniform(0, 255, (200, 3)).astype(np.float32) for k in (1, 2)))
    whole = colors.whole(picture)
    assert whole.shape == picture.shape and np.abs(whole - colors(picture.astype(np.float32))).max() < 1e-3
    assert colors.whole(picture) is whole and colors.whole(picture.copy()) is not whole


def _why(*successes: float) -> Why:
    ladder = tuple(Strength(STEPS[:k], success, 1.0, success) for k, success in enumerate(successes))
    return Why(1, "fd", 9, 90.0, ladder, None, 1.0, 60.0, 10.0)


def test_what_takes_most_is_said() -> None:
    assert _why(0.9, 0.85, 0.8, 0.3, 0.3, 0.3, 0.2).losses()[0][0] == "angle"
    assert _why(0.9, 0.85, 0.8, 0.3, 0.3, 0.3, 0.2).sentence().startswith("The angle takes most: 50 points of the 90 %")
    assert "it is the patch, not the print" in _why(0.05, 0.0).sentence()
    blind = Why(
        1, None, 9, 90.0, (Strength((), 0.0, 0.2, 0.0), Strength(STEPS[:1], 0.0, 0.2, 0.0)), None, 1.0, 60.0, 10.0
    )
    assert "about the clean object in 20 % of the frames only: nothing can be said of the patch" in blind.sentence()
    assert "keeps its strength" in _why(0.9, 0.9, 0.88).sentence()


def test_the_colors_are_named(tmp_path: Path) -> None:
    sheets = sheets_with(draw_card("no entry"), 0.5, "no entry")
    session = played(tmp_path / "s", sheets, "colors", passes=1)
    pictures = {sheet.number: picture for sheet, picture in sheets}
    told: list[tuple[int, int]] = []
    model = load_model(bundled_model(), threads=1)
    found = why_it_fails(session, model, pictures, ["off"], lambda done, total: told.append((done, total)))
    counts, totals = zip(*told, strict=True)
    assert counts[0] == 0 and counts[-1] == totals[-1] and len(set(totals)) == 1, "told at once, and to the end"
    assert sorted(counts) == list(counts) and max(np.diff(counts)) <= len(BLURS)
    assert found[0].losses()[0][0] == "colors" and found[0].ladder[0].success == 1 and read_why(session.folder) == found
    assert why_lines(session, found)[0].startswith("stop, patch 21: What print, light and camera make of the colors")
    assert why_it_fails(session, load_model(bundled_model(), threads=1), {}, ["off"]) == ()
    (session.folder / "why.json").write_text('{"schema": 1, "patches": [{}]}')
    with pytest.raises(InputError, match="damaged"):
        read_why(session.folder)
    assert clear_why(session.folder) == () and read_why(session.folder) == ()


@pytest.mark.full
@pytest.mark.parametrize("worse", STEPS)
def test_six_of_six(worse: str, tmp_path: Path) -> None:
    asset = Path(__file__).parent / "no_entry_patch.png"
    sheets = sheets_with(decode_rgb(asset.read_bytes()), 0.1**0.5, "no entry")
    session = played(tmp_path / "s", sheets, worse)
    pictures = {sheet.number: picture for sheet, picture in sheets}
    guards = ["off", "entropy"] if worse == "guard" else ["off", "fd"]
    (found,) = why_it_fails(session, load_model(bundled_model(), threads=1), pictures, guards)
    assert found.ladder[0].success > 0.8 and found.losses()[0][0] == worse
