// Every state and gate of one unit over the last symbols, a line each, in its own colour and dashes.
import { dashes, lineColour } from "./colours.js";
import { clamp, drawn, element, fixed, shown } from "./nodes.js";
import { say } from "./words.js";

const MOST = 60;
const WIDTH = 14;
const HEIGHT = 120;

export function curves(look) {
  const { steps, at, layer, unit } = look;
  const last = clamp(Math.floor((look.width - 40) / WIDTH), 8, MOST);
  const first = clamp(at - last + 1, 0, Math.max(0, steps.length - last));
  const seen = steps.slice(first, first + last);
  if (!seen.length) return [element("p", { class: "hint" }, say("empty"))];
  const names = look.tracks.map((track) => [track.kind, track.name]);
  const of = (step, [kind, name]) => {
    const values = step.layers[layer][kind][name];
    return values[Math.min(unit, values.length - 1)];
  };
  const bound = Math.max(1, ...seen.flatMap((step) => names.map((name) => Math.abs(of(step, name)))));
  const y = (value) => 10 + ((1 - value / bound) / 2) * HEIGHT;
  const x = (i) => 34 + (i + 0.5) * WIDTH;
  const width = 40 + last * WIDTH;
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${HEIGHT + 40}`, width, role: "img" }, drawn("title", {}, say("gatesTitle", unit)));
  for (const value of [bound, 0, -bound]) {
    picture.append(
      drawn("line", { class: "axis", x1: 34, x2: 34 + seen.length * WIDTH, y1: y(value), y2: y(value) }),
      drawn("text", { x: 30, y: y(value) + 4, "text-anchor": "end" }, fixed(value, 1)),
    );
  }
  picture.append(drawn("line", { class: "cursor", x1: x(at - first), x2: x(at - first), y1: 10, y2: 10 + HEIGHT }));
  const key = element("div", { class: "key" });
  names.forEach((name, i) => {
    const line = { stroke: lineColour(i), "stroke-width": 2, "stroke-dasharray": dashes[i % dashes.length], fill: "none" };
    picture.append(drawn("polyline", { ...line, points: seen.map((step, t) => `${x(t)},${y(of(step, name))}`).join(" ") }));
    if (seen.length === 1) picture.append(drawn("circle", { cx: x(0), cy: y(of(seen[0], name)), r: 3, fill: lineColour(i) }));
    const sample = drawn("svg", { width: 28, height: 8, "aria-hidden": "true" }, drawn("line", { ...line, x1: 0, x2: 28, y1: 4, y2: 4 }));
    key.append(element("span", {}, sample, `${name[1]} ${fixed(of(steps[at], name))}`));
  });
  seen.forEach((step, t) =>
    picture.append(drawn("text", { x: x(t), y: HEIGHT + 32, "text-anchor": "middle" }, shown(step.symbol))));
  return [key, picture];
}
