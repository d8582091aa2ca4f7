// All units over time as pixels: a click or the arrow keys choose the symbol and the unit.
import { colourOf, dark } from "./colours.js";
import { clamp, element } from "./nodes.js";
import { say } from "./words.js";

const MOST = 100;
const WIDTH = 10;

export function heat(look) {
  const { steps, at, unit, units, signed, bound } = look;
  const last = clamp(Math.floor(look.width / WIDTH), 8, MOST);
  const first = clamp(at - last + 1, 0, Math.max(0, steps.length - last));
  const seen = steps.slice(first, first + last);
  const height = clamp(Math.floor(320 / units), 2, 14);
  const canvas = element("canvas", {
    width: WIDTH * Math.max(1, seen.length), height: height * units, tabindex: 0, role: "application",
    "aria-label": say("heatHelp", units, seen.length),
  });
  const context = canvas.getContext("2d");
  seen.forEach((_, x) => {
    look.values(first + x).forEach((value, y) => {
      context.fillStyle = `rgb(${colourOf(value, signed, bound).join(",")})`;
      context.fillRect(x * WIDTH, y * height, WIDTH, height);
    });
  });
  if (seen.length) {
    context.strokeStyle = dark.matches ? "#ffffff" : "#000000";
    context.strokeRect(0.5, unit * height - 0.5, canvas.width - 1, height + 1);
    context.strokeRect((at - first) * WIDTH - 0.5, 0.5, WIDTH + 1, canvas.height - 1);
  }
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * seen.length);
    const y = Math.floor(((event.clientY - box.top) / box.height) * units);
    look.choose({ at: first + clamp(x, 0, seen.length - 1), unit: clamp(y, 0, units - 1) });
  });
  const moves = { ArrowLeft: { at: at - 1 }, ArrowRight: { at: at + 1 }, ArrowUp: { unit: unit - 1 }, ArrowDown: { unit: unit + 1 } };
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in moves)) return;
    event.preventDefault();
    look.choose(moves[event.key]);
  });
  return [canvas];
}
