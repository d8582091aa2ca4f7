// Lines: one unit's states and gates over time, and the path of the whole state in two dimensions.
const dashes = ["", "7 3", "2 3", "9 3 2 3", "4 4", "12 3", "1 2"];

function stroke(number) {
  return { stroke: lineColour(number), "stroke-dasharray": dashes[number % dashes.length] };
}

function sample(attributes) {
  return drawn("svg", { width: 32, height: 10, "aria-hidden": "true" },
    drawn("line", { x1: 0, x2: 32, y1: 5, y2: 5, "stroke-width": 2.5, ...attributes }));
}

function gatesChart() {
  const tracks = layer().tracks;
  const left = 44, right = 12, top = 8, tall = 220;
  const pitch = Math.max(12, ((byId("gates").clientWidth || 600) - left - right) / steps);
  const unit = (one) => Math.min(chosen.unit, one.units - 1);
  const all = tracks.flatMap((one) => Array.from({ length: steps }, (_, t) => valueOf(one, t, unit(one))));
  const low = Math.min(-0.05, ...all), high = Math.max(1, ...all);
  const x = (t) => left + (t + 0.5) * pitch;
  const y = (value) => top + ((high - value) / (high - low)) * tall;
  const chart = drawn("svg", { width: left + right + pitch * steps, height: top + tall + 30, role: "img",
    "aria-label": `Unit ${chosen.unit}: ${tracks.map((one) => one.name).join(", ")} over time; the numbers are in the table below` });
  for (const value of [low, 0, 0.5, 1, high].filter((v, i, a) => a.findIndex((w) => Math.abs(w - v) < (high - low) / 9) === i)) {
    chart.append(drawn("line", { class: "axis", x1: left, x2: left + pitch * steps, y1: y(value), y2: y(value) }),
      drawn("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, fixed(value, 1)));
  }
  data.symbols.forEach((symbol, t) => {
    const name = shown(symbol);
    chart.append(drawn("text", { class: "symbol", x: x(t), y: top + tall + 20, "text-anchor": "middle" },
      pitch < 8 * name.length ? name.slice(0, Math.max(1, Math.floor(pitch / 8))) : name));
  });
  tracks.forEach((one, number) => {
    const points = Array.from({ length: steps }, (_, t) => `${x(t).toFixed(1)},${y(valueOf(one, t, unit(one))).toFixed(1)}`);
    chart.append(drawn("polyline", { points: points.join(" "), fill: "none", "stroke-width": 2, ...stroke(number) }));
    if (steps === 1) chart.append(drawn("circle", { cx: x(0), cy: y(valueOf(one, 0, unit(one))), r: 3, fill: lineColour(number) }));
  });
  chart.append(drawn("line", { class: "cursor", y1: top, y2: top + tall }));
  chart.place = x;
  chart.addEventListener("click", (event) =>
    choose({ at: Math.floor((event.clientX - chart.getBoundingClientRect().left - left) / pitch) }));
  byId("gates-key").replaceChildren(...tracks.map((one, number) =>
    element("span", {}, sample(stroke(number)), one.name + (one.gate ? " (gate)" : " (state)"))));
  return chart;
}

function showGates(changed) {
  const box = byId("gates");
  if (["layer", "unit", "colours"].some((key) => changed.has(key))) {
    byId("gates-title").textContent = `Unit ${chosen.unit} over time: states and gates`;
    box.replaceChildren(gatesChart());
  }
  const chart = box.firstChild;
  const x = chart.place(chosen.at);
  const cursor = chart.querySelector(".cursor");
  cursor.setAttribute("x1", x);
  cursor.setAttribute("x2", x);
  reveal(box, x - 20, x + 20);
}

const marks = [
  (x, y, r) => drawn("circle", { cx: x, cy: y, r }),
  (x, y, r) => drawn("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r }),
  (x, y, r) => drawn("path", { d: `M${x} ${y - 1.3 * r}l${1.2 * r} ${2.2 * r}h${-2.4 * r}z` }),
  (x, y, r) => drawn("path", { d: `M${x} ${y - 1.4 * r}l${1.4 * r} ${1.4 * r}l${-1.4 * r} ${1.4 * r}l${-1.4 * r} ${-1.4 * r}z` }),
];

function pathChart() {
  const { path, axes } = layer();
  const wide = Math.min(720, byId("path").clientWidth || 320), tall = Math.min(460, wide), edge = 26;
  const spread = (i) => [Math.min(...path.map((p) => p[i])), Math.max(...path.map((p) => p[i]))];
  const [[x0, x1], [y0, y1]] = [spread(0), spread(1)];
  const x = (p) => edge + ((p[0] - x0) / (x1 - x0 || 1)) * (wide - 2 * edge);
  const y = (p) => tall - edge - ((p[1] - y0) / (y1 - y0 || 1)) * (tall - 2 * edge);
  const chart = drawn("svg", { width: wide, height: tall, role: "img",
    "aria-label": `The state after each of ${steps} symbols; across: ${axes[0]}; up: ${axes[1]}` });
  const line = path.map((p) => `${x(p).toFixed(1)},${y(p).toFixed(1)}`).join(" ");
  chart.append(drawn("polyline", { points: line, fill: "none", class: "axis" }));
  path.forEach((p, t) => {
    const label = data.classes.length ? data.classes[t][0][0] : null;
    const mark = marks[label == null ? 0 : label % marks.length](x(p), y(p), steps > 300 ? 3 : 4.5);
    mark.setAttribute("fill", label == null ? timeColour(t) : lineColour(label));
    mark.dataset.at = t;
    chart.append(mark);
    const left = x(p) > wide - 60; // a word at the right edge is written to the left of its place
    if (steps <= 60) {
      const place = { x: x(p) + (left ? -6 : 6), y: y(p) - 5, "text-anchor": left ? "end" : "start" };
      chart.append(drawn("text", { class: "symbol", ...place }, shown(data.symbols[t])));
    }
  });
  chart.append(drawn("circle", { class: "cursor", r: 10 }));
  chart.addEventListener("click", (event) => {
    if (event.target.dataset.at) choose({ at: Number(event.target.dataset.at) });
  });
  chart.places = path.map((p) => [x(p), y(p)]);
  byId("path-help").textContent = `Across: ${axes[0]}${axes[1] ? `; up: ${axes[1]}` : ""}. ` +
    (data.classes.length ? "Coloured by the likeliest label." : "Coloured from the first symbol to the last.");
  pathKey();
  return chart;
}

// The last fifth of viridis is too pale on white, its first too dark on black.
const timeColour = (t) => {
  const part = t / Math.max(1, steps - 1);
  return css(between(sequential, dark.matches ? 0.25 + 0.75 * part : 0.82 * part));
};

function pathKey() {
  const key = byId("path-key");
  if (data.classes.length) {
    const seen = [...new Set(data.classes.map((row) => row[0][0]))].sort((a, b) => a - b);
    key.replaceChildren(...seen.map((label) => {
      const mark = marks[label % marks.length](7, 7, 5);
      mark.setAttribute("fill", lineColour(label));
      return element("span", {}, drawn("svg", { width: 14, height: 14, "aria-hidden": "true" }, mark), data.labels[label]);
    }));
    return;
  }
  const ends = [0, steps - 1].map((t) => {
    const dot = drawn("circle", { cx: 7, cy: 7, r: 5, fill: timeColour(t) });
    return element("span", {}, drawn("svg", { width: 14, height: 14, "aria-hidden": "true" }, dot), t ? "last symbol" : "first symbol");
  });
  key.replaceChildren(...ends.slice(0, steps));
}

function showPath(changed) {
  const box = byId("path");
  if (changed.has("layer") || changed.has("colours")) box.replaceChildren(pathChart());
  const [x, y] = box.firstChild.places[chosen.at];
  const cursor = box.querySelector(".cursor");
  cursor.setAttribute("cx", x);
  cursor.setAttribute("cy", y);
}
