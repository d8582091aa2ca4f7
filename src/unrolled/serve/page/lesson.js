// The guided first visit: one tensor, its axes, and both readings of it.
import { byId, drawn, element, fixed, table } from "./nodes.js";
import { ask } from "./server.js";
import { say } from "./words.js";

let data = null;
let step = 0;
let reading = "along";

const digits = (row, i) => row.querySelectorAll("td").forEach((cell) => cell.classList.toggle("one", cell.textContent === "1"));
const oneHot = (word) =>
  table(data.words[word], [say("letter"), ...data.symbols], [...data.words[word]].map((letter, t) => [letter, ...data.one_hot[word][t]]), digits);

function outputs(word, way) {
  const rows = [...data.words[word]].map((letter, t) => {
    const before = way === "along" ? (t ? data.words[word].slice(0, t) : "") : data.words.slice(0, word).map((w) => w[t]).join("");
    return [letter, ...data[way][word][t].map((x) => fixed(x, 4)), before || say("first")];
  });
  const heads = [say("letter"), "h[0]", "h[1]", say("before")];
  return table(`${say("afterLetter", data.words[word])} · ${say(way)}`, heads, rows, (row, t) =>
    row.classList.toggle("differs", String(data.along[word][t]) !== String(data.across[word][t])));
}

// The three words as a block of letters; an arrow for each sequence of the chosen reading.
function block() {
  const picture = drawn("svg", { viewBox: "0 0 300 150", width: 300, role: "img" }, drawn("title", {}, say(reading)));
  data.words.forEach((word, w) => [...word].forEach((letter, t) =>
    picture.append(drawn("text", { x: 40 + 50 * t, y: 36 + 40 * w, "text-anchor": "middle" }, letter))));
  const arrow = (x1, y1, x2, y2) => {
    const head = x1 === x2 ? `M${x2 - 4} ${y2 - 6}l4 6l4 -6` : `M${x2 - 6} ${y2 - 4}l6 4l-6 4`;
    picture.append(drawn("path", { class: "cursor", d: `M${x1} ${y1}L${x2} ${y2}${head}`, fill: "none" }));
  };
  if (reading === "along") for (let w = 0; w < 3; w++) for (let t = 0; t < 4; t++) arrow(50 + 50 * t, 32 + 40 * w, 80 + 50 * t, 32 + 40 * w);
  else for (let w = 0; w < 2; w++) for (let t = 0; t < 5; t++) arrow(40 + 50 * t, 42 + 40 * w, 40 + 50 * t, 62 + 40 * w);
  return picture;
}

function readings() {
  const set = element("fieldset", {}, element("legend", {}, say("reads")));
  for (const way of ["along", "across"]) {
    const input = element("input", { type: "radio", name: "way", id: `way-${way}`, value: way });
    input.checked = way === reading;
    input.addEventListener("change", () => {
      reading = way;
      draw();
      byId(`way-${way}`).focus();
    });
    set.append(element("label", { for: `way-${way}` }, input, say(way)), " ");
  }
  return [set, element("div", { class: "side" }, block(), outputs(0, reading)), element("p", { class: "hint" }, say("differs"))];
}

const bodies = [
  () => [table("", [say("letter"), say("number")], data.symbols.map((symbol, i) => [symbol, i]))],
  () => [oneHot(0)],
  () => [element("p", { class: "shape" }, "(3, 5, 4)"), element("div", { class: "side" }, ...data.words.map((_, w) => oneHot(w)))],
  () => [outputs(0, "along")],
  readings,
  () => [element("div", { class: "side" }, outputs(0, "along"), outputs(0, "across"))],
  () => [],
];

export function draw() {
  if (data === null) return;
  const [title, text] = say("steps")[step];
  byId("lesson-title").textContent = title;
  byId("lesson-body").replaceChildren(element("p", {}, text), element("div", { class: "scroll" }, ...bodies[step]()));
  byId("lesson-back").disabled = step === 0;
  byId("lesson-next").textContent = say(step === bodies.length - 1 ? "begin" : "next");
}

function go(to) {
  step = to;
  draw();
  byId("lesson-title").focus();
}

function close() {
  localStorage.setItem("visited", "yes");
  byId("lesson").hidden = true;
  byId("text").focus();
}

async function open() {
  data ??= await ask("GET", "/v1/lesson");
  byId("lesson").hidden = false;
  go(0);
}

export async function begin() {
  if (localStorage.getItem("visited") === null) await open();
}

byId("lesson-open").addEventListener("click", open);
byId("lesson-back").addEventListener("click", () => go(step - 1));
byId("lesson-next").addEventListener("click", () => (step === bodies.length - 1 ? close() : go(step + 1)));
byId("lesson-close").addEventListener("click", close);
