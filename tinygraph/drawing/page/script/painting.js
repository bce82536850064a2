// Painting: one <svg> for each open interior, moved by a transform of its own; covers fade as interiors open.

import {colour, inkOn, number} from "./numbers.js";
import {element, stage} from "./dom.js";
import {Item} from "./items.js";
import {Cell, Grid, showTensor} from "./grids.js";
import {ROOT} from "./model.js";
import {tinted} from "./overlays.js";
import {boxOnScreen, eye, inward, outward, stepFlight, viewport} from "./camera.js";
import * as overlays from "./overlays.js";
import * as camera from "./camera.js";
import * as steps from "./steps.js";
import * as address from "./address.js";
import * as chips from "./chips.js";
import * as depth from "./depth.js";
import * as finding from "./finding.js";
import * as minimap from "./minimap.js";

const BUDGET = 6, KEPT = 60, LARGEST_TEXT = 34; // milliseconds a frame; hidden interiors; pixels

const READABLE = 0.6, AT_ONCE = 40; // the scale from which cells have numbers; cells that are made in one go
export const built = new Map();  // item -> Interior on the page, the least recently shown first
const open = new Set();   // items whose interior is shown
export let jobs = [];            // images still to be made: [item, function]
export let dirty = false;

export function changed() {
  if (dirty) return;
  dirty = true;
  stage.dataset.moving = "";
  requestAnimationFrame(frame);
}

// Puts marks into an svg group; texts are remembered, because their size follows the zoom.
class Painter {
  constructor(view, group, box) { this.view = view; this.group = group; this.box = box; }
  path(d, css) { if (d) element("path", {d, class: css}, this.group); }
  // The head of a curve, at its end, turned the way the curve arrives: down, up or from the left.
  arrow(d, role) {
    const [u, v, x, y] = d.match(/-?[\d.]+/g).slice(-4).map(Number);
    const turn = Math.abs(x - u) > Math.abs(y - v) ? (x > u ? -90 : 90) : y < v ? 180 : 0;
    element("path", {d: "M0,0l-3.6,-7h7.2z", class: `head ${role}`, style: `--x:${x}px;--y:${y}px;--turn:${turn}deg`},
      this.group);
  }
  // short: what stands there when there is little room; far: its place when there is hardly any, instead of all else.
  text(x, y, text, {size, room, tall = size * 1.5, css = "", count = [...text].length, short = text, far = null}) {
    const made = element("text", {x, y, class: css}, this.group);
    made.textContent = text;
    this.view.texts.push({made, y, size, room, tall, count: Math.max(1, count), text, short, far, now: text, away: false});
    return made;
  }
  image(x, y, w, h, make, css = "heat") {
    const image = element("image", {x, y, width: w, height: h, class: css, preserveAspectRatio: "none"}, this.group);
    jobs.push([this.view.item, () => image.setAttribute("href", make())]);
    changed();
  }
  // A box's name, what else is known of it, and the picture of a tensor where there is room.
  title(title, note, pictured = null) {
    const {bx: x, by: y, bw: w, bh: h} = this.box, middle = x + w / 2;
    const size = Math.min(12.5, h * 0.3), image = pictured && h >= 76;
    const top = image ? h * 0.14 : note ? h * 0.36 : h * 0.5, short = shortened(title);
    this.text(middle, y + top, title, {size, room: w - 10, tall: image ? h * 0.2 : h * 0.42, css: "title", short,
      far: [y + h / 2, h * 0.8]});
    if (note) this.text(middle, y + (image ? h * 0.3 : h * 0.7), note,
      {size: size * 0.76, room: w - 10, tall: image ? h * 0.13 : h * 0.26, css: "note", short: note.split(" · ").at(-1)});
    if (image) this.small(pictured, x + 8, y + h * 0.4, w - 16, h * 0.53);
  }
  small(pictured, x, y, w, h) {
    const shown = pictured instanceof Item ? /** @type {Grid} */ (pictured) : showTensor(pictured, "", null);
    if (shown instanceof Cell) {
      this.text(x + w / 2, y + h / 2, number(shown.value), {size: 15, room: w, tall: h, css: "value"});
      return;
    }
    const width = Math.min(w, h * shown.aspect), height = width / shown.aspect;
    this.image(x + (w - width) / 2, y + (h - height) / 2, width, height, () => shown.image());
  }
  sheet(x, y, w, h) { element("rect", {x, y, width: w, height: h, class: "sheet"}, this.group); }
  picture(item) { this.image(item.bx, item.by, item.bw, item.bh, () => item.image()); }
  number(v, largest, filled) {
    const {bx: x, by: y, bw: w, bh: h} = this.box;
    if (filled) element("rect", {x, y, width: w, height: h, rx: h * 0.06, style: `fill:${colour(v, largest)}`}, this.group);
    const text = this.text(x + w / 2, y + h / 2, number(v, 3), {size: w * 0.2, room: w * 0.94, tall: h * 0.6, count: 8});
    text.style.fill = inkOn(v, largest);
  }
  couple(couple) {
    const {bx: x, by: y, bw: w, bh: h} = this.box;
    element("rect", {x, y, width: w, height: h, rx: 6,
      class: couple.outside ? "couple outside" : couple.chosen ? "couple chosen" : "couple"}, this.group);
    const applied = couple.function !== "identity" ? `${couple.function}(${couple.note}) = ${number(couple.result)}` : couple.note;
    this.text(x + w / 2, y + h * 0.26, couple.title, {size: 9.5, room: w - 10, tall: h * 0.3, css: "note"});
    const parts = applied.split(" = ");
    this.text(x + w / 2, y + h * (parts[1] ? 0.53 : 0.66), parts[0], {size: 13, room: w - 10, tall: h * 0.34, css: "factors"});
    if (parts[1]) this.text(x + w / 2, y + h * 0.81, `= ${parts[1]}`, {size: 13, room: w - 10, tall: h * 0.34, css: "product"});
  }
}

