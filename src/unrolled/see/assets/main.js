// The controls, and one line that says what is chosen, also to a screen reader.
function fillTracks() {
  byId("track").replaceChildren(...layer().tracks.map((one, i) =>
    element("option", { value: i }, `${one.name} (${one.gate ? "gate" : i ? "state" : "output"})`)));
}

function showControls(changed) {
  if (changed.has("layer")) fillTracks();
  byId("layer").value = chosen.layer;
  byId("track").value = chosen.track;
  byId("unit").max = track().units - 1;
  byId("unit").value = chosen.unit;
  byId("at").value = chosen.at;
  byId("at").setAttribute("aria-valuetext", `${chosen.at}: ${said(data.symbols[chosen.at])}`);
  const value = valueOf(track(), chosen.at, chosen.unit);
  const parts = [`${chosen.at}: “${said(data.symbols[chosen.at])}”`,
    `${layer().name}, ${track().name}, unit ${chosen.unit}: ${fixed(value, 3)}`];
  const surprise = surpriseOf(chosen.at);
  if (surprise != null) parts.push(`surprise ${fixed(surprise)} ${chosen.base}`);
  const rows = data.next.length ? data.next : data.classes;
  if (rows.length) {
    const names = data.next.length ? data.vocabulary : data.labels;
    const likely = rows[chosen.at].slice(0, 3).map(([i, p]) => `${said(names[i])} ${fixed(p)}`);
    parts.push(`${data.next.length ? "next" : "taken for"}: ${likely.join(", ")}`);
  }
  byId("said").textContent = parts.join(" · ");
}

function summary() {
  const counted = data.surprise.filter((s) => s != null);
  if (!counted.length) return "";
  const mean = counted.reduce((sum, s) => sum + s, 0) / counted.length;
  return `Mean surprise ${fixed(mean)} nats = ${fixed(mean / Math.LN2)} bits a symbol, after the first.`;
}

function makeControls() {
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("layer").append(...data.layers.map((one, i) => element("option", { value: i }, one.name)));
  byId("layer").addEventListener("change", (event) => choose({ layer: Number(event.target.value) }));
  byId("track").addEventListener("change", (event) => choose({ track: Number(event.target.value) }));
  byId("unit").addEventListener("change", (event) => {
    choose({ unit: Math.round(Number(event.target.value)) || 0 });
    showControls(new Set());
  });
  byId("unit-less").addEventListener("click", () => choose({ unit: chosen.unit - 1 }));
  byId("unit-more").addEventListener("click", () => choose({ unit: chosen.unit + 1 }));
  byId("at").max = steps - 1;
  byId("at").addEventListener("input", (event) => choose({ at: Number(event.target.value) }));
  byId("base").addEventListener("change", (event) => choose({ base: event.target.value }));
  byId("order").addEventListener("change", (event) => choose({ ordered: event.target.checked }));
  for (const id of ["next", "gates"]) byId(id).addEventListener("keydown", (event) => arrows(event, alongTime));
  byId("next").addEventListener("click", (event) => {
    const at = event.target.closest("[data-at]");
    if (at) choose({ at: Number(at.dataset.at) });
  });
  views.push(showControls);
}

makeControls();
makeText();
makeNext();
makeHeat();
views.push(showGates, showPath);
makeTables();
byId("summary").textContent = summary();
chosen.unit = clamp(data.unit ?? layer().varies, 0, track().units - 1);

const redraw = () => {
  for (const view of views) view(new Set([...Object.keys(chosen), "colours"]));
};
redraw();
dark.addEventListener("change", redraw);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) redraw();
  width = innerWidth;
});
