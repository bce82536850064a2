// Names that somebody gave to boxes, kept in the address, so that a link carries them.

import {tag} from "./dom.js";
import {repaint} from "./painting.js";
import {itemOf} from "./finding.js";
import * as address from "./address.js";
import * as chips from "./chips.js";
import * as finding from "./finding.js";
import * as outline from "./outline.js";
import * as panel from "./panel.js";

/** @typedef {import("./items.js").Item} Item */
/** @typedef {import("./schema").PageBox} PageBox */

const LONGEST_NAME = 80; // letters

/** @type {Map<string, string>} */
const given = new Map();
/** @type {Map<PageBox, string>} */
const own = new Map();

/** What a box is called in the program. @param {PageBox} record */
export function ownTitle(record) { return own.get(record) ?? record.title; }

/** @param {Item} item */
export function aboutName(item) {
  const {record} = item, field = tag("input", {maxlength: LONGEST_NAME, value: item.title, "aria-label": "Name", spellcheck: "false"});
  if (!(field instanceof HTMLInputElement) || !record) return [];
  field.addEventListener("keydown", event => {
    event.stopPropagation();
    if (event.key === "Enter") field.blur();
  });
  field.addEventListener("change", () => {
    rename(item, field.value);
    finished();
    panel.showPanel(item);
    address.settle();
  });
  const before = own.has(record) ? [tag("p", {class: "muted"}, `${ownTitle(record)} in the program; without a name it is that again`)] : [];
  return [tag("h3", {}, "Name"), field, ...before];
}

/** Call a box something else, or, without a name, what it was. @param {Item} item @param {string} name */
function rename(item, name) {
  const {record} = item, before = ownTitle(record), now = name.trim().slice(0, LONGEST_NAME) || before;
  if (now === before) { own.delete(record); given.delete(item.path.join(".")); }
  else { own.set(record, before); given.set(item.path.join("."), now); }
  record.title = item.title = now;
  outline.retitle(item);
}

function finished() { // what shows titles shows the new ones
  finding.forgetIndex();
  chips.forgetTrail();
  repaint();
}

export function inLink() { return given.size ? [`names=${encodeURIComponent(JSON.stringify([...given]))}`] : []; }

/** @param {string | undefined} text */
export function fromLink(text) {
  const before = given.size;
  for (const path of [...given.keys()]) rename(itemOf(path.split(".").filter(Boolean).map(Number)), "");
  try {
    for (const [path, name] of JSON.parse(decodeURIComponent(text ?? "[]"))) {
      if (!/^(\d+(\.\d+)*)?$/.test(path) || typeof name !== "string") continue;
      const item = itemOf(path.split(".").filter(Boolean).map(Number));
      if (item.record && item.path.join(".") === path) rename(item, name);
    }
  } catch { /* a link that was cut carries none */ }
  if (before || given.size) finished();
}

/** What `tg.draw` is to be told to call the boxes so. */
export function asArgument() {
  const pairs = [...own].map(([record, before]) => `${JSON.stringify(record.name || before)}: ${JSON.stringify(record.title)}`);
  return pairs.length ? `, names={${pairs.join(", ")}}` : "";
}
