// Scales that the colour-blind can read: blue to orange through the page's own ground, and viridis.
const dark = matchMedia("(prefers-color-scheme: dark)");
const diverging = {
  light: ["#0b4f9e", "#7fb2e5", "#f4f4f6", "#f3b26b", "#a84c00"],
  dark: ["#6db6ff", "#2d639c", "#26262d", "#9c5c1e", "#ffab52"],
};
const sequential = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];
const lines = {
  light: ["#0072b2", "#b34700", "#00785a", "#a3457c", "#806000", "#5b4bb3", "#555555"],
  dark: ["#56b4e9", "#ff9a5c", "#2ecfa0", "#e7a3cb", "#f0c040", "#b3a6ff", "#c0c0c0"],
};
const lineColour = (number) => lines[dark.matches ? "dark" : "light"][number % lines.light.length];

const parts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

function between(stops, x) {
  const place = clamp(x, 0, 1) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  const from = parts(stops[low]);
  return parts(stops[low + 1]).map((to, i) => Math.round(from[i] + (to - from[i]) * (place - low)));
}

const stopsOf = (one) => (signed(one) ? diverging[dark.matches ? "dark" : "light"] : sequential);
const colourOf = (one, value) => {
  const bound = boundOf(one);
  return between(stopsOf(one), signed(one) ? (value / bound + 1) / 2 : value / bound);
};
const css = (rgb) => `rgb(${rgb.join(",")})`;

// Black or white, whichever has the higher contrast (WCAG's relative luminance).
function inkOn(rgb) {
  const [r, g, b] = rgb.map((c) => {
    const s = c / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

function paint(node, rgb) {
  node.style.background = css(rgb);
  node.style.color = inkOn(rgb);
}

const probabilityColour = (p) =>
  between(dark.matches ? ["#26262d", "#2d639c", "#6db6ff"] : ["#f4f4f6", "#7fb2e5", "#0b4f9e"], p);

function drawLegend() {
  const one = track();
  const bound = boundOf(one);
  const bar = element("i");
  bar.style.background = `linear-gradient(90deg, ${stopsOf(one).join(", ")})`;
  byId("legend").replaceChildren(fixed(signed(one) ? -bound : 0), bar, fixed(bound));
}
