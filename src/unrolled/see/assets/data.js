// What the page shows: the recording, and what of it is chosen now.
const data = JSON.parse(document.getElementById("data").textContent);
const steps = data.symbols.length;
const chosen = { layer: data.layers.length - 1, track: 0, unit: 0, at: 0, base: "bits", ordered: true };
const views = [];

const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function unpack(track) {
  const bytes = Uint8Array.from(atob(track.data), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const values = new Float32Array(bytes.length / 2);
  for (let i = 0; i < values.length; i++) values[i] = view.getInt16(2 * i, true) * track.scale;
  return values;
}

const layer = () => data.layers[chosen.layer];
const track = () => layer().tracks[chosen.track];
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function values(one) {
  one.values ??= unpack(one);
  return one.values;
}

const valueOf = (one, t, unit) => values(one)[t * one.units + unit];
// A gate's unit may be beyond the state's where the output is projected.
const unitIn = (one) => clamp(chosen.unit, 0, one.units - 1);
const boundOf = (one) => (one.gate && one.least >= 0 ? 1 : one.scale * 32767);
const signed = (one) => one.least < 0 || !one.gate;

const names = { "\n": "↵", "\t": "⇥", " ": "␣", "\r": "␍" };
function shown(symbol) {
  if (symbol in names) return names[symbol];
  if (/^[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Co}]$/u.test(symbol)) {
    return "U+" + symbol.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  }
  return symbol;
}
const spoken = { "\n": "new line", "\t": "tab", " ": "space", "\r": "carriage return" };
const said = (symbol) => spoken[symbol] ?? shown(symbol);

const surpriseOf = (t) => {
  const nats = data.surprise[t];
  return nats == null ? null : chosen.base === "bits" ? nats / Math.LN2 : nats;
};
const fixed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");

// Every view is a function of what changed; each draws only what depends on it.
function choose(changes) {
  const before = { ...chosen };
  Object.assign(chosen, changes);
  chosen.layer = clamp(chosen.layer, 0, data.layers.length - 1);
  chosen.track = clamp(chosen.track, 0, layer().tracks.length - 1);
  chosen.unit = clamp(chosen.unit, 0, track().units - 1);
  chosen.at = clamp(chosen.at, 0, steps - 1);
  const changed = new Set(Object.keys(chosen).filter((key) => chosen[key] !== before[key]));
  if (changed.size) for (const view of views) view(changed);
}

function arrows(event, moves) {
  const move = moves[event.key];
  if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  choose(move());
}
const alongTime = {
  ArrowLeft: () => ({ at: chosen.at - 1 }),
  ArrowRight: () => ({ at: chosen.at + 1 }),
  Home: () => ({ at: 0 }),
  End: () => ({ at: steps - 1 }),
};

// Scrolls a box, never the page, so that what is at `from` to `to` can be seen.
function reveal(box, from, to) {
  if (from < box.scrollLeft) box.scrollLeft = from - 40;
  else if (to > box.scrollLeft + box.clientWidth) box.scrollLeft = to - box.clientWidth + 40;
}
