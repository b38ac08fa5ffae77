"""The operator's page: what the camera sees, what to do next, what is missing; served by the standard library."""

import json
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edgeguard.fieldtest.session.plan import Cell, Plan
from edgeguard.fieldtest.session.record import Status
from edgeguard.fieldtest.session.session import Session
from edgeguard.reporting.served import HEADERS, page_files
from edgeguard.system.http_server import BackgroundServer


class GuidePage(BackgroundServer):
    """Serves the page while a session is recorded. Use as a context manager.

    Args:
        session: its plan and passes are shown.
        status: what the recorder fills in; the page sets its light.
        port: 0 takes a free one.
        host: `127.0.0.1` by default; the page has no password.

    Raises:
        DeviceError: the port is taken.
    """

    def __init__(self, session: Session, status: Status, *, port: int, host: str = "127.0.0.1") -> None:
        handler = partial(_Handler, session, status, page_files("operator", "Field test"))
        super().__init__(lambda: ThreadingHTTPServer((host, port), handler), "the page", host=host, port=port)


def status_document(session: Session, status: Status) -> dict[str, object]:
    """What the page shows, as plain data."""
    plan = session.plan
    with status.lock:
        advice, seen, light = status.advice, status.observation, status.light
        wanted, done, lost, ahead = status.wanted, status.done, status.lost, status.next_wanted
    where = ""
    if seen.pose is not None:
        pose = seen.pose
        where = (
            f"{pose.distance_mm:.0f} mm, {pose.angle_deg:.0f} +- {pose.angle_error_deg:.1f} degrees, {seen.tags} tags"
        )
    return {
        "advice": advice.situation.value + (f" ({advice.held} of {plan.frames})" if advice.held else ""),
        "good": advice.held > 0 or advice.finished,
        "next": "all passes are recorded" if ahead is None and done else _wanted(plan, ahead),
        "where": where, "light": light, "lights": list(plan.lights), "done": done, "wanted": wanted, "lost": lost,
        "frames": done * plan.frames + advice.held, "grid": _grid(session, light),
    }  # fmt: skip


def _wanted(plan: Plan, ahead: tuple[int, Cell] | None) -> str:
    if ahead is None:
        return ""
    sheet = plan.sheet(ahead[0])
    assert sheet is not None
    cell = ahead[1]
    place = f"{cell.distance_mm:g} mm, {cell.angle_deg:g} degrees, light {cell.light}"
    return f"Next: sheet {sheet.number} ({sheet.object}, {sheet.arm}) at {place}"


def _grid(session: Session, light: str) -> list[list[dict[str, object]]]:
    """A row for each sheet, a column for each position under the light that is on: passes done of wanted."""
    plan = session.plan
    cells = [cell for cell in plan.cells() if cell.light == light]
    names = ["", *(f"{cell.distance_mm:g} mm {cell.angle_deg:g}°" for cell in cells)]
    rows: list[list[dict[str, object]]] = [[{"text": name} for name in names]]
    for sheet in plan.sheets:
        row: list[dict[str, object]] = [{"text": f"{sheet.number} {sheet.object} {sheet.arm}"}]
        for cell in cells:
            count = session.count(sheet.number, cell)
            row.append({"text": f"{count}/{plan.passes}", "full": count >= plan.passes})
        rows.append(row)
    return rows


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, session: Session, status: Status, files: dict[str, tuple[bytes, str]], *args: Any) -> None:
        self.session, self.status, self.files = session, status, files
        super().__init__(*args)

    def do_GET(self) -> None:  # the name that http.server calls
        path = self.path.split("?")[0]
        if path in self.files:
            self._send(*self.files[path])
        elif path == "/status.json":
            self._send(json.dumps(status_document(self.session, self.status)).encode(), "application/json")
        elif path == "/frame.jpg":
            with self.status.lock:
                jpeg = self.status.jpeg
            self._send(jpeg, "image/jpeg") if jpeg else self.send_error(404)
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        length = min(int(self.headers.get("Content-Length") or 0), 200)
        light = self.rfile.read(length).decode("utf-8", "replace")
        if self.path != "/light" or light not in self.session.plan.lights:
            self.send_error(400)
            return
        with self.status.lock:
            self.status.light = light
        self._send(b"{}", "application/json")

    def _send(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is the operator's."""
