"use strict";

const token = document.querySelector('meta[name="token"]').content;
const form = document.getElementById("controls");
const state = document.getElementById("state");
const inputs = [...form.querySelectorAll("input")];
let asked = 0;
let waiting = null;

const values = () => Object.fromEntries(inputs.map((input) => [input.name, input.value]));

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Token": token },
    body: JSON.stringify(body),
  });
  return response.json();
}

function tell(text, bad) {
  state.textContent = text;
  state.classList.toggle("bad", Boolean(bad));
}

function blame(faults) {
  const unplaced = [];
  for (const fault of faults) {
    const text = fault.message + (fault.suggestion ? ` (did you mean ${fault.suggestion}?)` : "");
    const last = (fault.field || "").split(".").pop();
    const input = inputs.find((one) => one.name === last);
    if (input) {
      input.setAttribute("aria-invalid", "true");
      document.getElementById(`${input.name}-wrong`).textContent = text;
    } else {
      unplaced.push(`${fault.field ? `${fault.field}: ` : ""}${text}`);
    }
  }
  tell(unplaced.join("\n") || "see the fields in red", true);
}

function clear() {
  for (const input of inputs) {
    input.removeAttribute("aria-invalid");
    document.getElementById(`${input.name}-wrong`).textContent = "";
  }
}

const SVG = "http://www.w3.org/2000/svg";

function mark(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function draw(points) {
  const svg = document.getElementById("curve");
  svg.replaceChildren();
  if (points.length < 2) return;
  const shown = points.map((point) => ({ x: 1 / point.tpot_s, y: point.per_device, devices: point.devices }));
  const widest = Math.max(...shown.map((point) => point.x));
  const highest = Math.max(...shown.map((point) => point.y));
  const at = (point) => [60 + (point.x / widest) * 560, 185 - (point.y / highest) * 165];
  mark(svg, "line", { x1: 60, y1: 185, x2: 625, y2: 185, class: "axis" });
  mark(svg, "line", { x1: 60, y1: 15, x2: 60, y2: 185, class: "axis" });
  for (const share of [0.25, 0.5, 0.75, 1]) {
    const across = 60 + share * 560;
    const up = 185 - share * 165;
    mark(svg, "text", { x: across, y: 200, "text-anchor": "middle" }, (share * widest).toPrecision(3));
    mark(svg, "text", { x: 54, y: up + 4, "text-anchor": "end" }, Number((share * highest).toPrecision(3)).toLocaleString());
  }
  mark(svg, "text", { x: 340, y: 216, "text-anchor": "middle" }, "tokens/s a user");
  mark(svg, "text", { x: 62, y: 11 }, "tokens/s a device");
  mark(svg, "polyline", { points: shown.map((point) => at(point).join(",")).join(" ") });
  for (const point of shown) {
    const [cx, cy] = at(point);
    const dot = mark(svg, "circle", { cx, cy, r: 4 });
    mark(dot, "title", {}, `${point.y.toPrecision(4)} tokens/s a device, ${point.x.toPrecision(3)} a user, ${point.devices} devices`);
  }
}

async function ask() {
  const mine = ++asked;
  tell("working");
  let found;
  try {
    found = await post("/answer", values());
  } catch {
    tell("no answer: is `shardproof serve` still running?", true);
    return;
  }
  if (mine !== asked) return;
  clear();
  if (found.faults) {
    blame(found.faults);
    return;
  }
  if (found.error) {
    tell(found.error, true);
    return;
  }
  tell(`${found.status}, in ${found.wall_s.toFixed(2)} s`);
  document.getElementById("answer").src = `/frame/${found.frame}?token=${encodeURIComponent(token)}`;
  document.getElementById("yaml").textContent = found.yaml;
  document.getElementById("command").textContent = found.command || "no option says this: use the problem file";
  const drawn = await post("/curve", values());
  if (mine === asked) draw(drawn.points || []);
}

form.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(ask, 250);
});
form.addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
}
ask();
