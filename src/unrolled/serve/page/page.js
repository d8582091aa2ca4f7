// The page put together: the models, the text that is typed, what is chosen, the language.
import { dark } from "./colours.js";
import { begin as beginLesson, draw as drawLesson } from "./lesson.js";
import { Look } from "./look.js";
import { byId, clamp, element } from "./nodes.js";
import { ask, Gone, Refused, showState, whenBack } from "./server.js";
import { current, say, speak } from "./words.js";
import { begin as beginWriting, draw as drawWriting } from "./writing.js";

const shared = { at: 0, unit: 0 };
const looks = [null, null];
let models = [];
let quiet = 0;

const open = () => looks.filter((look) => look !== null);
const longest = () => Math.max(0, ...open().map((look) => look.steps.length));

function choose(changes) {
  const following = shared.at >= Number(byId("at").max);
  Object.assign(shared, changes);
  const last = Math.max(0, longest() - 1);
  if ("read" in changes && following) shared.at = last;
  shared.at = clamp(shared.at, 0, last);
  shared.unit = clamp(shared.unit, 0, Math.max(0, ...open().map((look) => look.units - 1)));
  draw();
}

function draw() {
  for (const look of open()) look.draw();
  byId("at").max = Math.max(0, longest() - 1);
  byId("at").value = shared.at;
  byId("unit").value = shared.unit;
  const language = open().find((look) => look.model.task === "language");
  byId("at").setAttribute("aria-valuetext", language ? language.summary() : "");
  // A pause, so that a screen reader is not told of every key.
  clearTimeout(quiet);
  quiet = setTimeout(() => {
    const said = language ? language.summary() : "";
    if (byId("said").textContent !== said) byId("said").textContent = said;
  }, 400);
}

function want() {
  for (const look of open()) look.session.want(byId("text").value);
}
function type(text) {
  byId("text").value = text.slice(0, byId("text").maxLength);
  shared.at = Number(byId("at").max);
  want();
}

async function show(place, name) {
  const model = models.find((one) => one.name === name);
  const before = looks[place];
  looks[place] = null;
  if (before) {
    before.root.remove();
    await before.session.end();
  }
  if (model) {
    looks[place] = new Look(model, byId("looks"), shared, choose, (symbol) => type(byId("text").value + symbol));
    if (place === 0) byId("looks").prepend(looks[0].root);
  }
  choose({});
  want();
}

function fill(id, names, chosen) {
  byId(id).replaceChildren(...names.map((name) => element("option", { value: name }, name || say("none"))));
  byId(id).value = chosen;
  byId(id).disabled = names.length < 2;
}
function fillOthers() {
  const others = models.map((model) => model.name).filter((name) => name !== byId("model").value);
  fill("other", ["", ...others], others.includes(byId("other").value) ? byId("other").value : "");
}

async function load() {
  try {
    models = (await ask("GET", "/v1/models")).models;
  } catch (error) {
    if (error instanceof Gone || (error instanceof Refused && error.status === 401)) return; // whenBack tries again
    throw error;
  }
  const names = models.map((model) => model.name);
  const writers = models.filter((model) => model.task === "language").map((model) => model.name);
  fill("model", names, names.includes(byId("model").value) ? byId("model").value : writers[0] ?? names[0]);
  fill("write-model", writers, writers[0] ?? "");
  byId("go").disabled = !writers.length;
  if (!writers.length) byId("written-said").textContent = say("noWriter");
  fillOthers();
  await show(0, byId("model").value);
  await show(1, byId("other").value);
  await beginLesson();
}

function translate(language) {
  speak(language);
  showState();
  drawLesson();
  drawWriting();
  if (models.length) fillOthers();
  draw();
}

byId("language").value = current();
byId("language").addEventListener("change", (event) => translate(event.target.value));
byId("text").addEventListener("input", () => {
  shared.at = Number(byId("at").max);
  want();
});
byId("clear").addEventListener("click", () => {
  type("");
  byId("text").focus();
});
byId("at").addEventListener("input", () => choose({ at: Number(byId("at").value) }));
byId("unit").addEventListener("change", () => choose({ unit: Math.round(Number(byId("unit").value)) || 0 }));
byId("unit-less").addEventListener("click", () => choose({ unit: shared.unit - 1 }));
byId("unit-more").addEventListener("click", () => choose({ unit: shared.unit + 1 }));
byId("model").addEventListener("change", async () => {
  fillOthers();
  await show(0, byId("model").value);
  if (byId("other").value !== (looks[1]?.model.name ?? "")) await show(1, byId("other").value);
});
byId("other").addEventListener("change", () => show(1, byId("other").value));
dark.addEventListener("change", draw);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) draw();
  width = innerWidth;
});
whenBack(() => (models.length ? want() : load()));
beginWriting(type);
translate(current());
await load();
