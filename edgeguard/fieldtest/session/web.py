"""The operator's page: what the camera sees, what to do next, what is missing."""

from edgeguard.fieldtest.session.plan import Cell, Plan
from edgeguard.fieldtest.session.record import Status
from edgeguard.fieldtest.session.session import Session
from edgeguard.reporting.served import page_files
from edgeguard.system.http import Answer, HttpServer, Request


class GuidePage(HttpServer):
    """Serves the page while a session is recorded. Use as a context manager.

    Args:
        session: its plan and passes are shown.
        status: what the recorder fills in; the page sets its light.
        port: 0 takes a free one.
        host: `127.0.0.1` by default.
        token: wanted from everybody (once as `/?token=...`); None for none.

    Raises:
        DeviceError: the port is taken.
    """

    def __init__(
        self, session: Session, status: Status, *, port: int, host: str = "127.0.0.1", token: str | None = None
    ) -> None:
        self._session, self._status = session, status
        self._files = page_files("operator", "Field test")
        super().__init__(
            "the page", host, port, answer=self._page, health=lambda: Answer.line(200, "ok"), token=token,
            posts=frozenset({"/light"}),
        )  # fmt: skip

    def _page(self, request: Request) -> Answer:
        if request.path in self._files:
            return Answer(200, *self._files[request.path])
        if request.path == "/status.json":
            return Answer.json(status_document(self._session, self._status))
        if request.path == "/frame.jpg":
            with self._status.lock:
                jpeg = self._status.jpeg
            return Answer(200, jpeg, "image/jpeg") if jpeg else Answer.line(404, "no frame yet")
        if request.path == "/light":
            return self._set_light(request.body.decode("utf-8", "replace"))
        return Answer.line(404, "not found")

    def _set_light(self, light: str) -> Answer:
        if light not in self._session.plan.lights:
            return Answer.line(400, "the plan has no such light")
        with self._status.lock:
            self._status.light = light
        return Answer.json({})


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
