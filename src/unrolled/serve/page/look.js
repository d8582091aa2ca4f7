// What one model makes of the text: the coloured text, one-hot, states, gates and what may come next.
import { batch } from "./batch.js";
import { colourOf, paint, stops } from "./colours.js";
import { curves } from "./curves.js";
import { heat } from "./heat.js";
import { clamp, element, fixed, said, shown } from "./nodes.js";
import { Session } from "./session.js";
import { say } from "./words.js";

const MOST = 12;

export class Look {
  constructor(model, box, shared, choose, type) {
    Object.assign(this, { model, box, shared, choose, type, layer: model.layers - 1, track: 0 });
    this.session = new Session(model, () => choose({ read: this }));
    this.build();
  }

  get steps() { return this.session.steps; }
  get at() { return clamp(this.shared.at, 0, Math.max(0, this.steps.length - 1)); }
  get unit() { return clamp(this.shared.unit, 0, Math.max(0, this.units - 1)); }
  get tracks() {
    const layer = this.steps[0]?.layers[this.layer] ?? { states: {}, gates: {} };
    return ["states", "gates"].flatMap((kind) => Object.keys(layer[kind]).map((name) => ({ kind, name })));
  }
  get name() { return this.tracks[this.track]?.name ?? "h"; }
  get units() { return this.steps.length ? this.values(0).length : this.model.units; }
  values(t) {
    const { kind, name } = this.tracks[this.track];
    return this.steps[t].layers[this.layer][kind][name];
  }
  get width() { return this.root.clientWidth; }
  measure() {
    const all = this.steps.flatMap((_, t) => this.values(t));
    this.signed = this.tracks[this.track]?.kind !== "gates" || all.some((value) => value < 0);
    this.bound = Math.max(1, ...all.map(Math.abs));
  }

