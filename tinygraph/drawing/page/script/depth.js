// How deep the drawing is open: by the zoom alone, or down to a level that was chosen.

import {CLOSE_BELOW, OPEN_ABOVE, viewport} from "./camera.js";
import {changed} from "./painting.js";
import {KEYS, say} from "./controls.js";

/** @typedef {import("./items.js").Item} Item */

const LEAST = 26, ALL = 99; // pixels of a group that opens since it was asked to
const chooser = /** @type {HTMLSelectElement} */ (document.getElementById("depth"));
/** @type {number | null} */
let level = null;

/** Whether a box is to be open, of which so many pixels are seen.
 * @param {Item} item @param {number} pixels @param {boolean} open */
export function wantsOpen(item, pixels, open) {
  if (level === null || !item.record?.kids) return pixels > (open ? CLOSE_BELOW : OPEN_ABOVE);
  if (item.path.length <= level) return pixels > LEAST;
  const {w, h} = viewport();
  return pixels > Math.max(w, h) * (open ? 0.6 : 0.75); // somebody went in
}

/** How many levels below the outermost were asked to be open. */
export function chosen() { return level ?? 0; }

function choose(value) {
  chooser.value = value;
  level = value === "" ? null : value === "all" ? ALL : Number(value);
  changed();
}

function deeper(way) {
  const options = [...chooser.options].map(option => option.value);
  const at = Math.max(0, Math.min(options.length - 1, options.indexOf(chooser.value) + way));
  choose(options[at]);
  say(`depth: ${chooser.options[at].textContent}`);
}

chooser.addEventListener("change", () => choose(chooser.value));
KEYS["]"] = () => deeper(1);
KEYS["["] = () => deeper(-1);
KEYS.e = () => choose("all");
KEYS.c = () => choose("0");
