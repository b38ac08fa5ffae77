"use strict";
const at = id => document.getElementById(id);
const COLUMNS = [
  ["device", "device"], ["bundle", "bundle"], ["camera", "camera"], ["frames", "frames"], ["age_ms", "age p95, ms"],
  ["infer_ms", "infer p95, ms"], ["disagreement", "disagreement"], ["certified", "certified"],
  ["drift", "drift of labels"], ["refused_frames", "refused frames"], ["celsius", "°C"], ["free_mb", "free MB"],
  ["silent_s", "silent s"], ["failed", "taken back"], ["refused_update", "refused update"],
];

function text(value) {
  if (value === null || value === undefined) return "-";
  return String(Array.isArray(value) ? value[1] : value);
}

function fill(table, head, rows) {
  const made = [head, ...rows].map((cells, number) => {
    const row = document.createElement("tr");
    for (const cell of cells) {
      const one = document.createElement(number ? "td" : "th");
      one.textContent = text(cell);
      row.append(one);
    }
    return row;
  });
  table.replaceChildren(...made);
}

function show(s) {
  at("source").textContent = s.devices + " devices, " + s.received + " messages";
  at("state").textContent = s.silent ? s.silent + " silent" : "all heard";
  fill(at("bundles"), ["bundle", "devices"], Object.entries(s.bundles));
  fill(at("rollouts"), ["bundle", "share", "well", "on trial", "taken back", "fail at least"], s.rollouts.map(one =>
    [one.bundle, one.halted ? "halted" : one.share + " %", one.well, one.trial, one.failed, one.failures_at_least]));
  fill(at("refused"), ["why", "messages"], Object.entries(s.refused_messages));
  fill(at("devices"), COLUMNS.map(column => column[1]), s.each.slice(0, 1000).map(device =>
    COLUMNS.map(([key]) => key === "bundle" && device.trial ? device.bundle + " (trial)" : device[key])));
}

async function look() {
  try {
    show(await (await fetch("fleet.json")).json());
  } catch (error) {
    at("state").textContent = "the fleet's page does not answer";
  }
  setTimeout(look, 2000);
}
look();
