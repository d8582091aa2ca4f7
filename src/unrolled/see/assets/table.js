// The passages of the reference text for the symbol chosen, and every number of the unit as a table.
function showPassages(changed) {
  if (!changed.has("at")) return;
  const list = (data.passages[chosen.at] ?? []).map((one) =>
    element("li", {}, flat(one.before), element("mark", {}, shown(one.at)), flat(one.after),
      element("small", {}, `at ${one.position.toLocaleString("en")}, distance ${fixed(one.distance, 3)}`)));
  byId("passages").replaceChildren(...list);
}
const flat = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥");

function showTable(changed) {
  const details = byId("table-details");
  if (!details.open || !["layer", "unit", "base", "opened", "at"].some((key) => changed.has(key))) return;
  const box = byId("table");
  if (!changed.has("at") || changed.size > 1) box.replaceChildren(numbersTable());
  for (const old of box.querySelectorAll(".at")) old.classList.remove("at");
  box.querySelectorAll("tbody tr")[chosen.at].classList.add("at");
}

function numbersTable() {
  const tracks = layer().tracks;
  const titles = ["symbol", ...tracks.map((one) => one.name)];
  if (data.next.length) titles.push(`surprise, ${chosen.base}`, "expected next");
  if (data.classes.length) titles.push("label");
  const head = element("tr", {}, element("th", { scope: "col" }, "at"),
    ...titles.map((title) => element("th", { scope: "col" }, title)));
  const body = element("tbody");
  data.symbols.forEach((symbol, t) => {
    const cells = [said(symbol), ...tracks.map((one) => fixed(valueOf(one, t, unitIn(one)), 4))];
    if (data.next.length) {
      const surprise = surpriseOf(t);
      const [index, p] = data.next[t][0];
      cells.push(surprise == null ? "" : fixed(surprise), `${said(data.vocabulary[index])} ${fixed(p)}`);
    }
    if (data.classes.length) cells.push(`${data.labels[data.classes[t][0][0]]} ${fixed(data.classes[t][0][1])}`);
    body.append(element("tr", {}, element("th", { scope: "row" }, String(t)),
      ...cells.map((one) => element("td", {}, one))));
  });
  const title = element("caption", {}, `${layer().name}, unit ${chosen.unit}`);
  return element("table", {}, title, element("thead", {}, head), body);
}

function makeTables() {
  byId("passages-panel").hidden = !data.passages.length;
  byId("passages-help").textContent = data.reference;
  if (data.passages.length) views.push(showPassages);
  views.push(showTable);
  byId("table-details").addEventListener("toggle", () => showTable(new Set(["opened"])));
}
