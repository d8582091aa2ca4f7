// The last symbols as one-hot rows, time to the right and feature downwards, with the batch's shape.
import { clamp, drawn, element, shown } from "./nodes.js";
import { say } from "./words.js";

const MOST = 40;
const WIDTH = 18;
const HEIGHT = 150;

export function batch(look) {
  const { steps, model, at } = look;
  const features = model.symbols.length;
  const last = clamp(Math.floor((look.width - 24) / WIDTH), 8, MOST);
  const first = clamp(at - last + 1, 0, Math.max(0, steps.length - last));
  const seen = steps.slice(first, first + last);
  const row = Math.min(16, HEIGHT / features);
  const height = Math.max(row * features, 20);
  const title = drawn("title", {}, say("oneHotPicture", seen.length, features));
  const width = 24 + last * WIDTH;
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height + 44}`, role: "img", width }, title);
  picture.append(
    drawn("rect", { class: "axis", x: 20, y: 20, width: seen.length * WIDTH, height }),
    drawn("text", { x: 20, y: 12 }, `${say("time")} ${steps.length} →`),
    drawn("text", { transform: `translate(12 ${20 + height}) rotate(-90)` }, `${say("feature")} ${features}`),
  );
  seen.forEach((step, i) => {
    const x = 20 + i * WIDTH;
    const here = first + i === at;
    if (here) picture.append(drawn("rect", { class: "cursor axis", x, y: 20, width: WIDTH, height }));
    picture.append(
      drawn("rect", { x: x + 2, y: 20 + step.index * row, width: WIDTH - 4, height: Math.max(row - 1, 3), fill: "currentColor" }),
      drawn("text", { x: x + WIDTH / 2, y: height + 38, "text-anchor": "middle" }, shown(step.symbol)),
    );
  });
  const step = steps[at];
  const said = step ? say("oneHot", shown(step.symbol), step.index, features) : say("empty");
  return [element("p", { class: "shape" }, say("shape", steps.length, features)), element("p", { class: "hint" }, said), picture];
}