  build() {
    const id = `look-${this.box.children.length}`;
    const make = (name, attributes = {}) => element(name, attributes);
    const part = (name, attributes = {}) => (this[name] = make("div", attributes));
    this.root = element("article", { class: "look", id, "aria-labelledby": `${id}-name` });
    this.told = make("p", { class: "told", role: "alert" });
    this.about = make("p", { class: "hint" });
    this.root.append(element("h3", { id: `${id}-name` }, this.model.name), this.about, this.told);
    this.heads = {};
    const head = (name) => (this.heads[name] = make("h4", { id: `${id}-${name}` }));
    const region = (name) => ({ role: "region", tabindex: 0, class: "scroll", "aria-labelledby": `${id}-${name}` });
    if (this.model.task === "language") {
      this.layers = make("select");
      this.layers.append(...Array.from({ length: this.model.layers }, (_, i) => element("option", { value: i }, String(i))));
      this.layers.value = this.layer;
      this.choices = make("select");
      this.labels = [make("span"), make("span")];
      this.coloured = make("div", { class: "coloured", role: "listbox", tabindex: 0, "aria-labelledby": `${id}-coloured` });
      this.root.append(
        element("p", { class: "row" }, element("label", {}, this.labels[0], this.layers), element("label", {}, this.labels[1], this.choices)),
        head("coloured"), this.coloured, part("legend", { class: "legend", "aria-hidden": "true" }),
        head("batch"), part("rows", region("batch")), head("heat"), part("map", { class: "scroll" }),
        head("curves"), part("lines", region("curves")), head("next"), part("coming"),
      );
      this.layers.addEventListener("change", () => { this.layer = Number(this.layers.value); this.choose({}); });
      this.choices.addEventListener("change", () => { this.track = Number(this.choices.value); this.choose({}); });
      this.coloured.addEventListener("click", (event) => {
        const at = event.target.dataset.at;
        if (at !== undefined) this.choose({ at: Number(at) });
      });
      this.coloured.addEventListener("keydown", (event) => {
        const moves = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, Home: 0, End: this.steps.length - 1 };
        if (!(event.key in moves)) return;
        event.preventDefault();
        this.choose({ at: moves[event.key] });
      });
    } else this.root.append(head("next"), part("coming"));
    this.box.append(this.root);
  }

  draw() {
    const { model, session } = this;
    const size = model.bytes === null ? "" : ` ${say("bytes", model.bytes)}`;
    this.about.textContent = `${say("about", model)}.${size}`;
    const told = session.refusal === null ? "" : say("refused", session.refusal);
    if (this.told.textContent !== told) this.told.textContent = told;
    if (model.task !== "language") {
      this.heads.next.textContent = say("taken");
      const { tags, probabilities } = session.taken ?? {};
      this.coming.replaceChildren(tags ? this.tagged(tags) : this.likely(Object.entries(probabilities ?? {}), false));
      return;
    }
    if (this.track >= this.tracks.length) this.track = 0;
    this.measure();
    this.drawChoices();
    this.drawText();
    this.rows.replaceChildren(...batch(this));
    this.keepFocus(this.map, () => this.map.replaceChildren(...heat(this)));
    this.lines.replaceChildren(...curves(this));
    const step = this.steps[this.at];
    this.heads.coloured.textContent = say("colouredTitle");
    this.heads.batch.textContent = say("axes");
    this.heads.heat.textContent = `${say("heatTitle", this.units)}: ${this.name}`;
    this.heads.curves.textContent = say("gatesTitle", this.unit);
    this.heads.next.textContent = say("nextTitle", step ? shown(step.symbol) : say("nothing"));
    const list = step ? [this.likely(Object.entries(step.next).sort((a, b) => b[1] - a[1]).slice(0, MOST), true)] : [];
    this.coming.replaceChildren(element("p", { class: "hint" }, `${say("nextHelp")} ${this.surprise()}`), ...list);
  }

  keepFocus(box, draw) {
    const had = box.contains(document.activeElement);
    draw();
    if (had) box.firstElementChild.focus();
  }

  drawChoices() {
    this.labels[0].textContent = say("layer");
    this.labels[1].textContent = say("track");
    const kind = (track, i) => (track.kind === "gates" ? "gate" : i ? "state" : "output");
    this.choices.replaceChildren(...this.tracks.map((track, i) => element("option", { value: i }, `${track.name} (${say(kind(track, i))})`)));
    this.choices.value = this.track;
  }

  drawText() {
    this.coloured.classList.toggle("words", !this.session.single);
    this.coloured.replaceChildren(...this.steps.flatMap((step, t) => {
      const value = this.values(t)[this.unit];
      const here = t === this.at;
      const span = element("span", { role: "option", id: `${this.root.id}-${t}`, "data-at": t, "aria-selected": here,
        "aria-label": `${said(step.symbol)}, ${fixed(value)}` }, step.symbol === " " ? "\u00a0" : shown(step.symbol));
      span.classList.toggle("here", here);
      paint(span, colourOf(value, this.signed, this.bound));
      return step.symbol === "\n" ? [span, element("br")] : [span, element("wbr")];
    }));
    if (!this.steps.length) this.coloured.textContent = say("empty");
    if (this.steps.length) this.coloured.setAttribute("aria-activedescendant", `${this.root.id}-${this.at}`);
    else this.coloured.removeAttribute("aria-activedescendant");
    const bar = element("i");
    bar.style.background = `linear-gradient(90deg, ${stops(this.signed).join(", ")})`;
    this.legend.replaceChildren(element("b", {}, fixed(this.signed ? -this.bound : 0)), bar, element("b", {}, fixed(this.bound)), say("colouredHelp"));
  }

  likely(pairs, typed) {
    const list = element("ol", { class: "next" });
    for (const [symbol, p] of pairs) {
      const name = element(typed ? "button" : "b", typed ? { type: "button", "aria-label": say("add", said(symbol), Math.round(100 * p)) } : {}, typed ? shown(symbol) : symbol);
      if (typed) name.addEventListener("click", () => this.type(this.session.single ? symbol : ` ${symbol}`));
      const bar = element("i");
      bar.style.width = `${Math.max(0.5, 100 * p)}%`;
      list.append(element("li", {}, name, bar, element("span", {}, `${fixed(100 * p, 1)} %`)));
    }
    return list;
  }

  // Each word with its likeliest tag under it, and how sure the model is of it.
  tagged(words) {
    const list = element("ol", { class: "tags" });
    for (const { word, tag, probabilities } of words) {
      const others = Object.entries(probabilities).map(([name, p]) => `${name} ${fixed(100 * p, 1)} %`);
      const sure = element("small", {}, `${fixed(100 * probabilities[tag], 0)} %`);
      list.append(element("li", { title: others.join(", ") }, element("b", {}, word), element("span", {}, tag), sure));
    }
    return list;
  }

  // Where a symbol was not among the likeliest, what they left over bounds its probability from above.
  surprise() {
    if (this.steps.length < 2) return "";
    let bits = 0;
    let exact = true;
    for (let t = 1; t < this.steps.length; t++) {
      const next = this.steps[t - 1].next;
      let p = next[this.steps[t].symbol];
      if (p === undefined) {
        exact = false;
        p = Math.max(1e-9, 1 - Object.values(next).reduce((sum, q) => sum + q, 0));
      }
      bits -= Math.log2(Math.max(p, 1e-30));
    }
    return say("surprise", fixed(bits / (this.steps.length - 1)), exact);
  }

  summary() {
    const step = this.steps[this.at];
    if (!step) return say("empty");
    const next = Object.entries(step.next).sort((a, b) => b[1] - a[1]).slice(0, 3).map(([s, p]) => `${said(s)} ${fixed(100 * p, 0)} %`);
    return say("said", said(step.symbol), this.name, this.unit, fixed(this.values(this.at)[this.unit], 3), next.join(", "));
  }
}
