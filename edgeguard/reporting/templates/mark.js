"use strict";
const at = id => document.getElementById(id);
const view = at("view"), loupe = at("loupe"), image = new Image();
const WORDS = {corners: ["upper left", "upper right", "lower right", "lower left"], box: ["upper left", "lower right"]};
const ZOOM = 6;
let sheets = [], pictures = [], now = 0, kind = "corners", points = [], chosen = 0, ready = false;

const size = q => Math.sqrt(Math.abs(q.reduce((sum, [x, y], k) => {
  const [u, v] = q[(k + 1) % q.length];
  return sum + x * v - u * y;
}, 0) / 2));

// Of a film: between two marked pictures as for a steady approach (the distance, 1 / size, changes evenly), after one
// of them where that one has it.
// Of a pass that was recorded: where the camera and the object stood still.
function proposed(p) {
  if (p.pass !== null) return pictures.filter(q => q.pass === p.pass && q.mark?.kind === "corners").at(-1)?.mark.points ?? null;
  if (p.film === null) return null;
  const marked = pictures.filter(q => q !== p && q.film === p.film && q.mark?.kind === "corners");
  const a = marked.filter(q => q.index < p.index).at(-1), b = marked.find(q => q.index > p.index);
  if (!a || !b) return (a ?? b)?.mark.points ?? null;
  const t = (p.index - a.index) / (b.index - a.index), [from, to] = [1 / size(a.mark.points), 1 / size(b.mark.points)];
  const now = from + (to - from) * t;
  const share = Math.abs(to - from) < 1e-6 * from ? t : (1 / now - 1 / from) / (1 / to - 1 / from);
  return a.mark.points.map(([x, y], k) => {
    const [u, v] = b.mark.points[k];
    return [x + (u - x) * share, y + (v - y) * share];
  });
}

function start() {
  const p = pictures[now];
  if (p.mark && p.mark.kind !== "none") kind = p.mark.kind;
  points = (p.mark?.kind === kind ? p.mark.points : p.mark || kind === "box" ? [] : proposed(p) ?? []).map(q => [...q]);
  chosen = points.length === WORDS[kind].length ? 0 : points.length;
  const names = p.sheets.length ? sheets.filter(s => p.sheets.includes(s.number)) : sheets;
  const options = names.map(s => new Option(`${s.number}: ${s.name}, ${s.width} x ${s.height} mm`, s.number));
  if (names.length > 1) options.unshift(new Option("choose", ""));
  at("sheet").replaceChildren(...options);
  const before = pictures[now - 1];
  if (p.mark?.sheet != null) at("sheet").value = p.mark.sheet;
  else if ((p.film ?? p.pass) !== null && before?.film === p.film && before.pass === p.pass && before.mark?.sheet != null) at("sheet").value = before.mark.sheet;
  ready = false;
  image.src = "picture.jpg?number=" + now;
  show();
}

function show(problem) {
  const p = pictures[now], words = WORDS[kind], left = pictures.filter(q => !q.mark).length;
  at("name").textContent = `${now + 1} of ${pictures.length}: ${p.name}` + (p.light ? ` (light ${p.light})` : "");
  const done = points.length === words.length;
  at("say").className = problem ? "bad" : "";
  at("say").textContent = problem ?? (p.mark?.kind === "none" ? "Marked: the object is not here." :
    done ? `${p.mark ? "" : p.film !== null || p.pass !== null ? "Proposed, if you did not move it. " : ""}Right? Then press Enter. Corner ${chosen + 1}, ${words[chosen]}, is chosen.` :
    `Click the ${words[points.length]} corner.`);
  at("kind").textContent = kind === "corners" ? "Box instead (B)" : "Four corners instead (B)";
  at("save").disabled = !done;
  at("left").textContent = left ? `${left} pictures are not marked yet.` : "All pictures are marked.";
  draw();
}

function draw() {
  const c = view.getContext("2d");
  c.clearRect(0, 0, view.width, view.height);
  if (!ready) return;
  c.drawImage(image, 0, 0, view.width, view.height);
  const w = view.width, h = view.height, unit = Math.max(w, h) / 800;
  const q = points.map(([x, y]) => [x * w, y * h]);
  c.lineWidth = 2 * unit;
  for (const [color, extra] of [["#000", 2 * unit], ["#ffe14d", 0]]) {
    c.strokeStyle = color;
    c.lineWidth = 2 * unit + extra;
    c.beginPath();
    if (kind === "box" && q.length === 2) c.rect(q[0][0], q[0][1], q[1][0] - q[0][0], q[1][1] - q[0][1]);
    else if (q.length) {
      c.moveTo(...q[0]);
      q.slice(1).forEach(p => c.lineTo(...p));
      if (q.length === 4) c.closePath();
    }
    c.stroke();
  }
  q.forEach(([x, y], k) => {
    c.beginPath();
    c.arc(x, y, 7 * unit, 0, 7);
    c.lineWidth = 3 * unit;
    c.strokeStyle = k === chosen ? "#ff5a3c" : "#ffe14d";
    c.stroke();
    c.fillStyle = "#fff";
    c.strokeStyle = "#000";
    c.font = `bold ${16 * unit}px system-ui`;
    c.strokeText(k + 1, x + 9 * unit, y - 9 * unit);
    c.fillText(k + 1, x + 9 * unit, y - 9 * unit);
  });
  magnify();
}

