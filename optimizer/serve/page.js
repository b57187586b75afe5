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
  // What is shown beside a question that is wrong answers the one before.
  document.querySelector("main").classList.toggle("stale", Boolean(bad));
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

// Round values from above 0 to the largest, about as many as asked.
function ticks(largest, number) {
  const power = 10 ** Math.floor(Math.log10(largest / number));
  const step = power * ([1, 2, 5].find((factor) => largest / (factor * power) <= number) || 10);
  return Array.from({ length: Math.floor(largest / step) }, (_, index) => Number(((index + 1) * step).toPrecision(12)));
}

let drawn = [];

function draw(points) {
  drawn = points;
  const svg = document.getElementById("curve");
  svg.replaceChildren();
  if (points.length < 2) return;
  const shown = points.map((point) => ({ x: 1 / point.tpot_s, y: point.per_device, devices: point.devices }));
  const widest = Math.max(...shown.map((point) => point.x));
  const highest = Math.max(...shown.map((point) => point.y));
  // A narrow page gets a narrow drawing, not small letters.
  const room = Math.max(320, Math.min(640, svg.clientWidth)) - 80;
  svg.setAttribute("viewBox", `0 0 ${room + 80} 220`);
  const at = (point) => [60 + (point.x / widest) * room, 185 - (point.y / highest) * 165];
  mark(svg, "line", { x1: 60, y1: 185, x2: 65 + room, y2: 185, class: "axis" });
  mark(svg, "line", { x1: 60, y1: 15, x2: 60, y2: 185, class: "axis" });
  for (const x of ticks(widest, room < 400 ? 3 : 6)) {
    mark(svg, "text", { x: at({ x, y: 0 })[0], y: 200, "text-anchor": "middle" }, x.toLocaleString());
  }
  for (const y of ticks(highest, 4)) {
    mark(svg, "text", { x: 54, y: at({ x: 0, y })[1] + 4, "text-anchor": "end" }, y.toLocaleString());
  }
  mark(svg, "text", { x: 60 + room / 2, y: 216, "text-anchor": "middle" }, "tokens/s a user");
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
  const curve = await post("/curve", values());
  if (mine === asked) draw(curve.points || []);
}

form.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(ask, 250);
});
window.addEventListener("resize", () => draw(drawn));
form.addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
}
ask();
