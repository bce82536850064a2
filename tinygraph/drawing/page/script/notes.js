// Notes on boxes, kept in the address, so that a link carries them.

import {tag} from "./dom.js";
import * as address from "./address.js";

/** @typedef {import("./items.js").Item} Item */

const LONGEST = 500; // letters of one note

/** @type {Map<string, string>} */
const written = new Map();

/** @param {Item} item */
export function aboutNote(item) {
  const path = item.path.join("."), field = tag("textarea", {rows: 2, maxlength: LONGEST, placeholder: "Write a note; the link keeps it", "aria-label": "Note"});
  if (!(field instanceof HTMLTextAreaElement)) return [];
  field.value = written.get(path) ?? "";
  field.addEventListener("keydown", event => event.stopPropagation());
  field.addEventListener("input", () => {
    if (field.value.trim()) written.set(path, field.value);
    else written.delete(path);
    address.settle();
  });
  return [tag("h3", {}, "Note"), field];
}

export function noteOf(item) { return written.get(item.path.join(".")); }

export function inLink() { return written.size ? [`notes=${encodeURIComponent(JSON.stringify([...written]))}`] : []; }

/** @param {string | undefined} text */
export function fromLink(text) {
  written.clear();
  try {
    for (const [path, note] of JSON.parse(decodeURIComponent(text ?? "[]")))
      if (/^[\d.]*$/.test(path) && typeof note === "string") written.set(path, note.slice(0, LONGEST));
  } catch { /* a link that was cut carries none */ }
}
