"""The page on which objects are marked in photographs without tags; every mark is on the disk before it is answered."""

import threading
import time
from collections.abc import Sequence

import cv2
import numpy as np

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import EdgeGuardError, InputError
from edgeguard.fieldtest.session.arms import is_recorded_pass, light_named, sheets_named
from edgeguard.fieldtest.session.look import Picture, film_picture, read_again
from edgeguard.fieldtest.session.marks import Mark, parse_mark, write_marks
from edgeguard.fieldtest.session.place import size_mm
from edgeguard.fieldtest.session.session import Session
from edgeguard.reporting.served import page_files
from edgeguard.system.foreign import foreign_json, parsing
from edgeguard.system.http import Answer, HttpServer, Request

_SHOWN_PX = 1600  # longer side of what the browser gets
_ANSWERED_WITHIN_S = 0.5
_KEPT = 4  # pictures that are ready to be sent again


class MarkPage(HttpServer):
    """Serves until `wait` returns: the page's button was pressed. Use as a context manager.

    Args:
        session: its plan names the sheets; the marks are kept in its folder.
        pictures: that are to be marked.
        marks: that there are already.
        port: 0 takes a free one; always on this machine only.

    Raises:
        DeviceError: the port is taken.
    """

    def __init__(self, session: Session, pictures: Sequence[Picture], marks: dict[str, Mark], *, port: int) -> None:
        self._session, self._pictures, self.marks = session, list(pictures), dict(marks)
        self._files = page_files("mark", "Mark the object")
        self._lock, self._finished = threading.Lock(), threading.Event()
        self._ready: dict[int, bytes] = {}
        super().__init__(
            "the page", "127.0.0.1", port, answer=self._page, health=lambda: Answer.line(200, "ok"),
            posts=frozenset({"/mark", "/finish"}),
        )  # fmt: skip

    @property
    def left(self) -> int:
        """Pictures without a mark."""
        return sum(one.key not in self.marks for one in self._pictures)

    def wait(self) -> None:
        """Until the button is pressed."""
        while not self._finished.wait(0.5):
            pass
        time.sleep(_ANSWERED_WITHIN_S)  # the browser is told that it worked before the server is gone

    def _page(self, request: Request) -> Answer:
        if request.path in self._files:
            return Answer(200, *self._files[request.path])
        if request.path == "/pictures.json":
            return Answer.json(self.document())
        if request.path == "/picture.jpg":
            return self._picture(request.query.get("number", ""))
        if request.path == "/mark":
            return self._mark(request.body)
        if request.path == "/finish":
            self._finished.set()
            return Answer.json({"left": self.left})
        return Answer.line(404, "not found")

    def document(self) -> dict[str, object]:
        """What the page shows, as plain data."""
        plan = self._session.plan
        sheets = [
            {"number": s.number, "name": f"{s.object}, {s.arm}", "width": size_mm(s)[0], "height": size_mm(s)[1]}
            for s in plan.sheets
        ]
        return {"sheets": sheets, "pictures": [self._about(one) for one in self._pictures]}

    def _about(self, one: Picture) -> dict[str, object]:
        plan, folders = self._session.plan, one.file.folders
        mark = self.marks.get(one.key)
        meant = [sheet.number for sheet in sheets_named(plan, folders)]
        if one.sheet is not None and (not meant or one.sheet in meant):
            meant = [one.sheet]  # a single tag is seen: too few for a pose, enough for a name
        return {
            "name": one.file.name if one.index is None else f"{one.file.name}, picture {one.index}",
            "width": one.width, "height": one.height,
            "sheets": meant,
            "light": light_named(plan, folders) or "",
            "film": None if one.index is None else one.key.split("#")[0], "index": one.index,
            "pass": "/".join(folders) if is_recorded_pass(folders) else None,
            "mark": None if mark is None else {"kind": mark.kind, "points": mark.points, "sheet": mark.sheet},
        }  # fmt: skip

    def _mark(self, body: bytes) -> Answer:
        try:
            with parsing("the mark"):
                data = foreign_json(body)
                number = data.pop("number")
                if not isinstance(number, int) or not 0 <= number < len(self._pictures):
                    raise ValueError("there is no such picture")
                mark = parse_mark(data)
                if mark.sheet is not None and self._session.plan.sheet(mark.sheet) is None:
                    raise ValueError("the plan has no such sheet")
        except InputError as error:
            return Answer.line(400, str(error).removeprefix("the mark is damaged: "))
        with self._lock:
            self.marks[self._pictures[number].key] = mark
            write_marks(self._session.folder, self.marks)
        return Answer.json({"left": self.left})

    def _picture(self, text: str) -> Answer:
        if not text.isdecimal() or len(text) > 6 or int(text) >= len(self._pictures):
            return Answer.line(404, "there is no such picture")
        number = int(text)
        with self._lock:
            if number not in self._ready:
                try:
                    made = _small(self._pictures[number])
                except EdgeGuardError as error:
                    return Answer.line(404, str(error))
                while len(self._ready) >= _KEPT:
                    del self._ready[next(iter(self._ready))]
                self._ready[number] = made
            return Answer(200, self._ready[number], "image/jpeg")


def _small(picture: Picture) -> bytes:
    if picture.index is None:
        rgb = decode_whole(read_again(picture))
    else:
        rgb = film_picture(picture.file.path, picture.index).decode()
    scale = min(_SHOWN_PX / max(rgb.shape[:2]), 1.0)
    size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(np.asarray(small, np.uint8)[:, :, ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