// A name for little room: of "dropout1 / dropout" the first part, of "1 · relu" the last.
function shortened(title) { return title.split(" / ")[0].split(" · ").at(-1); }

// One open interior on the page.
class View {
  constructor(item) {
    this.item = item;
    this.texts = [];
    this.covers = new Map();
    this.svg = element("svg", {"aria-hidden": "true", class: "interior", width: item.w, height: item.h});
    this.octave = NaN;
    item.draw(new Painter(this, this.svg));
    this.waiting = item.kids[0]?.inGrid ? [...item.kids] : [];
    if (!this.waiting.length) for (const kid of item.kids) this.kid(kid);
    if (steps.walker.steps) steps.markSteps(this);
    finding.markHits(this);
    stage.append(this.svg);
  }
  kid(kid) {
    const group = element("g", {class: `kid k-${kid.kind}${kid.record?.lane ? " backward" : ""}${kid.tile ? " tile" : ""}`}, this.svg);
    const fill = overlays.overlaid && kid.record && this.item.record?.kids ? tinted(kid.record, this.item.record) : null;
    if (fill) {
      group.setAttribute("style", `--fill:${fill};--ink:var(--text)`);
      group.classList.add("tinted");
    }
    if (!kid.inGrid && kid.kind !== "couple")
      element("rect", {class: "box", x: kid.bx, y: kid.by, width: kid.bw, height: kid.bh}, group);
    const cover = element("g", {class: "cover"}, group);
    const before = this.texts.length;
    kid.cover(new Painter(this, cover, kid));
    this.covers.set(kid, {group: cover, texts: this.texts.slice(before), away: false});
  }
  show(t) {
    this.svg.style.transform = `matrix(${t.k},0,0,${t.k},${t.tx},${t.ty})`;
    const octave = Math.round(Math.log2(t.k) * 4);
    if (octave === this.octave) return;
    this.octave = octave;
    this.restyle(Math.pow(2, octave / 4));
    if (this.waiting.length && Math.pow(2, octave / 4) >= READABLE) this.later();
  }
  // The cells of a grid get their numbers once these can be read, a few at a time.
  later() {
    jobs.push([this.item, () => {
      const before = this.texts.length;
      for (const kid of this.waiting.splice(0, AT_ONCE)) {
        this.kid(kid);
        if (open.has(kid)) this.fade(kid, true);
      }
      for (const one of this.texts.slice(before)) this.resize(one, Math.pow(2, this.octave / 4));
      if (this.waiting.length) this.later();
    }]);
    changed();
  }
  // Sizes that are kept about constant on screen, recomputed at every quarter octave; only what changes is touched.
  restyle(k) {
    const strokes = Math.pow(2, -Math.round(Math.log2(k) * 2) / 2);
    if (strokes !== this.strokes) this.svg.style.setProperty("--sw", this.strokes = strokes);
    for (const [kid, cover] of this.covers) {
      const away = kid.bh * k < 44 && cover.texts.some(one => one.far);
      if (away !== cover.away) {
        cover.away = away;
        cover.group.classList.toggle("away", away);
        for (const one of cover.texts) if (one.far) {
          one.away = away;
          one.made.setAttribute("y", away ? one.far[0] : one.y);
        }
      }
    }
    for (const one of this.texts) this.resize(one, k);
    for (const cover of this.covers.values()) { // no room for its name either: its picture alone
      const bare = cover.away && cover.texts.every(one => !one.far || one.tiny);
      if (bare !== cover.bare) cover.group.classList.toggle("bare", cover.bare = bare);
    }
  }
  resize(one, k) {
    const tall = one.away ? one.far[1] : one.tall;
    const fit = count => Math.min(Math.max(one.size, 11 / k), one.room / (count * 0.64), tall, LARGEST_TEXT / k);
    let size = fit(one.count), text = one.text;
    if (one.short !== one.text && (one.away || size * k < 7.5)) {
      text = one.short;
      size = fit([...text].length);
    }
    const tiny = size * k < 5;
    if (tiny !== one.tiny) one.made.classList.toggle("tiny", one.tiny = tiny);
    if (tiny) return;
    if (text !== one.now) one.made.textContent = one.now = text;
    if (size !== one.font) one.made.setAttribute("font-size", (one.font = size).toFixed(2));
  }
  fade(kid, opened) {
    const cover = this.covers.get(kid)?.group;
    cover?.classList.toggle("gone", opened && !(kid instanceof Grid));
    cover?.parentNode.classList.toggle("opened", opened);
  }
}

