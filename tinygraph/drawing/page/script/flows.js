// What flows along the curves of an interior, and which boxes they join: by the tensors that one makes and the other reads.

import {DATA} from "./payload.js";
import {boxes} from "./finding.js";

/** @typedef {import("./schema").PageBox} PageBox */
/** @typedef {import("./schema").PageLink} PageLink */
/** @typedef {import("./items.js").Item} Item */

/** @type {WeakMap<PageBox, {made: Set<number>, read: Set<number>}>} */
const known = new WeakMap();

/** The numbers of the tensors that a box and all in it make, and of those that they read.
 * @param {PageBox} record */
function ends(record) {
  const found = known.get(record);
  if (found) return found;
  /** @type {Set<number>} */ const made = new Set(), /** @type {Set<number>} */ read = new Set();
  for (const [one] of boxes(record)) {
    const shows = !one.op && !one.leaf; // an output, a gradient: what it shows comes from elsewhere
    for (const number of one.values ?? []) (shows ? read : made).add(number);
    for (const number of one.operands ?? []) read.add(number);
  }
  known.set(record, {made, read});
  return {made, read};
}

/** The numbers of the tensors along a curve of an interior.
 * @param {PageBox} around @param {PageLink} link */
export function tensorsAlong(around, [tail, head]) {
  const kids = around.kids ?? [], inside = ends(around);
  const made = tail < 0 ? null : ends(kids[tail]).made, read = head < 0 ? null : ends(kids[head]).read;
  const found = made && read ? [...made].filter(number => read.has(number))
    : read ? [...read].filter(number => !inside.made.has(number))
      : made ? [...made].filter(number => ends(DATA.root).read.has(number)) : [];
  return found.filter(number => number >= 0);
}

/** The boxes that curves join an item with: what it is made from, what reads it; the group around where they cross its border.
 * @param {Item} item @returns {{from: Item[], to: Item[]}} */
export function neighbours(item) {
  const around = item.parent, /** @type {Set<Item>} */ from = new Set(), /** @type {Set<Item>} */ to = new Set();
  if (!around?.record?.kids || !item.record) return {from: [], to: []};
  for (const [tail, head] of DATA.interiors[around.record.interior].links) {
    if (head === item.n) from.add(tail < 0 ? around : around.kids[tail]);
    if (tail === item.n) to.add(head < 0 ? around : around.kids[head]);
  }
  return {from: [...from], to: [...to]};
}

const pen = document.createElement("canvas").getContext("2d");

/** The curve of an open interior at a point of it, none where there is none so near.
 * @param {Item} item @param {number} x @param {number} y @param {number} near @returns {PageLink | undefined} */
export function curveAt(item, x, y, near) {
  if (!item.record?.kids || !pen) return undefined;
  pen.lineWidth = 2 * near;
  return DATA.interiors[item.record.interior].links.find(link => pen.isPointInStroke(new Path2D(link[3]), x, y));
}
