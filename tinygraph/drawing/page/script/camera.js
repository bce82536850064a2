// The camera: an anchor item, and scale and shift of its interior on screen, in doubles. Transforms are never nested.

import {stage} from "./dom.js";
import {ROOT} from "./model.js";
import * as painting from "./painting.js";

export const OPEN_ABOVE = 300, CLOSE_BELOW = 150; // screen pixels of a box's longer side

/** @typedef {import("./items.js").Item} Item */

/** @type {{anchor: Item, k: number, tx: number, ty: number, on: Item | null}} */
export const eye = {anchor: ROOT, k: 1, tx: 0, ty: 0, on: null}; // on: what it was last brought to, until it is moved

export function viewport() { return {w: stage.clientWidth, h: stage.clientHeight}; }

export function outward(item, t) { // from the transform of an interior to that of the interior around it
  const k = t.k / item.s;
  return {k, tx: t.tx - k * item.x, ty: t.ty - k * item.y};
}

export function inward(item, t) {
  return {k: t.k * item.s, tx: t.tx + t.k * item.x, ty: t.ty + t.k * item.y};
}

export function boxOnScreen(item, t) { // t: of the interior around it
  return {x: t.tx + t.k * item.bx, y: t.ty + t.k * item.by, w: t.k * item.bw, h: t.k * item.bh};
}

// Keep the anchor the innermost item that fills the middle of the view, so that its numbers stay small.
export function reroot() {
  const {w, h} = viewport();
  for (let i = 0; i < 40; i++) {
    const {anchor, k, tx, ty} = eye, cx = (w / 2 - tx) / k, cy = (h / 2 - ty) / k;
    if (anchor.parent && (cx < 0 || cy < 0 || cx > anchor.w || cy > anchor.h)) {
      Object.assign(eye, outward(anchor, eye), {anchor: anchor.parent});
      continue;
    }
    const inner = anchor.made && anchor.kids.find(kid => kid.opens && cx >= kid.x && cy >= kid.y &&
      cx <= kid.x + kid.s * kid.w && cy <= kid.y + kid.s * kid.h && Math.max(kid.bw, kid.bh) * k > 0.6 * Math.max(w, h));
    if (!inner) return;
    Object.assign(eye, inward(inner, eye), {anchor: inner});
  }
}

// The transform of the interior around an item, however far it is from the anchor.
function around(item) {
  const chain = new Set();
  for (let one = item.parent; one; one = one.parent) chain.add(one);
  let base = eye.anchor, t = {k: eye.k, tx: eye.tx, ty: eye.ty};
  while (!chain.has(base)) {
    if (!base.parent) return null;
    t = outward(base, t);
    base = base.parent;
  }
  const down = [];
  for (let one = item.parent; one !== base; one = one.parent) down.unshift(one);
  for (const one of down) t = inward(one, t);
  return t;
}

export function rectangle(item) {
  if (item.parent) return boxOnScreen(item, around(item));
  let one = eye.anchor, t = {k: eye.k, tx: eye.tx, ty: eye.ty};
  while (one.parent) { t = outward(one, t); one = one.parent; }
  return {x: t.tx, y: t.ty, w: t.k * one.w, h: t.k * one.h};
}

export function zoomAt(factor, x, y) {
  eye.on = null;
  eye.k *= factor;
  eye.tx = x + (eye.tx - x) * factor;
  eye.ty = y + (eye.ty - y) * factor;
  reroot();
  painting.changed();
}

export function pan(dx, dy) {
  eye.on = null;
  eye.tx += dx; eye.ty += dy;
  reroot();
  painting.changed();
}

// How much further in one may zoom at a point: until what cannot be opened fills the view, or, between the boxes of an
// open interior, until the smallest of them would. (Painting without bounds also means drawing without bounds.)
function roomAt(x, y) {
  const {w, h} = viewport(), item = painting.itemAt(x, y);
  if (item.opens) return painting.shown.has(item) ? Math.max(1, largestScale(item) / painting.shown.get(item).k) : Infinity;
  const box = rectangle(item);
  return Math.max(1, 0.7 * Math.min(w / box.w, h / box.h));
}

export function largestScale(item) {
  const {w, h} = viewport();
  item.interior.least ??= item.kids.reduce((least, kid) => Math.min(least, Math.max(kid.bw, kid.bh)), item.w);
  return 0.9 * Math.min(w, h) / item.interior.least;
}

export function limit(factor, x, y) {
  if (factor > 1) return Math.min(factor, roomAt(x, y));
  const whole = rectangle(ROOT), {w, h} = viewport();
  return Math.max(factor, Math.min(1, 0.3 * Math.min(w / whole.w, h / whole.h)));
}

// Where a box should be to be looked at.
function framed(item) {
  const {w, h} = viewport(), small = item.opens ? 0.9 : 0.34;
  const box = item.parent ? {w: item.bw, h: item.bh} : {w: item.w, h: item.h};
  const scale = Math.min(w * small / box.w, (h - 30) * small / box.h, item.parent ? Infinity : 2);
  return {x: (w - box.w * scale) / 2, y: (h - box.h * scale) / 2 + 8, w: box.w * scale};
}

export let flight = null;

// Stay where the flight has come to.
export function stop() { flight = null; }

export function fly(item, done) {
  const target = framed(item), now = rectangle(item);
  const common = commonParent(item, eye.anchor);
  const far = common !== item && common !== eye.anchor && common !== item.parent;
  if (far && !reduced()) return fly(common, () => fly(item, done));
  const m = target.w / now.w;
  const still = Math.abs(m - 1) < 1e-4;
  const fx = still ? 0 : (target.x - m * now.x) / (1 - m), fy = still ? 0 : (target.y - m * now.y) / (1 - m);
  const length = reduced() ? 0 : Math.min(1100, 260 + 110 * Math.abs(Math.log2(m)));
  eye.on = null;
  flight = {item, done, start: performance.now(), length, m, fx, fy, still, passed: 0,
    dx: target.x - now.x, dy: target.y - now.y};
  painting.changed();
}

function commonParent(a, b) {
  const chain = new Set();
  for (let one = a; one; one = one.parent) chain.add(one);
  while (!chain.has(b)) b = b.parent;
  return b;
}

export function stepFlight(time) {
  const f = flight, part = f.length ? Math.min(1, Math.max(0, (time - f.start) / f.length)) : 1;
  const eased = part * part * (3 - 2 * part), step = eased - f.passed;
  f.passed = eased;
  if (part >= 1) {
    flight = null;
    land(f.item);
    f.done?.();
    return;
  }
  if (f.still) { eye.tx += f.dx * step; eye.ty += f.dy * step; }
  else {
    const factor = Math.pow(f.m, step);
    eye.k *= factor;
    eye.tx = f.fx + (eye.tx - f.fx) * factor;
    eye.ty = f.fy + (eye.ty - f.fy) * factor;
  }
  reroot();
}

export function land(item) {
  const {x, y, w} = framed(item), parent = item.parent ?? item;
  const k = item.parent ? w / item.bw : w / item.w;
  Object.assign(eye, {on: item, anchor: parent, k, tx: x - k * (item.parent ? item.bx : 0), ty: y - k * (item.parent ? item.by : 0)});
  reroot();
  painting.changed();
}

export function reduced() { return matchMedia("(prefers-reduced-motion: reduce)").matches; }
