"use strict";
const at = id => document.getElementById(id);
let shown = -1, answeredAt = null, corners = null, newest = null, playing = 0;
let camera = decodeURIComponent(location.hash.slice(1)) || null;
const of = (path, more) => path + "?" + new URLSearchParams({...(camera ? {camera} : {}), ...more});

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
  const around = points => points.map(p => p[0] * s.size[0] + "," + p[1] * s.size[1]).join(" ");
  for (const m of s.rules.masks || []) shape(over, "polygon", {"class": "masked", points: around(m.points)});
  for (const z of s.rules.zones || []) {
    shape(over, "polygon", {"class": "zone", points: around(z.points)});
    const found = last.zones && last.zones[z.name], count = found ? Object.values(found.objects).reduce((a, b) => a + b, 0) : 0;
    shape(over, "text", {"class": "s0", x: z.points[0][0] * s.size[0], y: z.points[0][1] * s.size[1] + letter}, z.name + " " + count).style.fontSize = letter + "px";
  }
  if (corners && picture.id === "raw") shape(over, "polyline", {"class": "zone new", points: around(corners)});
  if (s.mask) mask(over, s.mask, last.frame);
  const names = [];
  for (const b of last.boxes || []) box(over, b, letter, s.size, names);
  for (const p of last.keypoints || []) point(over, p, letter);
}

function mask(over, m, frame) {
  shape(over, "image", {"class": "mask", href: of("mask.png", {frame}), x: m.x1, y: m.y1, width: m.x2 - m.x1, height: m.y2 - m.y1, preserveAspectRatio: "none"});
}