function magnify(place) {
  const c = loupe.getContext("2d"), n = loupe.width;
  c.fillStyle = "#333";
  c.fillRect(0, 0, n, n);
  const p = place ?? points[chosen];
  loupe.style.visibility = ready && p ? "visible" : "hidden";
  if (!ready || !p) return;
  const side = n / ZOOM, x = p[0] * image.naturalWidth, y = p[1] * image.naturalHeight;
  c.imageSmoothingEnabled = false;
  c.drawImage(image, x - side / 2, y - side / 2, side, side, 0, 0, n, n);
  c.strokeStyle = "#ff5a3c";
  c.beginPath();
  c.moveTo(n / 2, 0); c.lineTo(n / 2, n); c.moveTo(0, n / 2); c.lineTo(n, n / 2);
  c.stroke();
}

function where(event) {
  const r = view.getBoundingClientRect();
  return [(event.clientX - r.left) / r.width, (event.clientY - r.top) / r.height];
}

function put(p) {
  const count = WORDS[kind].length;
  if (points.length < count) {
    points.push(p);
    chosen = points.length - 1;
  } else {
    const far = ([x, y]) => Math.hypot((x - p[0]) * view.width, (y - p[1]) * view.height);
    chosen = points.reduce((best, q, k) => far(q) < far(points[best]) ? k : best, 0);
    points[chosen] = p;
  }
  show();
}

async function send(mark) {
  const p = pictures[now];
  const sheet = at("sheet").value === "" || (p.sheets.length === 1) ? null : Number(at("sheet").value);
  if (mark.kind !== "none" && sheet === null && p.sheets.length !== 1) return show("Choose the sheet first.");
  const body = {...mark, sheet: mark.kind === "none" ? null : sheet};
  let answer;
  try {
    answer = await fetch("mark", {method: "POST", body: JSON.stringify({number: now, ...body})});
  } catch (error) {
    return show("The import does not answer: was it stopped?");
  }
  if (!answer.ok) return show(await answer.text());
  p.mark = body;
  const open = pictures.findIndex((q, k) => k > now && !q.mark);
  const any = pictures.findIndex(q => !q.mark);
  if (open >= 0 || any >= 0) now = open >= 0 ? open : any;
  start();
}

const rounded = p => [Number(p[0].toFixed(6)), Number(p[1].toFixed(6))];
const save = () => points.length === WORDS[kind].length && send({kind, points: points.map(rounded)});
const absent = () => send({kind: "none", points: []});
function go(step) {
  now = (now + step + pictures.length) % pictures.length;
  start();
}
function other() {
  kind = kind === "corners" ? "box" : "corners";
  points = [];
  chosen = 0;
  show();
}
async function finish() {
  at("finish").disabled = true;
  try {
    await fetch("finish", {method: "POST", body: ""});
    at("say").className = "good";
    at("say").textContent = "The import goes on in the terminal. You can close this page.";
  } catch (error) {
    show("The import does not answer: was it stopped?");
  }
}

function key(event) {
  if (event.target.tagName === "SELECT" || event.ctrlKey || event.altKey || event.metaKey) return;
  const name = event.key.toLowerCase(), step = event.shiftKey ? 10 : 1;
  const moves = {arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1]};
  const does = {p: () => go(-1), n: () => go(1), b: other, x: absent};
  if (name in moves) {
    if (points.length < WORDS[kind].length && chosen >= points.length) {
      // without a mouse corners begin in the middle of the picture, and are moved from there
      const spread = kind === "box" ? [[.4, .4], [.6, .6]] : [[.4, .4], [.6, .4], [.6, .6], [.4, .6]];
      points = spread.map((p, k) => points[k] ?? p);
    }
    const p = points[chosen], s = Math.max(image.naturalWidth, image.naturalHeight, 1);
    const pixel = [1 / (image.naturalWidth || s), 1 / (image.naturalHeight || s)];
    points[chosen] = [p[0] + moves[name][0] * step * pixel[0], p[1] + moves[name][1] * step * pixel[1]];
    show();
  } else if (name >= "1" && name <= String(points.length) && name.length === 1) {
    chosen = Number(name) - 1;
    show();
  } else if (name === "enter" && event.target.tagName !== "BUTTON") save();
  else if (name in does) does[name]();
  else return;
  event.preventDefault();
}

image.onload = () => {
  view.width = image.naturalWidth;
  view.height = image.naturalHeight;
  ready = true;
  draw();
};
image.onerror = () => show("This picture cannot be read any more.");
view.onclick = event => put(where(event));
view.onmousemove = event => ready && magnify(where(event));
view.onmouseleave = () => ready && magnify();
document.onkeydown = key;
at("save").onclick = save;
at("before").onclick = () => go(-1);
at("after").onclick = () => go(1);
at("kind").onclick = other;
at("absent").onclick = absent;
at("finish").onclick = finish;

async function load() {
  const found = await (await fetch("pictures.json")).json();
  ({sheets, pictures} = found);
  const open = pictures.findIndex(p => !p.mark);
  now = open >= 0 ? open : 0;
  if (pictures.length) start();
}
load();
