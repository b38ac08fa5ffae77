"""A camera sends a picture of a few pixels by tens of thousands: what is drawn of it has bounds.

By width alone, 8x65,500 pixels became a canvas of 5.6 GB in `run --save`, and a thumbnail of 2.5 GB.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.guard.passes import Received
from edgeguard.pipeline.event import Event, Keeping
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.sinks.event_store import THUMBNAIL
from edgeguard.sinks.overlay import draw_overlay
from edgeguard.sinks.recorder import EventRecorder
from edgeguard.sinks.video import AnnotatedVideo
from edgeguard.sinks.web.pictures import Pictures

Make = Callable[..., FrameResult]
STRIPS = [(3000, 8), (8, 30_000), (3000, 1), (1, 1)]


def _strip(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 90, np.uint8)


@pytest.mark.parametrize(("height", "width"), STRIPS)
def test_a_strip_is_drawn_within_bounds_and_beside_paper(make: Make, height: int, width: int) -> None:
    canvas = draw_overlay(make(0, rgb=_strip(height, width)))
    assert canvas.shape[0] <= 8184 and 480 <= canvas.shape[1] <= 8184
    assert canvas.shape[0] % 2 == canvas.shape[1] % 2 == 0
    assert (canvas[0, 0] == 90).all()


def test_a_usual_frame_is_drawn_as_large_as_it_is(make: Make, scene: NDArray[np.uint8]) -> None:
    canvas = draw_overlay(make(0, rgb=scene))
    times = -(-480 // scene.shape[1]) if scene.shape[1] < 480 else 1
    assert canvas.shape[:2] == (times * scene.shape[0] // 2 * 2 + 56, times * scene.shape[1] // 2 * 2)


def test_a_video_that_begins_with_a_strip_goes_on(make: Make, scene: NDArray[np.uint8], tmp_path: Path) -> None:
    with AnnotatedVideo(tmp_path / "o.mp4") as sink:
        for rgb in (_strip(3000, 8), scene, _strip(8, 30_000)):
            sink.write(make(0, rgb=rgb))
    reader = cv2.VideoCapture(str(tmp_path / "o.mp4"), cv2.CAP_FFMPEG)
    assert int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) == 3


@pytest.mark.parametrize(("height", "width"), STRIPS)
def test_the_page_shows_a_strip(make: Make, status: RunStatus, height: int, width: int) -> None:
    status.update(make(8, received=Received(None, _strip(height, width), "run"), rgb=_strip(height, width)))
    pictures = Pictures(status)
    for data in (pictures.raw(), pictures.sanitized(), pictures.annotated()):
        shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None and max(shown.shape) <= 960


def test_the_thumbnail_of_a_strip(make: Make, tmp_path: Path) -> None:
    keeping = Keeping(1.0, 1.0, 0.0)
    event = Event("e-1", "", "r", "object", "stop", 1, 0.9, None, None, 1e3, 0.0, 0.0, 0, (0, 0, 8, 8), keeping=keeping)
    with EventRecorder(tmp_path, 0.0, before_s=1.0) as recorder:
        recorder.write(make(0, at=0.0, received=Received(None, _strip(30_000, 8), "run"), events=(event,)))
    shown = cv2.imread(str(tmp_path / "e-1" / THUMBNAIL))
    assert shown is not None and shown.shape[0] <= 960 and shown.shape[1] <= 320
