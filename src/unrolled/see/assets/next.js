// Under each symbol: how surprising it was, and what the model expects after it (or which class it sees).
let columns = [];

function makeNext() {
  const rows = data.next.length ? data.next : data.classes;
  byId("next-panel").hidden = !rows.length;
  byId("base-label").hidden = !data.next.length;
  if (!rows.length) return;
  byId("next-title").textContent = data.next.length
    ? "Surprise, and the next symbol"
    : "What the model takes it for";
  byId("next-help").textContent = data.next.length
    ? "A column a symbol. Above, how surprising it was; below, the likeliest symbols to follow it, shaded by " +
      "probability. Framed: the one that did follow."
    : "A column a symbol: the likeliest labels with their probabilities.";
  views.push(showNext);
}

function nextTable() {
  const rows = data.next.length ? data.next : data.classes;
  const symbols = data.next.length ? data.vocabulary : data.labels;
  const table = element("table");
  const add = (into, title, cell) => {
    const row = element("tr", {}, element("th", { scope: "row" }, title));
    for (let t = 0; t < steps; t++) {
      const made = cell(t);
      made.dataset.at = t;
      row.append(made);
    }
    into.append(row);
  };
  const head = element("thead");
  add(head, "symbol", (t) => element("th", { scope: "col" }, shown(data.symbols[t])));
  const body = element("tbody");
  if (data.next.length) add(body, `surprise, ${chosen.base}`, surpriseCell);
  rows[0].forEach((_, rank) =>
    add(body, `${rank + 1}.`, (t) => {
      const [index, p] = rows[t][rank];
      const small = element("small", {}, fixed(p));
      const cell = element("td", {}, shown(symbols[index]), small);
      paint(cell, probabilityColour(p));
      if (data.next.length && symbols[index] === data.symbols[t + 1]) {
        cell.classList.add("came");
        cell.setAttribute("aria-label", `${said(symbols[index])} ${fixed(p)}, which came`);
      }
      return cell;
    }),
  );
  table.append(head, body);
  return table;
}

function surpriseCell(t) {
  const value = surpriseOf(t);
  if (value == null) return element("td", { "aria-label": "none: nothing came before" }, "–");
  const bar = element("i");
  bar.style.height = `${Math.min(40, (value / (chosen.base === "bits" ? 10 : 7)) * 40)}px`;
  return element("td", {}, element("span", { class: "bar", "aria-hidden": "true" }, bar), fixed(value, 1));
}

function showNext(changed) {
  const box = byId("next");
  if (changed.has("base") || changed.has("colours")) {
    box.replaceChildren(nextTable());
    columns = Array.from({ length: steps }, () => []);
    for (const cell of box.querySelectorAll("[data-at]")) columns[cell.dataset.at].push(cell);
  }
  for (const cell of box.querySelectorAll(".at")) cell.classList.remove("at");
  for (const cell of columns[chosen.at]) cell.classList.add("at");
  const head = columns[chosen.at][0];
  reveal(box, head.offsetLeft - 90, head.offsetLeft + head.offsetWidth);
}