function box(over, b, letter, size, names) {
  const group = shape(over, "g", {"class": "s" + (7 * b.index + (b.index >> 3)) % 8});
  shape(group, "rect", {"class": "box", x: b.x1, y: b.y1, width: Math.max(b.x2 - b.x1, 0), height: Math.max(b.y2 - b.y1, 0)});
  const name = b.label + " " + b.score.toFixed(2) + (b.track ? " #" + b.track : "");
  const right = b.x1 > .6 * size[0];  // else a long name leaves the picture
  const x = right ? b.x2 - .2 * letter : b.x1 + .2 * letter, wide = .62 * letter * name.length;
  const left = right ? x - wide : x, high = 1.15 * letter;
  let y = b.y1 > 1.5 * letter ? b.y1 - .35 * letter : b.y1 + 1.1 * letter;
  const covers = t => Math.abs(t.y - y) < high && t.left < left + wide && left < t.left + t.wide;
  for (let tries = 0; tries < 8 && names.some(covers); tries++) y += high;  // boxes on each other: names below each other
  names.push({y, left, wide});
  const text = shape(group, "text", {x, y, "text-anchor": right ? "end" : "start"}, name);
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
    at("detail").textContent = before + "frame " + last.frame + ", " + (last.age_ms === null || !s.shows_now ? "" : last.age_ms.toFixed(0) + " ms old, ") + last.passes + (last.passes === 1 ? " pass" : " passes") + " (pass 1: " + last.pass1 + ")" + certified + undefended;
    const [title, found] = seen(last, s.mask);
    at("classes").textContent = title;
    rows(at("top"), found);
    if (last.frame !== shown) {
      shown = last.frame;
      for (const name of ["raw", "sanitized"]) {
        const picture = at(name);
        picture.onload = () => draw(picture, s);
        picture.src = of(name + ".jpg", {frame: shown});
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
  const sinks = s.sinks.map(k => [k.name, k.failure || (k.written + (k.dropped ? ", " + k.dropped + " dropped" : "")), k.failure !== null]);
  rows(at("sinks"), sinks.length ? sinks : [["this page alone", ""]]);
  chart(s.history);
  newest = s;
  configured(s.rules);
}

// What is configured, to be read only.
function configured(rules) {
  const pairs = Object.entries(rules).flatMap(([kind, all]) => all.map(one => [kind.replace(/e?s$/, "") + " " + (one.name || one.label || ""),
    Object.entries(one).filter(([key, value]) => value !== null && key !== "name").map(([key, value]) => key + " " + JSON.stringify(value)).join(", ")]));
  at("rules-part").hidden = !pairs.length;
  rows(at("rules"), pairs);
}

function made(parent, name, attributes, text) {
  const one = document.createElement(name);
  Object.assign(one, attributes);
  if (text !== undefined) one.textContent = text;
  parent.append(one);
  return one;
}

// A tile for each of several cameras; a click shows that one.
function tiles(all) {
  const nav = at("tiles");
  nav.hidden = all.length < 2;
  if (nav.hidden) return;
  if (!camera) camera = all[0].camera;
  if (nav.children.length !== all.length) {
    nav.replaceChildren();
    for (const one of all) {
      const tile = made(nav, "button", {type: "button"});
      tile.onclick = () => { camera = location.hash = one.camera; shown = -1; counted(); };
      made(tile, "img", {alt: ""});
      made(tile, "span", {});
    }
  }
  all.forEach((one, i) => {
    const [picture, text] = nav.children[i].children, going = one.going_on.length ? ", " + one.going_on.join(", ") : "";
    const seen = Object.entries(one.objects).map(([label, count]) => count > 1 ? count + " " + label : label).join(", ") || "nothing";
    nav.children[i].className = (one.camera === camera ? "on " : "") + (one.shows_now ? "" : "away");
    text.textContent = one.camera + ": " + (one.shows_now ? seen + going : one.state);
    const frame = String(one.frame);
    if (one.frame !== null && picture.dataset.frame !== frame) {
      picture.dataset.frame = frame;
      picture.src = "raw.jpg?" + new URLSearchParams({camera: one.camera, n: frame});
    }
  });
}

function events(all) {
  at("events-part").hidden = !all.length;
  at("events").replaceChildren(...all.slice(0, 24).map(one => {
    const kept = one.thumbnail || one.film || !one.rule;  // of alarms that no rule records there are frames only
    const card = document.createElement(kept ? "button" : "div");
    card.className = "event";
    card.dataset.id = one.id;
    if (one.thumbnail) made(card, "img", {alt: "", src: "events/" + one.id + "/thumbnail.jpg"});
    card.onclick = kept ? () => play(one) : null;
    const where = [one.camera, one.zone].filter(Boolean).join(", "), going = one.ended === null ? ", goes on" : "";
    const what = one.rule ? one.rule + ": " + one.label + (one.score ? " " + one.score.toFixed(2) : "") : one.id;
    made(card, "span", {}, what + (where ? " (" + where + ")" : "") + going);
    if (one.began) made(card, "span", {className: "dim"}, new Date(1e3 * one.began).toLocaleString());
    return card;
  }));
}

// The source's own frames, one after the other, each for as long as it lasted.
async function play(one) {
  const mine = ++playing, frames = await (await fetch("events/" + one.id + "/frames.json")).json();
  at("playing").hidden = false;
  at("playing").scrollIntoView({block: "nearest"});
  for (let i = 0; i < frames.length && mine === playing; i++) {
    const picture = at("player"), next = frames[i + 1];
    picture.src = "events/" + one.id + "/" + frames[i][0];
    at("played").textContent = one.id + ", frame " + (i + 1) + " of " + frames.length + " ";
    if (one.film) made(at("played"), "a", {href: "events/" + one.id + "/clip.mp4", download: one.id + ".mp4"}, "clip.mp4");
    await new Promise(done => { picture.onload = picture.onerror = done; });
    if (next) await new Promise(done => setTimeout(done, Math.min(1e3 * Math.max(next[1] - frames[i][1], 0), 2e3)));
  }
}

async function counted() {
  const history = await (await fetch(of("history.json"))).json(), canvas = at("counts"), context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement), width = canvas.clientWidth, height = canvas.clientHeight;
  const labels = [...new Set(history.flatMap(row => Object.keys(row[1])))].slice(0, 8);
  const top = Math.max(1, ...history.flatMap(row => Object.values(row[1])));
  const counts = !newest || !newest.last || newest.last.boxes;  // what is no detector answers with one label a frame
  at("counts-title").textContent = (counts ? "Objects" : "Best classes") + " in the last day" + (counts ? ", the most at once in each minute" : ", minute by minute");
  const last = history.length ? history[history.length - 1][0] : 0, span = Math.max(3600, history.length ? last - history[0][0] : 0);
  const scale = window.devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  context.scale(scale, scale);
  labels.forEach((label, i) => {
    context.fillStyle = style.getPropertyValue("--s" + i);
    for (const [at, row] of history) {
      const bar = height * .9 * (row[label] || 0) / top, wide = Math.max(width * 60 / span / labels.length, 1);
      context.fillRect(width * (1 - (last - at + 60) / (span + 60)) + i * wide, height - bar, wide, bar);
    }
  });
  at("counts-key").replaceChildren(...labels.map((label, i) => {
    const one = document.createElement("span");
    one.className = "s" + i;
    one.textContent = label + (counts ? " (at most " + Math.max(...history.map(row => row[1][label] || 0)) + ")" : "");
    return one;
  }));
}

at("zone").onclick = () => {
  corners = corners ? null : [];
  at("drawn").hidden = !corners;
  at("zone").textContent = corners ? "no zone" : "draw a zone";
  at("toml").textContent = "";
};
at("raw-boxes").onclick = event => {
  if (!corners) return;
  const box = at("raw-boxes").getBoundingClientRect(), share = (a, b) => Math.min(Math.max(Math.round(1e3 * a / b) / 1e3, 0), 1);
  corners.push([share(event.clientX - box.left, box.width), share(event.clientY - box.top, box.height)]);
  const lines = ["[[zone]]", 'name = "zone"', ...(camera ? ["camera = " + JSON.stringify(camera)] : []), "points = " + JSON.stringify(corners)];
  at("toml").textContent = lines.join("\n");
  if (newest) draw(at("raw"), newest);
};

async function look() {
  try {
    tiles(await (await fetch("cameras.json")).json());
    events(await (await fetch("events.json")).json());
  } catch (error) {}  // the other loop says that nobody answers
  setTimeout(look, 1000);
}

async function tick() {
  try {
    const answer = await fetch(of("state.json"), {signal: AbortSignal.timeout(5000)});
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
look();
tick();
setInterval(counted, 20000);
setTimeout(counted, 1500);
