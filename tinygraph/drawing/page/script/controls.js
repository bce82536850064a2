// What is selected, and the ways to move: wheel, pointers, keys.

import {DATA} from "./payload.js";
import {element, stage} from "./dom.js";
import {ROOT} from "./model.js";
import {nextOverlay} from "./overlays.js";
import {fly, limit, pan, rectangle, stop, viewport, zoomAt} from "./camera.js";
import {built, changed, itemAt} from "./painting.js";
import * as finding from "./finding.js";
import * as flows from "./flows.js";
import * as painting from "./painting.js";
import * as panel from "./panel.js";
import * as outline from "./outline.js";

/** @typedef {import("./items.js").Item} Item */

/** @type {Item | null} */
export let selected = null;

export function select(item, announce = true) {
  selected = item;
  panel.showPanel(item);
  outline.markInTree(item);
  if (announce) say(inWords(item));
  hot();
  changed();
}

// The curves of the selected box, brought out.
function hot() {
  document.querySelector(".hot")?.remove();
  const record = selected?.parent?.record, view = built.get(selected?.parent);
  if (!record?.kids || !view) return;
  const d = DATA.interiors[record.interior].links.filter(link => link[0] === selected.n || link[1] === selected.n).map(link => link[3]);
  if (d.length) view.svg.prepend(element("path", {d: d.join(""), class: "hot"}));
}

export function inWords(item) {
  const what = item.kind === "cell" ? `value ${item.note}` : [item.kind, item.note].filter(Boolean).join(", ");
  return `${item.title}, ${what}${item.opens ? ", opens" : ""}`;
}

export function say(text) { document.getElementById("live").textContent = text; }

export function goTo(item) {
  select(item);
  fly(item);
}

stage.addEventListener("wheel", event => {
  event.preventDefault();
  stop();
  const [x, y] = local(event), speed = event.ctrlKey ? 0.01 : event.deltaMode ? 0.05 : 0.0016;
  zoomAt(limit(Math.exp(-Math.max(-240, Math.min(240, event.deltaY)) * speed), x, y), x, y);
}, {passive: false});

/** @type {Map<number, number[]>} */
const pointers = new Map();
let travelled = 0, lastTap = null;

// What an event is about, or the nearest around it that a selector chooses.
function within(event, selector) { return event.target instanceof Element ? event.target.closest(selector) : null; }

function local(event) {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

stage.addEventListener("pointerdown", event => {
  if (event.button || within(event, "#walk, #minimap")) return;
  stage.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, local(event));
  travelled = pointers.size > 1 ? Infinity : 0;
  stop();
});

stage.addEventListener("pointermove", event => {
  const old = pointers.get(event.pointerId);
  if (!old) return;
  const now = local(event), other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  if (other) { // the middle of two fingers stays on what it is on
    const apart = p => Math.max(1, Math.hypot(p[0] - other[0], p[1] - other[1]));
    const x = (now[0] + other[0]) / 2, y = (now[1] + other[1]) / 2;
    pan((now[0] - old[0]) / 2, (now[1] - old[1]) / 2);
    zoomAt(limit(apart(now) / apart(old), x, y), x, y);
  } else {
    travelled += Math.hypot(now[0] - old[0], now[1] - old[1]);
    if (travelled > 4) { pan(now[0] - old[0], now[1] - old[1]); stage.classList.add("held"); }
  }
  pointers.set(event.pointerId, now);
});

for (const end of /** @type {("pointerup" | "pointercancel")[]} */ (["pointerup", "pointercancel"])) stage.addEventListener(end, event => {
  if (!pointers.delete(event.pointerId)) return;
  stage.classList.remove("held");
  if (end === "pointerup" && travelled <= 4) tap(...local(event), event.timeStamp);
});

function tap(x, y, time) {
  const item = itemAt(x, y), again = lastTap && time - lastTap.time < 350 && Math.hypot(x - lastTap.x, y - lastTap.y) < 24;
  lastTap = {x, y, time};
  if (again) return goTo(item);
  const t = painting.shown.get(item), link = t && flows.curveAt(item, (x - t.tx) / t.k, (y - t.ty) / t.k, 6 / t.k);
  select(item);
  if (link) showCurve(item, link);
}

// A curve of an open interior: brought out, and what flows there.
function showCurve(item, link) {
  document.querySelector(".hot")?.remove();
  built.get(item)?.svg.prepend(element("path", {d: link[3], class: "hot"}));
  panel.showCurve(item, link);
}

// -- keys ------------------------------------------------------------------------------------------------------------

export const KEYS = {
  "+": () => zoomMiddle(1.35), "=": () => zoomMiddle(1.35), "-": () => zoomMiddle(1 / 1.35),
  "0": () => goTo(ROOT), Enter: enter, Escape: leave, "/": () => finding.search.focus(),
  o: nextOverlay,
  ArrowLeft: () => beside(-1, 0), ArrowRight: () => beside(1, 0), ArrowUp: () => beside(0, -1), ArrowDown: () => beside(0, 1),
};

function zoomMiddle(factor) {
  const {w, h} = viewport();
  zoomAt(limit(factor, w / 2, h / 2), w / 2, h / 2);
}

function inFocus(item) {
  const box = rectangle(item), {w, h} = viewport();
  return Math.max(box.w / w, box.h / h) > 0.6;
}

function enter() {
  const item = selected ?? ROOT;
  if (item.opens && (inFocus(item) || item === ROOT) && item.kids.length) goTo(item.kids[0]);
  else goTo(item);
}

function leave() { goTo((selected ?? ROOT).parent ?? ROOT); }

// The nearest sibling in a direction.
function beside(dx, dy) {
  if (!selected?.parent) return enter();
  const middle = item => [item.bx + item.bw / 2, item.by + item.bh / 2], [x, y] = middle(selected);
  let best = null, least = Infinity;
  for (const kid of selected.parent.kids) {
    const [a, b] = middle(kid), along = (a - x) * dx + (b - y) * dy, aside = Math.abs((a - x) * dy) + Math.abs((b - y) * dx);
    if (kid !== selected && along > 1e-6 && along + 2.5 * aside < least) { best = kid; least = along + 2.5 * aside; }
  }
  if (!best) return;
  const wasNear = inFocus(selected), box = (select(best), rectangle(best)), {w, h} = viewport();
  if (wasNear) fly(best);
  else if (box.x < 0 || box.y < 0 || box.x + box.w > w || box.y + box.h > h)
    pan(w / 2 - box.x - box.w / 2, h / 2 - box.y - box.h / 2);
}

addEventListener("keydown", event => {
  if (within(event, "input, select, textarea, [role=tree], dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" && within(event, "button, a")) return;
  if (!KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});
