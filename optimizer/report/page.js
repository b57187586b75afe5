"use strict";
(() => {
  const tip = document.getElementById("tip");
  const heat = new Map();
  for (const image of document.querySelectorAll("img.heat")) {
    heat.set(image, Uint8Array.from(atob(image.dataset.values), (mark) => mark.charCodeAt(0)));
  }
  const said = (event) => {
    const image = event.target;
    if (!heat.has(image)) return image.dataset ? image.dataset.tip : undefined;
    const box = image.getBoundingClientRect(), width = +image.getAttribute("width"), height = +image.getAttribute("height");
    const column = Math.min(width - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * width)));
    const row = Math.min(height - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * height)));
    const load = heat.get(image)[row * width + column] * image.dataset.scale;
    return `layer ${image.dataset.layers.split(",")[row]}, device ${column}: ${load.toFixed(2)} × mean`;
  };
  document.addEventListener("mousemove", (event) => {
    const text = said(event);
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
  });
  document.addEventListener("change", (event) => {
    if (event.target.name !== "scheme") return;
    for (const seat of document.querySelectorAll(".seat")) {
      seat.setAttribute("class", `seat c${seat.dataset[event.target.value] % 8}`);
    }
  });
  const folds = [...document.querySelectorAll("details.figure")];
  document.getElementById("unfold")?.addEventListener("click", () => {
    const open = folds.some((fold) => !fold.open);
    folds.forEach((fold) => { fold.open = open; });
  });
  addEventListener("beforeprint", () => folds.forEach((fold) => { fold.open = true; }));
})();
