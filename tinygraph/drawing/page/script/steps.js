// Stepping through the program, forward and then backward, with the numbers appearing: box by box of the level that is
// seen, or op by op.

import {DATA} from "./payload.js";
import {product} from "./tensors.js";
import {number} from "./numbers.js";
import {stage} from "./dom.js";
import {ROOT} from "./model.js";
import {eye, fly, rectangle, reduced, viewport} from "./camera.js";
import {built, repaint} from "./painting.js";
import {KEYS, say, select} from "./controls.js";
import {boxes, itemOf} from "./finding.js";
import * as overlays from "./overlays.js";
import * as camera from "./camera.js";
import * as depth from "./depth.js";
import * as controls from "./controls.js";
import * as panel from "./panel.js";

/** @typedef {import("./schema").PageBox} PageBox */

const OPS = 99, PAUSE = 450, QUIET = 700; // deeper than any box; milliseconds between steps, and where nothing is to move

// every: all ops in their order; steps: those of a level, each with the ops that it stands for.
export const walker = {every: null, steps: null, at: 0, level: 0, marks: new Map(), timer: 0};
const chooser = /** @type {HTMLSelectElement} */ (document.getElementById("walk-level"));
const walkBar = document.getElementById("walk"), walkWords = document.getElementById("walk-words");
const until = /** @type {HTMLInputElement} */ (document.getElementById("walk-until"));

// All ops in the order in which they ran, then those that have a gradient in the opposite order.
function stepsOf() {
  const ops = [...boxes(DATA.root)].filter(([record]) => record.op).sort(([a], [b]) => a.node - b.node)
    .map(([record, path]) => ({record, path, number: record.values[0], backward: false, name: nameOf(record, path)}));
  const back = ops.filter(step => step.record.gradient >= 0).reverse().map(step => ({...step, number: step.record.gradient, backward: true}));
  return [...ops, ...back];
}

/** The level that is seen: of the boxes in what fills the view, or in what was chosen to be open. */
function levelSeen() { return chooser.value === "ops" ? OPS : Math.max(eye.anchor.path.length, depth.chosen()) + 1; }

/** The steps of a level: ops that follow one another in the same box are one, done when the last of them is.
 * @param {number} level */
function setLevel(level) {
  if (walker.steps && level === walker.level) return;
  const last = walker.steps?.[walker.at].ops.at(-1), steps = [];
  for (const one of walker.every) {
    const path = one.path.slice(0, level), before = steps.at(-1);
    if (before && before.backward === one.backward && String(before.path) === String(path)) {
      before.ops.push(one);
      before.record = one.record;
      continue;
    }
    const inner = path.length < one.path.length, box = path.reduce((record, i) => record.kids[i], DATA.root);
    steps.push({...one, path, ops: [one],
      ...(inner ? {name: nameOf(box, path), number: one.backward ? -1 : box.values?.[0] ?? -1} : {})});
  }
  Object.assign(walker, {steps, level, at: last ? Math.max(0, steps.findIndex(step => step.ops.includes(last))) : 0});
}

// An op's title, after that of what it is the derivative of where several ops are.
function nameOf(record, path) {
  const around = path.slice(0, -1).reduce((one, i) => one.kids[i], DATA.root);
  return around.lane ? `${around.title}: ${record.title}` : record.title;
}

function normOf(step) {
  const tensor = DATA.values[step.number], [, , mean, deviation] = tensor?.statistics ?? [];
  return tensor?.statistics ? Math.sqrt((mean ** 2 + deviation ** 2) * product(tensor.shape)) : NaN;
}

// A condition to stop at: an op's name, "nan", or "norm > 1000".
function condition(text) {
  const norm = text.match(/^\s*norm\s*([<>])\s*([\d.e+-]+)\s*$/i);
  if (norm) return step => step.ops.some(one => norm[1] === ">" ? normOf(one) > Number(norm[2]) : normOf(one) < Number(norm[2]));
  if (text.trim().toLowerCase() === "nan") return step => step.ops.some(one => DATA.values[one.number]?.broken > 0);
  const words = text.trim().toLowerCase();
  return step => words && [step, ...step.ops].some(one => one.record.op === words || one.name.toLowerCase().includes(words));
}

function walkTo(at) {
  const {steps} = walker;
  walker.at = Math.max(0, Math.min(steps.length - 1, at));
  const step = steps[walker.at], item = itemOf(step.path), back = one => !!(one.backward || one.record.lane);
  const pass = steps.filter(one => back(one) === back(step));
  walkWords.textContent = `${back(step) ? "backward" : "forward"} ${pass.indexOf(step) + 1} of ${pass.length} · ${step.name}`
    + (Number.isNaN(normOf(step)) ? "" : ` · norm ${number(normOf(step))}`);
  refreshed();
  select(item);
  const box = rectangle(item), {w, h} = viewport();
  const seen = box.x >= 0 && box.y >= 0 && box.x + box.w <= w && box.y + box.h <= h && Math.max(box.w, box.h) > 40;
  if (!seen) fly(item.parent);
}

