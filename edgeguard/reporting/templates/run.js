"use strict";
const at = id => document.getElementById(id);
let shown = -1, answeredAt = null;

function rows(table, pairs) {
  table.replaceChildren(...pairs.map(([name, value, wrong, color]) => {
    const row = document.createElement("tr");
    for (const text of [name, value]) row.insertCell().textContent = text;
    if (color) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.backgroundColor = color;
      row.cells[0].prepend(swatch);
    }
    if (wrong) row.cells[1].className = "wrong";
    return row;
  }));
}

function chart(history) {
  const canvas = at("chart"), context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const width = canvas.clientWidth, height = canvas.clientHeight, scale = window.devicePixelRatio || 1;
  const top = Math.max(20, ...history.map(p => Math.max(p.ms, p.age_ms || 0))) * 1.1;
  canvas.width = width * scale;  // clears it as well
  canvas.height = height * scale;
  context.scale(scale, scale);
  context.font = "13px system-ui";
  for (let i = 1; i < 4; i++) {
    const y = height * (1 - i / 4);
    context.fillStyle = style.getPropertyValue("--line");
    context.fillRect(0, y, width, 1);
    context.fillStyle = style.getPropertyValue("--ink");
    context.fillText((top * i / 4).toFixed(0) + " ms", 4, y - 4);
  }
  for (const [key, color] of [["age_ms", "--bad"], ["ms", "--blue"]]) {
    context.strokeStyle = style.getPropertyValue(color);
    context.lineWidth = 2;
    context.beginPath();
    history.forEach((p, i) => {
      if (p[key] === null) return;
      context.lineTo(width * i / Math.max(history.length - 1, 1), height * (1 - p[key] / top));
    });
    context.stroke();
  }
}

