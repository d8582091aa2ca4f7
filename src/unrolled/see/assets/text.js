// The text, each symbol in the colour of the unit's value after it.
const spans = [];

function makeText() {
  const box = byId("text");
  if (!data.text) byId("text-title").textContent = "The steps, in the colours of the unit";
  box.classList.toggle("words", !data.text || data.symbols.some((s) => [...s].length > 1));
  data.symbols.forEach((symbol, t) => {
    const display = symbol === " " ? " " : shown(symbol);
    const span = element("span", { role: "option", id: `symbol-${t}`, "aria-selected": "false" }, display);
    spans.push(span);
    box.append(span, ...(symbol === "\n" ? [element("br")] : []));
  });
  box.addEventListener("click", (event) => {
    const t = spans.indexOf(event.target.closest("span"));
    if (t >= 0) choose({ at: t });
  });
  box.addEventListener("keydown", (event) =>
    arrows(event, { ...alongTime, ArrowUp: () => byLine(-1), ArrowDown: () => byLine(1) }),
  );
  views.push(showText);
}

// The symbol above or below on the screen, however the lines are broken.
function byLine(way) {
  const here = spans[chosen.at].getBoundingClientRect();
  let line = null;
  let best = chosen.at;
  let least = Infinity;
  for (let t = chosen.at + way; t >= 0 && t < steps; t += way) {
    const there = spans[t].getBoundingClientRect();
    if (Math.abs(there.top - here.top) < here.height / 2) continue;
    line ??= there.top;
    if (Math.abs(there.top - line) > here.height / 2) break;
    const off = Math.abs(there.left - here.left);
    if (off < least) [least, best] = [off, t];
  }
  return { at: best };
}

function showText(changed) {
  if (["layer", "track", "unit", "colours"].some((key) => changed.has(key))) {
    const one = track();
    spans.forEach((span, t) => {
      const value = valueOf(one, t, chosen.unit);
      paint(span, colourOf(one, value));
      span.setAttribute("aria-label", `${said(data.symbols[t])}, ${fixed(value)}`);
    });
    drawLegend();
  }
  if (changed.has("at")) {
    const box = byId("text");
    for (const old of box.querySelectorAll(".here")) {
      old.classList.remove("here");
      old.setAttribute("aria-selected", "false");
    }
    const span = spans[chosen.at];
    span.classList.add("here");
    span.setAttribute("aria-selected", "true");
    box.setAttribute("aria-activedescendant", span.id);
    const top = span.offsetTop - box.offsetTop;
    if (top < box.scrollTop) box.scrollTop = top - 8;
    else if (top + 30 > box.scrollTop + box.clientHeight) box.scrollTop = top + 38 - box.clientHeight;
  }
}
