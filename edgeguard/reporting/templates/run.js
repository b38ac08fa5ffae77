"use strict";
const at = id => document.getElementById(id);
let shown = -1;

function rows(table, pairs) {
  table.replaceChildren(...pairs.map(([name, value, wrong]) => {
    const row = document.createElement("tr");
    for (const text of [name, value]) row.insertCell().textContent = text;
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

function show(s) {
  const c = s.counters, last = s.last, fine = s.state === "running" && (s.result_age_s === null || s.result_age_s < 10);
  at("source").textContent = s.source + (s.applied || s.coding ? " (" + [s.applied, s.coding].filter(Boolean).join("; ") + ")" : "");
  at("state").textContent = "camera " + s.state;
  at("state").className = "chip " + (fine ? "good" : "bad");
  at("alarms").hidden = !s.ringing.length && s.state === "running";
  at("alarms").textContent = [s.ringing.length ? "ALARM: " + s.ringing.join(", ") : "", s.reason && s.state !== "running" ? s.reason : ""].filter(Boolean).join(" | ");
  at("guard").textContent = "after pass 2: " + (s.guard || "no guard") + (s.patch_guard ? ", then " + s.patch_guard : "");
  if (last) {
    at("label").textContent = (last.label === null ? "nothing" : last.label) + (last.score === null ? "" : "  " + last.score.toFixed(2));
    const undefended = last.undefended ? ", undefended: " + last.undefended.label : "";
    const proof = s.proof, certified = proof === null ? "" : ", " + Math.floor(100 * proof.certified_share) + " % of blocks certified";
    at("detail").textContent = "frame " + last.frame + ", " + (last.age_ms === null ? "" : last.age_ms.toFixed(0) + " ms old, ") + last.passes + " passes (pass 1: " + last.pass1 + ")" + certified + undefended;
    rows(at("top"), last.top.map(t => [t.label, t.score.toFixed(3)]));
    if (last.frame !== shown) {
      shown = last.frame;
      at("raw").src = "raw.jpg?frame=" + shown;
      at("sanitized").src = "sanitized.jpg?frame=" + shown;
    }
  }
  const share = part => (Math.floor(1000 * part) / 10).toFixed(1) + " % of blocks", proof = s.proof;
  const proven = proof === null ? [] : [["proven at 1 level", (proof.proven ? "yes, " : "no, ") + share(proof.certified_share), !proof.proven],
    ["proven at 2 levels", (proof.proven_2 ? "yes, " : "no, ") + share(proof.certified_share_2)], ["frames proven at 1 level", c.proven_frames + " of " + c.certified_frames]];
  const ms = Object.entries(c.ms).map(([stage, t]) => [stage + ", median", t.p50 === null ? "-" : t.p50.toFixed(1) + " ms"]);
  rows(at("run"), [
    ["results a second", c.fps], ["results", c.frames], ["dropped", c.dropped], ["damaged", c.lost, c.lost > 0],
    ["camera losses", c.losses, c.losses > 0], ["age, 95 %", c.age_ms.p95 === null ? "-" : c.age_ms.p95.toFixed(0) + " ms"],
    ...proven, ...ms, ["temperature", s.celsius === null ? "-" : s.celsius.toFixed(0) + " °C"],
    ["throttled", s.limits === null ? "not known" : s.limits.join(", ") || "no", s.limits !== null && s.limits.length > 0],
    ["slowed on purpose", s.slowed || "no"], ["model", s.model.slice(0, 12)], ["up", Math.round(s.uptime_s) + " s"]]);
  rows(at("sinks"), s.sinks.map(k => [k.name, k.failure || (k.written + (k.dropped ? ", " + k.dropped + " dropped" : "")), k.failure !== null]));
  chart(s.history);
}

async function tick() {
  try {
    const answer = await fetch("state.json");
    if (!answer.ok) throw new Error(answer.status);
    show(await answer.json());
  } catch (error) {
    at("state").textContent = "the run does not answer";
    at("state").className = "chip bad";
  }
  setTimeout(tick, 500);
}
tick();
