// The terms of one element, and what one element reaches.

import {product, ravel, unravel} from "./tensors.js";
import {number} from "./numbers.js";
import {FUNCTIONS, placeOf} from "./places.js";
import {fitted, interior, Item, MOST_CELLS, MOST_COUPLES} from "./items.js";
import {showTensor} from "./grids.js";

/** @typedef {import("./places.js").Work} Work */

// The terms of output index o whose reduction index lies from low to high.
export class Sum {
  // part: whether the result is more than these terms, even if they are all there are.
  /** @param {Work} work */
  constructor(work, o, low = work.expansion.over.map(() => 0), high = work.expansion.over, part = false) {
    this.work = work;
    this.o = o;
    this.low = low;
    this.high = high;
    this.part = part;
    /** @type {number[][] | undefined} */ this.places = undefined;
  }
  // The reduction indices of its terms, without those that do not count.
  get counted() {
    const {sizes, low} = this;
    return this.places ??= [...Array(product(sizes)).keys()].map(i => unravel(i, sizes).map((at, a) => at + low[a]))
      .filter(r => this.work.counts(this.o, r));
  }
  get sizes() { return this.high.map((to, a) => to - this.low[a]); }
  get whole() { return !this.part && product(this.sizes) === product(this.work.expansion.over); }
  interior(item) {
    return product(this.sizes) > MOST_COUPLES ? this.inParts(item) : this.inCouples(item);
  }
  inParts(item) {
    const axis = this.sizes.findIndex(size => size > 1), size = this.sizes[axis], kids = [];
    const step = size <= MOST_COUPLES ? 1 : Math.ceil(size / 16);
    for (let at = this.low[axis]; at < this.high[axis]; at += step) {
      const low = this.low.slice(), high = this.high.slice();
      low[axis] = at; high[axis] = Math.min(at + step, this.high[axis]);
      kids.push(new Partial(new Sum(this.work, this.o, low, high), axis));
    }
    const columns = Math.ceil(Math.sqrt(kids.length * 0.62));
    kids.forEach((kid, i) => kid.place(16 + (i % columns) * 140, 52 + Math.floor(i / columns) * 86, 128, 76));
    return this.framed(item, kids, columns * 140 + 20, 52 + Math.ceil(kids.length / columns) * 86);
  }
  inCouples(item) {
    const {work, sizes} = this, e = work.expansion, count = this.counted.length, kids = [];
    const last = sizes.at(-1) ?? 1;
    const asKernel = e.partial === 1 && count === product(sizes.slice(-e.planes)) && last <= 8;
    const columns = asKernel ? last : Math.ceil(Math.sqrt(count * 0.62));
    const each = e.join === "op" ? e.reads.map((read, i) => [this.low, i]) : this.counted.map(r => [r, null]);
    for (const [r, only] of each) kids.push(new Couple(work, this.o, r, only));
    const wide = e.reads.length > 1 && e.join === "product" ? 190 : 140, tall = 74;
    kids.forEach((kid, i) => kid.place(16 + (i % columns) * (wide + 10), 52 + Math.floor(i / columns) * (tall + 10),
      wide, tall));
    if (e.reduce === "max" || e.reduce === "min") {
      const best = work.reduce(this.o, this.low, this.high);
      kids.forEach(kid => { kid.chosen = kid.result === best && !kids.some(k => k.chosen && k !== kid); });
    }
    return this.framed(item, kids, 22 + columns * (wide + 10), 52 + Math.ceil(kids.length / columns) * (tall + 10));
  }
  framed(item, kids, width, height) {
    const w = Math.max(width, 330), shift = (w - width) / 2;
    kids.forEach(kid => { kid.bx += shift; });
    const lines = this.words();
    return interior(w, height + 20 + lines.length * 26, kids, paint => {
      paint.sheet(0, 0, w, height + 20 + lines.length * 26);
      paint.text(w / 2, 26, item.title, {size: 16, room: w - 20, css: "heading"});
      lines.forEach((line, i) => paint.text(w / 2, height + 20 + i * 26, line, {size: 15, room: w - 16, css: "formula"}));
    }, item);
  }
  // The terms taken together, in words.
  words() {
    const {work, o} = this, e = work.expansion;
    const count = product(this.sizes) > MOST_CELLS ? product(this.sizes) : this.counted.length;
    const out = work.result.get(ravel(o, e.shape));
    if (e.join === "op") {
      const names = e.reads.map(read => number(work.operands[read.operand].get(placeOf(read, o, this.low)))).join(", ");
      return [`${work.name}(${names}) = ${number(out)}`];
    }
    const total = work.reduce(o, this.low, this.high);
    const names = {sum: `sum of ${count} terms`, mean: `mean of ${count}`, product: `product of ${count}`,
      max: `largest of ${count}`, min: `smallest of ${count}`, none: "the element"};
    const lines = count > 1 || !this.whole ? [`${names[e.reduce]} = ${number(total)}`] : [];
    if (!this.whole) return lines;
    const bias = work.bias(o);
    if (bias) lines.push(`${number(total)} + ${bias.label} ${number(bias.value)} = ${number(total + bias.value)}`);
    if (e.share) {
      const flat = placeOf(e.share, o, e.over.map(() => 0)), own = work.operands[e.share.operand].get(flat);
      if (e.spread === undefined) lines.push(`${e.each}(${work.label(e.share, flat)}) / sum = ${number(FUNCTIONS[e.each](own) / total)}`);
      else lines.push(`variance of ${count} = ${number(work.variance(o))}`,
        `(${number(own)} − mean) / √(variance + ${number(e.spread)}) = ${number(work.value(o))}`);
    }
    if (e.after !== "identity") lines.push(`${e.after} of that = ${number(out)}`);
    lines.push(`forward computed ${number(out)}`);
    return lines;
  }
}

