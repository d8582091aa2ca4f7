// Small helpers around the document.
import { say } from "./words.js";

export const byId = (id) => document.getElementById(id);
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
export const fixed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
export const element = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
export const drawn = (name, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const marks = { "\n": "↵", "\t": "⇥", " ": "␣", "\r": "␍" };
export function shown(symbol) {
  if (symbol in marks) return marks[symbol];
  if (/^[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Co}]$/u.test(symbol)) {
    return "U+" + symbol.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  }
  return symbol;
}
const spoken = { "\n": "line", "\t": "tab", " ": "space" };
export const said = (symbol) => (symbol in spoken ? say(spoken[symbol]) : shown(symbol));

export const table = (caption, heads, rows, more = () => {}) => {
  const body = element("tbody");
  rows.forEach(([head, ...cells], i) => {
    const row = element("tr", {}, element("th", { scope: "row" }, head), ...cells.map((cell) => element("td", {}, String(cell))));
    more(row, i);
    body.append(row);
  });
  const top = element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)));
  return element("table", {}, element("caption", {}, caption), element("thead", {}, top), body);
};
