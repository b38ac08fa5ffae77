"""The operator's page: what the camera sees, what to do next, what is missing; served by the standard library."""

import json
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edgeguard.fieldtest.session.plan import Cell, Plan
from edgeguard.fieldtest.session.record import Status
from edgeguard.fieldtest.session.session import Session
from edgeguard.system.http_server import BackgroundServer

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Field test</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>
body{font:17px/1.4 system-ui,sans-serif;margin:0;padding:1rem;max-width:60rem;color:#1c2330}
#advice{font-size:1.5rem;font-weight:600;padding:.6rem .8rem;background:#eef1f5;border-left:6px solid #1b6ca8}
#advice.good{border-color:#3d8b5f}#advice.bad{border-color:#c8553d}
img{width:100%;max-width:40rem;background:#ddd;min-height:8rem}table{border-collapse:collapse;font-size:.9rem}
td,th{padding:.15rem .5rem;border:1px solid #dde2ea;text-align:center}td.full{background:#d9ebdf}
button{font:inherit;padding:.4rem .8rem;margin:.2rem}button.on{background:#1b6ca8;color:#fff}
</style></head><body><h1>Field test</h1><div id="advice">waiting for the camera</div><p id="next"></p>
<p>Light that is on: <span id="lights"></span></p><p id="where"></p><img id="view" alt="what the camera sees">
<h2>Passes</h2><p id="done"></p><div id="grid"></div><script>
async function tick(){
 try{
  const s=await (await fetch('status.json')).json();
  const a=document.getElementById('advice');a.textContent=s.advice;a.className=s.good?'good':'bad';
  document.getElementById('next').textContent=s.next;
  document.getElementById('where').textContent=s.where;
  document.getElementById('done').textContent=s.done+' of '+s.wanted+(s.lost?', '+s.lost+' damaged frames':'');
  const l=document.getElementById('lights');
  if(l.dataset.now!==s.light){l.dataset.now=s.light;
   l.replaceChildren(...s.lights.map(n=>{const b=document.createElement('button');
   b.textContent=n;b.className=n===s.light?'on':'';b.onclick=()=>fetch('light',{method:'POST',body:n});return b}))}
  const t=document.createElement('table');
  for(const row of s.grid){const tr=t.insertRow();for(const c of row){const td=tr.insertCell();td.textContent=c.text;
   if(c.full)td.className='full'}}
  document.getElementById('grid').replaceChildren(t);
  document.getElementById('view').src='frame.jpg?'+s.frames;
 }catch(e){document.getElementById('advice').textContent='the recorder does not answer'}
 setTimeout(tick,500)}
tick()</script></body></html>
"""


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
        handler = partial(_Handler, session, status)
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
    def __init__(self, session: Session, status: Status, *args: Any) -> None:
        self.session, self.status = session, status
        super().__init__(*args)

    def do_GET(self) -> None:  # the name that http.server calls
        path = self.path.split("?")[0]
        if path == "/":
            self._send(_PAGE.encode(), "text/html; charset=utf-8")
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
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is the operator's."""
