// Themes, and the switches for what stands beside the drawing.

import {DATA} from "./payload.js";
import {theme} from "./numbers.js";
import {changed, repaint} from "./painting.js";

export const themes = /** @type {HTMLSelectElement} */ (document.getElementById("theme"));
export const page = document.documentElement;

export function setTheme(name) {
  page.dataset.theme = name === "auto" ? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light") : name;
  const colour = getComputedStyle(page).getPropertyValue("--zero").trim().match(/\d+/g);
  if (colour) theme.zero = colour.map(Number);
  theme.cold = colourOf("--background");
  for (const {tint} of DATA.overlays) theme.tints[tint] = colourOf(tint);
  repaint();
}

// The colour that a variable of the style sheet holds, in bytes.
function colourOf(variable) {
  const hex = getComputedStyle(page).getPropertyValue(variable).trim();
  return [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
}

themes.addEventListener("change", () => setTheme(themes.value));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(themes.value));

for (const [id, css] of [["show-tree", "no-tree"], ["show-about", "no-about"]])
  document.getElementById(id).addEventListener("click", () => {
    const hidden = document.body.classList.toggle(css);
    document.getElementById(id).setAttribute("aria-pressed", String(!hidden));
    changed();
  });
