// Which iteration of the loops is shown: tensors inside of them take the numbers of that one.

import {DATA} from "./payload.js";
import {TENSORS} from "./tensors.js";
import {ROOT} from "./model.js";
import {eye, land} from "./camera.js";
import {repaint} from "./painting.js";
import {KEYS, say, select} from "./controls.js";
import * as controls from "./controls.js";

const label = document.getElementById("iteration"), field = label.querySelector("input");
const shown = DATA.iterations ?? [];
let at = 0; // which one of them

/** Interiors of ops are made again when they are next looked at.
 * @param {import("./items.js").Item} item */
function forget(item) {
  if (!item.made) return;
  if (item.record?.kids) item.made.kids.forEach(forget);
  else item.made = undefined;
}

// The box of the data that an item is, or is inside of.
function boxOf(item) {
  while (item && !item.record) item = item.parent;
  return item;
}

function show(next) {
  at = Math.max(0, Math.min(shown.length - 1, next));
  field.value = String(shown[at]);
  for (const [i, record] of DATA.values.entries()) {
    if (!record.rounds) continue;
    const {at: place, broken, statistics, counts} = DATA.values[record.rounds[at]];
    Object.assign(record, {at: place, broken, statistics, counts});
    Object.assign(TENSORS[i], {at: place, bound: undefined});
  }
  const chosen = boxOf(controls.selected) ?? ROOT, inside = boxOf(eye.anchor) !== eye.anchor;
  forget(ROOT);
  select(chosen, false);
  if (inside) land(chosen);
  repaint();
  say(`iteration ${shown[at]}`);
}

if (shown.length) {
  label.hidden = false;
  field.max = String(shown.at(-1));
  field.value = String(shown[0]);
  label.querySelector("span").textContent = `of ${shown.at(-1) + 1}`;
  field.addEventListener("change", () => {
    const wanted = Number(field.value), apart = shown.map(one => Math.abs(one - wanted));
    show(apart.indexOf(Math.min(...apart)));
  });
  KEYS["]"] = () => show(at + 1);
  KEYS["["] = () => show(at - 1);
}