// What one element of an operand reaches: its local derivative at every element of the result that it is a part of.
export class Reach {
  /** @param {Work} work */
  constructor(work, operand, flat, made) { this.work = work; this.operand = operand; this.flat = flat; this.made = made; }
  interior(item) {
    const kid = showTensor(this.made, "reached"), [w, h] = fitted(kid, 300, 240);
    kid.place(30 + (300 - w) / 2, 56, w, h);
    return interior(360, h + 116, [kid], paint => {
      paint.sheet(0, 0, 360, h + 116);
      paint.text(180, 28, item.title, {size: 16, room: 340, css: "heading"});
      this.words().forEach((line, i) => paint.text(180, h + 78 + i * 20, line, {size: 12, room: 340, css: "formula"}));
    }, item);
  }
  words() {
    let count = 0;
    for (let i = 0; i < this.made.size; i++) if (!Number.isNaN(this.made.get(i))) count++;
    const all = this.made.size.toLocaleString("en");
    return [`reaches ${count.toLocaleString("en")} of ${all} elements of the result`, "each cell: the local derivative there"];
  }
}

// For a grid of an operand: what each of its cells opens into.
/** @param {Work} work */
export function reaching(work, operand) {
  return work?.complete ? {at: flat => {
    const made = work.reach(operand, flat);
    return made && new Reach(work, operand, flat, made);
  }} : null;
}

export class Partial extends Item {
  constructor(sum, axis) {
    const at = sum.low[axis], to = sum.high[axis] - 1;
    super(to > at ? `terms ${at}–${to}` : sum.work.expansion.partial === 1 && axis === 0 ? `input channel ${at}` : `term ${at}`,
      "cell");
    this.sum = sum;
    this.note = `Σ = ${number(sum.work.reduce(sum.o, sum.low, sum.high))}`;
  }
  get opens() { return true; }
  make() { return this.sum.interior(this); }
}

// The elements that are multiplied with each other, and what comes of it.
export class Couple extends Item {
  /** @param {Work} work */
  constructor(work, o, r, only) {
    const e = work.expansion, reads = e.join === "only" ? [work.inside(o, r)] : only === null ? e.reads : [e.reads[only]];
    const found = reads.map(read => {
      const flat = placeOf(read, o, r);
      return flat < 0 ? {label: "padding", value: work.outside(read), outside: true}
        : {label: work.label(read, flat), value: work.operands[read.operand].get(flat)};
    });
    super(found.map(one => one.label).join(" × "), "couple");
    this.found = found;
    this.chosen = false;
    this.result = only === null ? work.term(o, r) : found[0].value;
    this.outside = found.some(one => one.outside);
    this.function = only === null ? e.each : "identity";
    this.note = found.map(one => number(one.value)).join(" × ") + (found.length > 1 ? ` = ${number(this.result)}` : "");
  }
  cover(paint) { paint.couple(this); }
}