// After a step: what stands in boxes changes with it.
function refreshed() {
  if (overlays.overlaid?.needs.length) repaint();
  for (const view of built.values()) markSteps(view);
}

// Boxes that have not run yet stand back without numbers; those whose gradient is there are framed.
export function markSteps(view) {
  const {item} = view, step = walker.steps?.[walker.at];
  if (!item.record?.kids) return view.svg.classList.toggle("unrun", !hasRun(ownerOf(item)));
  for (const [kid, {group}] of view.covers) {
    const [first] = spanOf(kid.record), box = group.parentNode;
    box.classList.toggle("later", !!step && !step.backward && first > step.record.node);
    box.classList.toggle("unfinished", !hasRun(kid.record));
    const arrives = !!step && first >= 0 && !!(kid.record.kids || kid.record.op); // a leaf's frame says what it is
    box.classList.toggle("graded", arrives && hasGradient(kid.record));
  }
}

// The record of the op or leaf that an item is inside of.
export function ownerOf(item) {
  while (!item.record) item = item.parent;
  return item.record;
}

/** Whether what a box shows, or all in it, has been computed by the step at hand; true where nobody steps.
 * @param {PageBox} record */
export function hasRun(record) {
  const step = walker.steps?.[walker.at];
  return !step || step.backward || (record.kids && record.ready !== undefined ? record.ready : spanOf(record)[1]) <= step.record.node;
}

/** Whether all gradients of a box have arrived by the step at hand: those of an op's result when its own turn comes, those
 * of a leaf when the first op that read it has had its turn, since the way goes back.
 * @param {PageBox} record */
export function hasGradient(record) {
  const step = walker.steps?.[walker.at];
  if (!step) return true;
  walker.reads ??= readsOf(walker.every);
  const first = record.kids || record.op ? spanOf(record)[0] : walker.reads.get(record.values?.[0]) ?? Infinity;
  return step.backward && first >= step.record.node;
}

// The number of a value -> that of the first op that reads it.
function readsOf(steps) {
  const found = new Map();
  for (const {record} of steps) for (const number of record.operands)
    if (!(found.get(number) <= record.node)) found.set(number, record.node);
  return found;
}

/** @type {WeakMap<PageBox, number[]>} */
const spans = new WeakMap();

/** The numbers of the first and the last op in a box; -1 where there is none, as in a leaf, which is there from the start.
 * @param {PageBox} root */
function spanOf(root) {
  const known = spans.get(root);
  if (known) return known;
  let first = Infinity, last = -1;
  for (const [record] of boxes(root)) {
    const at = record.op || record.leaf === "seed" ? record.node : record.ready;
    if (at !== undefined) { first = Math.min(first, at); last = Math.max(last, at); }
  }
  const span = last < 0 ? [-1, -1] : [first, last];
  spans.set(root, span);
  return span;
}

function walkOn(way) {
  stopRunning();
  if (!eye.on && !camera.flight) setLevel(levelSeen()); // somebody went elsewhere
  walkTo(walker.at + way);
}

function stopRunning() {
  clearTimeout(walker.timer);
  walker.timer = 0;
  document.getElementById("walk-run").setAttribute("aria-pressed", "false");
}

function run() {
  if (walker.timer) return stopRunning();
  const wanted = condition(until.value);
  document.getElementById("walk-run").setAttribute("aria-pressed", "true");
  walker.timer = setTimeout(function on() {
    if (walker.at >= walker.steps.length - 1) return stopRunning();
    if (!camera.flight) { // else it is not there yet
      walkTo(walker.at + 1);
      if (wanted(walker.steps[walker.at])) {
        stopRunning();
        return say(`stopped at ${walker.steps[walker.at].name}`);
      }
    }
    walker.timer = setTimeout(on, camera.flight ? PAUSE / 4 : reduced() ? QUIET : PAUSE);
  }, PAUSE / 4);
}

function toggleWalk() {
  const on = !walker.steps;
  stopRunning();
  walker.every = on ? stepsOf() : null;
  walker.steps = null;
  if (on && walker.every.length) setLevel(levelSeen());
  walkBar.hidden = !walker.steps;
  document.getElementById("step").setAttribute("aria-pressed", String(!!walker.steps));
  if (walker.steps) return walkTo(0);
  refreshed();
  panel.showPanel(controls.selected ?? ROOT);
}

document.getElementById("step").addEventListener("click", toggleWalk);
document.getElementById("walk-back").addEventListener("click", () => walkOn(-1));
document.getElementById("walk-on").addEventListener("click", () => walkOn(1));
document.getElementById("walk-run").addEventListener("click", run);
chooser.addEventListener("change", () => { setLevel(levelSeen()); walkTo(walker.at); });
until.addEventListener("keydown", event => {
  if (event.key === "Enter") run();
  if (event.key === "Escape") stage.focus();
});
KEYS["."] = () => walker.steps ? walkOn(1) : toggleWalk();
KEYS[","] = () => walker.steps && walkOn(-1);