function shape(parent, name, attributes, text) {
  const made = document.createElementNS(at("raw-boxes").namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// Boxes, points and masks are in pixels of the frame, whatever size its picture has here.
function draw(picture, s) {
  const over = at(picture.id + "-boxes"), last = s.last;
  over.replaceChildren();
  if (!s.size) return;
  over.setAttribute("viewBox", "0 0 " + s.size[0] + " " + s.size[1]);
  over.setAttribute("preserveAspectRatio", "none");
  const letter = 13 * s.size[0] / Math.max(picture.clientWidth, 1);
  if (s.mask) mask(over, s.mask, last.frame);
  for (const b of last.boxes || []) box(over, b, letter, s.size);
  for (const p of last.keypoints || []) point(over, p, letter);
}

function mask(over, m, frame) {
  shape(over, "image", {"class": "mask", href: "mask.png?frame=" + frame, x: m.x1, y: m.y1, width: m.x2 - m.x1, height: m.y2 - m.y1, preserveAspectRatio: "none"});
}

function box(over, b, letter, size) {
  const group = shape(over, "g", {"class": "s" + (7 * b.index + (b.index >> 3)) % 8});
  shape(group, "rect", {"class": "box", x: b.x1, y: b.y1, width: Math.max(b.x2 - b.x1, 0), height: Math.max(b.y2 - b.y1, 0)});
  const top = b.y1 > 1.5 * letter ? b.y1 - .35 * letter : b.y1 + 1.1 * letter;
  const right = b.x1 > .6 * size[0];  // else a long name leaves the picture
  const place = {x: right ? b.x2 - .2 * letter : b.x1 + .2 * letter, y: top, "text-anchor": right ? "end" : "start"};
  const text = shape(group, "text", place, b.label + " " + b.score.toFixed(2));
  text.style.fontSize = letter + "px";
}

function point(over, p, letter) {
  if (p.score < .3) return;  // as in the film of --save
  const circle = shape(over, "circle", {"class": "point", cx: p.x, cy: p.y, r: .36 * letter});
  shape(circle, "title", {}, p.name + " " + p.score.toFixed(2));
}

// What the model saw: a title, and a row of each class, object or point.
function seen(last, mask) {
  if (last.shares) return ["Classes by share of the picture", last.shares.slice(0, 12).map(t => [t.label, (100 * t.share).toFixed(1) + " %", false, mask && mask.colors[t.index]])];
  if (last.keypoints) return ["Keypoints", last.keypoints.map(p => [p.name, p.score.toFixed(2) + (p.score < .3 ? " (not drawn)" : "")])];
  if (last.boxes) return ["Objects by class", objects(last.boxes)];
  return ["Best classes", last.top.map(t => [t.label, t.score.toFixed(3)])];
}

function objects(boxes) {
  const counts = new Map();
  for (const b of boxes) {
    const one = counts.get(b.label) || {count: 0, best: 0};
    counts.set(b.label, {count: one.count + 1, best: Math.max(one.best, b.score)});
  }
  const found = [...counts].sort((a, b) => b[1].count - a[1].count || b[1].best - a[1].best).slice(0, 12);
  return found.length ? found.map(([label, one]) => [label, one.count + " (best " + one.best.toFixed(2) + ")"]) : [["nothing", "0"]];
}

function clock(seconds) {
  const ago = Math.max(0, Math.round(Date.now() / 1e3 - seconds));
  const long = ago < 120 ? ago + " s" : ago < 7200 ? Math.round(ago / 60) + " min" : Math.round(ago / 3600) + " h";
  return new Date(1e3 * seconds).toLocaleTimeString() + " (" + long + ")";
}

// What stands in the largest type: the answer while the picture is of now, else that there is none.
function headline(s) {
  const last = s.last;
  if (s.shows_now) return (last.label === null ? "nothing" : last.label) + "  " + (last.shares ? (100 * last.score).toFixed(0) + " %" : last.score.toFixed(2));
  if (s.ringing.includes("frozen") && s.state === "running") return "the picture does not change";
  if (s.away_since) return (s.state === "refused" ? "frames are refused" : "no picture") + " since " + clock(s.away_since);
  return last ? "no picture" : "-";
}

function show(s) {
  const c = s.counters, last = s.last, fine = s.shows_now && (s.result_age_s === null || s.result_age_s < 10);
  document.body.classList.toggle("away", last !== null && !s.shows_now);
  at("label").textContent = headline(s);
  at("source").textContent = s.source + (s.applied || s.coding ? " (" + [s.applied, s.coding].filter(Boolean).join("; ") + ")" : "");
  at("state").textContent = "camera " + s.state;
  at("state").className = "chip " + (fine ? "good" : "bad");
  at("alarms").hidden = !s.ringing.length && s.state === "running";
  at("alarms").textContent = [s.ringing.length ? "ALARM: " + s.ringing.join(", ") : "", s.reason && s.state !== "running" ? s.reason : ""].filter(Boolean).join(" | ");
  at("guard").textContent = "after pass 2: " + (s.guard || "no guard") + (s.patch_guard ? ", then " + s.patch_guard : "");
  if (last) {
    const undefended = last.undefended ? ", undefended: " + last.undefended.label : "";
    const proof = s.proof, certified = proof === null ? "" : ", " + Math.floor(100 * proof.certified_share) + " % of blocks certified";
    const before = s.shows_now ? "" : "the last one: " + (last.label === null ? "nothing" : last.label) + ", ";
    at("detail").textContent = before + "frame " + last.frame + ", " + (last.age_ms === null || !s.shows_now ? "" : last.age_ms.toFixed(0) + " ms old, ") + last.passes + " passes (pass 1: " + last.pass1 + ")" + certified + undefended;
    const [title, found] = seen(last, s.mask);
    at("classes").textContent = title;
    rows(at("top"), found);
    if (last.frame !== shown) {
      shown = last.frame;
      for (const name of ["raw", "sanitized"]) {
        const picture = at(name);
        picture.onload = () => draw(picture, s);
        picture.src = name + ".jpg?frame=" + shown;
      }
    }
  }
  const share = part => (Math.floor(1000 * part) / 10).toFixed(1) + " % of blocks", proof = s.proof;
  const proven = proof === null ? [] : [["proven at 1 level", (proof.proven ? "yes, " : "no, ") + share(proof.certified_share), !proof.proven],
    ["proven at 2 levels", (proof.proven_2 ? "yes, " : "no, ") + share(proof.certified_share_2)], ["frames proven at 1 level", c.proven_frames + " of " + c.certified_frames]];
  const ms = Object.entries(c.ms).map(([stage, t]) => [stage + ", median", t.p50 === null ? "-" : t.p50.toFixed(1) + " ms"]);
  rows(at("run"), [
    ["results a second", c.fps], ["results", c.frames], ["dropped", c.dropped], ["damaged", c.lost, c.lost > 0],
    ...Object.entries(c.refused).map(([why, count]) => ["refused: " + why, count, true]),
    ...(c.other_profile ? [["sealed with another profile", c.other_profile, true]] : []),
    ...Object.entries(c.noted).map(([what, count]) => ["passed over: " + what, count]),
    ["camera losses", c.losses, c.losses > 0], ["age, 95 %", c.age_ms.p95 === null ? "-" : c.age_ms.p95.toFixed(0) + " ms"],
    ...proven, ...ms, ["temperature", s.celsius === null ? "-" : s.celsius.toFixed(0) + " °C"],
    ["throttled", s.limits === null ? "not known" : s.limits.join(", ") || "no", s.limits !== null && s.limits.length > 0],
    ["slowed on purpose", s.slowed || "no"], ["model", s.model.slice(0, 12)], ["up", Math.round(s.uptime_s) + " s"]]);
  rows(at("sinks"), s.sinks.map(k => [k.name, k.failure || (k.written + (k.dropped ? ", " + k.dropped + " dropped" : "")), k.failure !== null]));
  chart(s.history);
}

async function tick() {
  try {
    const answer = await fetch("state.json", {signal: AbortSignal.timeout(5000)});
    if (!answer.ok) throw new Error(answer.status);
    show(await answer.json());
    answeredAt = Date.now() / 1e3;
  } catch (error) {
    at("state").textContent = "the run does not answer";
    at("state").className = "chip bad";
    if (answeredAt !== null) {  // what stands there is of that time
      document.body.classList.add("away");
      at("label").textContent = "no answer since " + clock(answeredAt);
    }
  }
  setTimeout(tick, 500);
}
tick();