export let shown = new Map(); // item -> transform, as painted last

export function frame(time) {
  dirty = false;
  if (camera.flight) stepFlight(time);
  const started = performance.now(), {w, h} = viewport();
  const climbed = new Map([[eye.anchor, {k: eye.k, tx: eye.tx, ty: eye.ty}]]);
  let base = eye.anchor, t = climbed.get(base);
  while (base.parent && !covers(base, t, w, h)) {
    t = outward(base, t);
    base = base.parent;
    climbed.set(base, t);
  }
  const before = shown;
  let late = false;
  shown = new Map();
  const visit = (item, t) => {
    if (!built.has(item) && performance.now() - started > BUDGET && before.size) { late = true; return false; }
    shown.set(item, t);
    view(item).show(t);
    for (const kid of item.kids) {
      if (!kid.opens) continue;
      const box = boxOnScreen(kid, t), longer = Math.max(box.w, box.h);
      const wanted = box.x < w && box.y < h && box.x + box.w > 0 && box.y + box.h > 0 &&
        depth.wantsOpen(kid, longer, open.has(kid));
      const opened = wanted && visit(kid, climbed.get(kid) ?? inward(kid, t));
      if (opened !== open.has(kid)) {
        opened ? open.add(kid) : open.delete(kid);
        view(item).fade(kid, opened);
      }
    }
    return true;
  };
  visit(base, t);
  for (const item of before.keys()) if (!shown.has(item)) hide(item);
  for (const [item, now] of shown) if (!before.has(item)) reveal(item);
  while (jobs.length && performance.now() - started < BUDGET) {
    const [item, job] = jobs.shift();
    if (built.has(item)) job();
  }
  forgetOld();
  chips.placeChips();
  minimap.follow();
  if (late || jobs.length || camera.flight) changed();
  else address.settle();
}

function covers(item, t, w, h) {
  return t.tx <= 0 && t.ty <= 0 && t.tx + t.k * item.w >= w && t.ty + t.k * item.h >= h;
}

function view(item) {
  let found = built.get(item);
  if (found) built.delete(item); // to the end: shown last
  else found = new View(item);
  built.set(item, found);
  return found;
}

function reveal(item) {
  const {svg} = built.get(item);
  svg.classList.remove("hidden");
  if (item.parent && shown.size > 1) svg.classList.add("new");
  requestAnimationFrame(() => requestAnimationFrame(() => svg.classList.remove("new")));
}

function hide(item) {
  open.delete(item);
  if (item.parent) built.get(item.parent)?.fade(item, false);
  built.get(item)?.svg.classList.add("hidden");
}

function forgetOld() {
  for (const [item, {svg}] of built) {
    if (built.size <= KEPT + shown.size) return;
    if (shown.has(item)) continue;
    svg.remove();
    built.delete(item);
  }
}

export function repaint() { // after a change of colours
  for (const {svg} of built.values()) svg.remove();
  built.clear(); open.clear(); shown = new Map(); jobs = [];
  changed();
}

// The innermost item at a point on screen.
export function itemAt(x, y) {
  let item = shown.keys().next().value ?? ROOT, t = shown.get(item);
  while (t) {
    const inner = item.kids.find(kid => {
      const box = boxOnScreen(kid, t);
      return x >= box.x && y >= box.y && x <= box.x + box.w && y <= box.y + box.h;
    });
    if (!inner) return item;
    item = inner;
    t = shown.get(item);
  }
  return item;
}
