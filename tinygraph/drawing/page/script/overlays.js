// Overlays: what is known of each box besides its shape - time, arithmetic, memory, gradients - as a tint and a line.
// Groups add up what is inside them, so there is something to say at every level. The data say which there are.

import {DATA} from "./payload.js";
import {amountText, theme} from "./numbers.js";
import * as painting from "./painting.js";
import * as controls from "./controls.js";
import * as steps from "./steps.js";

/** @typedef {import("./schema").PageBox} PageBox */
/** @typedef {import("./schema").PageOverlay} PageOverlay */

const NAMED = new Map(DATA.overlays.map(one => [one.name, one]));
/** @type {Map<PageOverlay, Map<PageBox, number | null>>} */
const totals = new Map(DATA.overlays.map(one => [one, new Map()]));

/** @type {PageOverlay | null} */
export let overlaid = null; // the overlay that is on

/** Whether there is something to say of a box, where somebody steps.
 * @param {PageBox} record @param {PageOverlay} one */
function isKnown(record, one) {
  return one.needs.includes("gradients") ? steps.hasGradient(record) : !one.needs.length || steps.hasRun(record);
}

/** What an overlay says of a box by the step at hand.
 * @param {PageBox} record @param {PageOverlay} one */
export function amountNow(record, one) { return isKnown(record, one) ? amountOf(record, one) : null; }

/** What an overlay says of a box with all in it; null where it says nothing.
 * @type {(record: PageBox, one: PageOverlay) => number | null} */
export function amountOf(record, one) {
  const known = totals.get(one);
  let total = known.get(record);
  if (total === undefined) {
    const norm = one.total === "norm"; // of everything in the box as one vector
    const add = amount => {
      if (amount === null) return;
      total = one.total === "largest" ? Math.max(total ?? 0, amount) : (total ?? 0) + (norm ? amount ** 2 : amount);
    };
    for (const node of nodesOf(record)) add(one.amounts[node] === null ? null : Number(one.amounts[node]));
    for (const kid of record.kids ?? []) add(amountOf(kid, one));
    total = total === undefined ? null : norm ? Math.sqrt(total) : total;
    known.set(record, total);
  }
  return total;
}

/** The nodes that a box stands for itself.
 * @param {PageBox} record @returns {number[]} */
function nodesOf(record) { return record.inside ?? (record.node === undefined ? [] : [record.node]); }

/** An amount in the words of its overlay.
 * @param {PageOverlay} one @param {number} amount */
export function wordsOf(one, amount) {
  return amount === 0 && one.nothing ? one.nothing : one.words.replace("{}", () => amountText(DATA.units[one.unit], amount));
}

/** What stands before the amount of a group that is its largest box's, not all of them together.
 * @param {PageBox} record @param {PageOverlay} one */
export function upTo(record, one) { return one.total === "largest" && record.kids && amountOf(record, one) ? "up to " : ""; }

/** The line of a box under the overlay that is on; null where it says nothing of the box.
 * @param {PageBox} record */
export function overlayLine(record) {
  const amount = record && overlaid ? amountNow(record, overlaid) : null;
  return amount === null ? null : upTo(record, overlaid) + wordsOf(overlaid, amount) + markText(record, overlaid);
}

/** Why an op stands out, where it does.
 * @param {PageBox} record @param {PageOverlay} one */
export function markText(record, one) { return one.marks[record.node] ? ` · ${one.marks[record.node]}` : ""; }

/** The largest amount among the boxes of a group: what the full tint stands for there.
 * @param {PageBox} record */
function largestOf(record) {
  const amounts = record.kids.map(kid => amountNow(kid, overlaid)).filter(Number.isFinite);
  return Math.max(0, ...amounts);
}

/** @param {PageBox} record @param {PageBox} parent */
export function tinted(record, parent) {
  const amount = amountNow(record, overlaid), most = amount === null ? 0 : largestOf(parent);
  if (amount === null) return null;
  const share = Number.isFinite(amount) ? (most ? amount / most : 0) : 1, hot = theme.tints[overlaid.tint];
  return `rgb(${theme.cold.map((from, i) => Math.round(from + (hot[i] - from) * share)).join(",")})`;
}

// -- the switch and the legend ---------------------------------------------------------------------------------------

const overlaySwitch = /** @type {HTMLSelectElement} */ (document.getElementById("overlay"));
export const legend = document.getElementById("legend");

for (const {name, title} of DATA.overlays) overlaySwitch.append(new Option(title, name));
overlaySwitch.hidden = !DATA.overlays.length;

export function setOverlay(name) {
  const before = overlaid;
  overlaid = NAMED.get(name) ?? null;
  overlaySwitch.value = overlaid?.name ?? "";
  if (overlaid !== before) painting.repaint();
}

export function nextOverlay() {
  const names = ["", ...NAMED.keys()];
  setOverlay(names[(names.indexOf(overlaid?.name ?? "") + 1) % names.length]);
  controls.say(`overlay: ${overlaySwitch.selectedOptions[0].textContent}`);
}

overlaySwitch.addEventListener("change", () => setOverlay(overlaySwitch.value));

// What the tint means where one is.
export function showLegend(item) {
  while (item && !item.record?.kids) item = item.parent;
  legend.hidden = !overlaid || !item;
  if (legend.hidden) return;
  const most = largestOf(item.record), words = [overlaid.title, most ? "0" : "",
    wordsOf(overlaid, most), most ? `the largest in ${item.title}` : ""];
  [...legend.querySelectorAll("span")].forEach((span, i) => { span.textContent = words[i]; });
  legend.style.setProperty("--tint", `var(${overlaid.tint})`);
  legend.querySelector("i").hidden = !most;
}
