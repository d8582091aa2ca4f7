// Scales that the colour-blind can read: blue to orange through the page's own ground, and viridis.
import { clamp } from "./nodes.js";

export const dark = matchMedia("(prefers-color-scheme: dark)");
const diverging = {
  light: ["#0b4f9e", "#7fb2e5", "#f4f4f6", "#f3b26b", "#a84c00"],
  dark: ["#6db6ff", "#2d639c", "#26262d", "#9c5c1e", "#ffab52"],
};
const sequential = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];
const lines = {
  light: ["#0072b2", "#b34700", "#00785a", "#a3457c", "#806000", "#5b4bb3", "#555555"],
  dark: ["#56b4e9", "#ff9a5c", "#2ecfa0", "#e7a3cb", "#f0c040", "#b3a6ff", "#c0c0c0"],
};
export const dashes = ["", "6 3", "2 2", "8 2 2 2", "1 3", "10 4", "4 1"];

const scheme = () => (dark.matches ? "dark" : "light");
export const lineColour = (i) => lines[scheme()][i % lines.light.length];
export const stops = (signed) => (signed ? diverging[scheme()] : sequential);
const parts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

// A value of −bound to bound, or of 0 to 1 where it is never negative, as [red, green, blue].
export function colourOf(value, signed, bound) {
  const scale = stops(signed);
  const place = clamp(signed ? (value / bound + 1) / 2 : value / bound, 0, 1) * (scale.length - 1);
  const low = Math.min(Math.floor(place), scale.length - 2);
  const from = parts(scale[low]);
  return parts(scale[low + 1]).map((to, i) => Math.round(from[i] + (to - from[i]) * (place - low)));
}

// Black or white, whichever has the higher contrast (WCAG's relative luminance).
export function paint(node, rgb) {
  const [r, g, b] = rgb.map((c) => c / 255).map((s) => (s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4));
  node.style.background = `rgb(${rgb.join(",")})`;
  node.style.color = 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}
