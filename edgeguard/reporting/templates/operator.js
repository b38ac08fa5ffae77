"use strict";
const at = id => document.getElementById(id);

function lightButton(name, chosen) {
  const button = document.createElement("button");
  button.textContent = name;
  button.className = name === chosen ? "on" : "";
  button.onclick = () => fetch("light", {method: "POST", body: name});
  return button;
}

function show(s) {
  at("advice").textContent = s.advice;
  at("advice").className = s.good ? "good" : "bad";
  at("next").textContent = s.next;
  at("where").textContent = s.where;
  at("done").textContent = s.done + " of " + s.wanted + (s.lost ? ", " + s.lost + " damaged frames" : "");
  const lights = at("lights");
  if (lights.dataset.now !== s.light) {
    lights.dataset.now = s.light;
    lights.replaceChildren(...s.lights.map(name => lightButton(name, s.light)));
  }
  const table = document.createElement("table");
  for (const row of s.grid) {
    const line = table.insertRow();
    for (const entry of row) {
      const cell = line.insertCell();
      cell.textContent = entry.text;
      if (entry.full) cell.className = "full";
    }
  }
  at("grid").replaceChildren(table);
  at("view").src = "frame.jpg?" + s.frames;
}

async function tick() {
  try {
    show(await (await fetch("status.json", {signal: AbortSignal.timeout(5000)})).json());
  } catch (error) {
    at("advice").textContent = "the recorder does not answer";
    at("advice").className = "bad";
  }
  setTimeout(tick, 500);
}
tick();
