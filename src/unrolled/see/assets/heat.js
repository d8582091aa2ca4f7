// Hidden units by time: a table of numbers where it is small enough to read, else a picture of pixels.
let canvas = null;

const readable = () => track().units <= 12 && steps <= 80;
const rowsOf = () => {
  const plain = [...Array(track().units).keys()];
  return chosen.ordered && !readable() && layer().order.length === plain.length ? layer().order : plain;
};
const cell = () => ({
  width: clamp(Math.floor((byId("heat").clientWidth || 600) / steps), 3, 24),
  height: clamp(Math.floor(520 / track().units), 2, 24),
});

function heatTable() {
  const one = track();
  const head = element("tr", {}, element("th", { scope: "row" }, "unit"));
  data.symbols.forEach((symbol, t) =>
    head.append(element("th", { scope: "col", "data-at": t }, shown(symbol))),
  );
  const body = element("tbody");
  for (let unit = 0; unit < one.units; unit++) {
    const row = element("tr", { "data-unit": unit }, element("th", { scope: "row" }, String(unit)));
    for (let t = 0; t < steps; t++) {
      const value = valueOf(one, t, unit);
      const made = element("td", { "data-at": t }, fixed(value));
      paint(made, colourOf(one, value));
      row.append(made);
    }
    body.append(row);
  }
  return element("table", {}, element("thead", {}, head), body);
}

function heatCanvas() {
  const one = track();
  const small = document.createElement("canvas");
  small.width = steps;
  small.height = one.units;
  const image = new ImageData(steps, one.units);
  rowsOf().forEach((unit, y) => {
    for (let t = 0; t < steps; t++) {
      image.data.set([...colourOf(one, valueOf(one, t, unit)), 255], 4 * (y * steps + t));
    }
  });
  small.getContext("2d").putImageData(image, 0, 0);
  const { width, height } = cell();
  canvas = element("canvas", {
    width: width * steps,
    height: height * one.units,
    tabindex: 0,
    role: "application",
    "aria-roledescription": "heat map",
    "aria-label": `${one.units} units by ${steps} symbols. Left and right choose the symbol, up and down the unit.`,
  });
  canvas.picture = small;
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const y = clamp(Math.floor((event.clientY - box.top) / height), 0, one.units - 1);
    choose({ at: Math.floor((event.clientX - box.left) / width), unit: rowsOf()[y] });
  });
  return canvas;
}

const besides = (way) => {
  const rows = rowsOf();
  return { unit: rows[clamp(rows.indexOf(chosen.unit) + way, 0, rows.length - 1)] };
};

function makeHeat() {
  const box = byId("heat");
  box.addEventListener("click", (event) => {
    const at = event.target.closest("[data-at]");
    const row = event.target.closest("[data-unit]");
    if (at) choose({ at: Number(at.dataset.at), ...(row && { unit: Number(row.dataset.unit) }) });
  });
  box.addEventListener("keydown", (event) =>
    arrows(event, { ...alongTime, ArrowUp: () => besides(-1), ArrowDown: () => besides(1) }),
  );
  views.push(showHeat);
}

function showHeat(changed) {
  const box = byId("heat");
  if (["layer", "track", "ordered", "colours"].some((key) => changed.has(key))) {
    const numbers = readable();
    if (numbers) {
      box.setAttribute("tabindex", "0");
      box.setAttribute("role", "region");
      box.setAttribute("aria-labelledby", "heat-title");
    } else for (const name of ["tabindex", "role", "aria-labelledby"]) box.removeAttribute(name);
    box.replaceChildren(numbers ? heatTable() : heatCanvas());
    byId("order-label").hidden = numbers || layer().order.length !== track().units;
    byId("heat-help").textContent =
      (numbers ? "A row a unit, a column a symbol. " : `${track().units} units from top to bottom, ${steps} symbols from left to right. `) +
      "Click one, or move with the arrow keys.";
  }
  if (readable()) {
    for (const old of box.querySelectorAll(".at")) old.classList.remove("at");
    for (const one of box.querySelectorAll(`[data-at="${chosen.at}"]`)) one.classList.add("at");
    box.querySelector(`tr[data-unit="${chosen.unit}"]`)?.classList.add("at");
    const head = box.querySelector(`th[data-at="${chosen.at}"]`);
    reveal(box, head.offsetLeft - 60, head.offsetLeft + head.offsetWidth);
    return;
  }
  const { width, height } = cell();
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas.picture, 0, 0, canvas.width, canvas.height);
  context.strokeStyle = dark.matches ? "#ffffff" : "#000000";
  const y = rowsOf().indexOf(chosen.unit) * height;
  context.strokeRect(0.5, y - 0.5, canvas.width - 1, height + 1);
  context.strokeRect(chosen.at * width - 0.5, 0.5, width + 1, canvas.height - 1);
  reveal(box, chosen.at * width, (chosen.at + 1) * width);
}
