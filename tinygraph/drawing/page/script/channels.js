// The inside of an op by channels: input planes, a kernel plane for each pair, tmp planes, their sum with the bias.

import {Computed, product, ravel, unravel} from "./tensors.js";
import {placed, placeOf} from "./places.js";
import {fitted, interior, Item, MOST_COUPLES, MOST_KIDS, MOST_PAIRS} from "./items.js";
import {Cell, Grid} from "./grids.js";
import {reaching, Sum} from "./sums.js";

/** @typedef {import("./places.js").Work} Work */

// A convolution: input planes, a kernel plane for each (out, in) pair, tmp planes, and their sum with the bias.
/** @param {Work} work */
export function openChannels(item, work) {
  const samples = work.expansion.shape[0];
  if (samples === 1) return planes(item, work, 0);
  const kids = [], columns = Math.ceil(Math.sqrt(Math.min(samples, MOST_KIDS)));
  for (let n = 0; n < Math.min(samples, MOST_KIDS); n++)
    kids.push(new Sample(work, n).place(10 + (n % columns) * 150, 10 + Math.floor(n / columns) * 110, 140, 100));
  return interior(columns * 150 + 10, Math.ceil(kids.length / columns) * 110 + 10, kids, null, item);
}

class Sample extends Item {
  /** @param {Work} work */
  constructor(work, n) { super(`sample ${n}`, "plane"); this.work = work; this.sample = n; }
  get opens() { return true; }
  make() { return planes(this, this.work, this.sample); }
}

/** @param {Work} work */
function planes(item, work, sample) {
  const e = work.expansion, outs = product(e.shape.slice(1, -e.planes)), ins = e.over[0];
  const grouped = e.shape.length - e.planes > 2;
  if (!grouped && outs * ins <= MOST_PAIRS) return matrix(item, work, sample, outs, ins);
  return many(item, outs, o => new Channel(work, sample, o), "output channel");
}

// Kids in a grid, in parts where there are too many.
function many(item, count, make, name, from = 0) {
  const parts = count > MOST_KIDS / 2 ? Math.ceil(Math.sqrt(count)) : 1, kids = [];
  if (parts > 1) {
    for (let at = 0; at < count; at += parts)
      kids.push(new Part(from + at, Math.min(parts, count - at), make, name));
  } else for (let i = 0; i < count; i++) kids.push(make(from + i));
  const columns = Math.ceil(Math.sqrt(kids.length * 1.3));
  kids.forEach((kid, i) => kid.place(12 + (i % columns) * 132, 12 + Math.floor(i / columns) * 112, 120, 100));
  return interior(columns * 132 + 12, Math.ceil(kids.length / columns) * 112 + 12, kids, null, item);
}

class Part extends Item {
  constructor(from, count, of, name) {
    super(`${name}s ${from}–${from + count - 1}`, "plane");
    this.from = from;
    this.count = count;
    this.of = of;
    this.name = name;
  }
  get opens() { return true; }
  make() { return many(this, this.count, this.of, this.name, this.from); }
}

class Channel extends Item {
  /** @param {Work} work */
  constructor(work, sample, o) {
    super(`channel ${o}`, "plane");
    this.work = work;
    this.sample = sample;
    this.o = o;
    this.note = "output";
    this.tensor = work.result;
  }
  get opens() { return true; }
  get outPlane() { return outputPlane(this.work, this.sample, this.o); }
  cover(paint) { paint.title(this.title, this.note, this.outPlane); }
  make() {
    const ins = this.work.expansion.over[0];
    return ins <= MOST_COUPLES ? pairs(this, this.work, this.sample, this.o, ins) : many(this, ins,
      c => new Pair(this.work, this.sample, this.o, c), "input channel");
  }
}

export class Pair extends Item {
  /** @param {Work} work */
  constructor(work, sample, o, c) {
    super(`pair (${o}, ${c})`, "plane");
    this.work = work;
    this.sample = sample;
    this.o = o;
    this.c = c;
  }
  get opens() { return true; }
  make() { return pairs(this, this.work, this.sample, this.o, 1, this.c); }
}

// Index of an output channel in the expansion's own shape, without sample and places.
/** @param {Work} work */
function channelIndex(work, o) { const e = work.expansion; return unravel(o, e.shape.slice(1, -e.planes)); }

/** @param {Work} work */
function outputPlane(work, sample, o) {
  const e = work.expansion, size = product(e.shape.slice(-e.planes));
  const from = (sample * product(e.shape.slice(1, -e.planes)) + o) * size;
  return new Grid(work.result, planeOf(e.shape.slice(-e.planes)), from, `${work.result.name}[${sample},${o}]`, work);
}

/** @param {Work} work */
function inputPlane(work, sample, o, c) {
  const e = work.expansion, read = e.reads[0], at = [sample, ...channelIndex(work, o), ...e.shape.slice(-e.planes).map(() => 0)];
  const leading = read.places.slice(0, -e.planes).map(row => placed(row, at, [c]));
  const sizes = read.shape.slice(-e.planes), plane = ravel(leading, read.shape.slice(0, -e.planes));
  const tensor = work.operands[0], channel = plane % tensor.shape[1];
  return new Grid(tensor, planeOf(sizes), plane * product(sizes), `${work.operandName(0)}[${sample},${channel}]`,
    reaching(work, 0));
}

/** @param {Work} work */
function kernelPlane(work, o, c) {
  const e = work.expansion, read = e.reads[1], sizes = read.shape.slice(-e.planes);
  const at = [0, ...channelIndex(work, o), ...e.shape.slice(-e.planes).map(() => 0)];
  const leading = read.places.slice(0, -e.planes).map(row => placed(row, at, [c]));
  return new Grid(work.operands[1], planeOf(sizes), ravel(leading, read.shape.slice(0, -e.planes)) * product(sizes), `${work.operandName(1)}[${o},${c}]`,
    reaching(work, 1));
}

/** @param {Work} work */
function tmpPlane(work, sample, o, c) {
  const e = work.expansion, sizes = e.shape.slice(-e.planes), index = [sample, ...channelIndex(work, o)];
  const low = [c, ...e.over.slice(1).map(() => 0)], high = [c + 1, ...e.over.slice(1)];
  const tmp = new Computed(`tmp[${o},${c}]`, sizes, () => {
    const out = new Float64Array(product(sizes));
    for (let i = 0; i < out.length; i++) out[i] = work.reduce([...index, ...unravel(i, sizes)], low, high);
    return out;
  });
  return new Grid(tmp, planeOf(sizes), 0, tmp.name, {
    at: i => new Sum(work, [...index, ...unravel(i, sizes)], low, high, true),
  });
}

/** @param {Work} work */
function biasCell(work, sample, o) {
  const e = work.expansion;
  if (!e.bias) return null;
  const flat = placeOf(e.bias, [sample, ...channelIndex(work, o), ...e.shape.slice(-e.planes).map(() => 0)], e.over.map(() => 0));
  return new Cell(work.operands[e.bias.operand], flat, work.label(e.bias, flat), reaching(work, e.bias.operand)?.at(flat));
}

function planeOf(sizes) { return sizes.length === 1 ? [1, sizes[0]] : sizes; }

/** @param {Work} work */
function matrix(item, work, sample, outs, ins) {
  const kids = [], words = [], lines = [], P = 84, K = 46, column = P + K + 66, row = P + 40, left = 30, top = 36;
  const put = (kid, x, y, size) => {
    const [w, h] = fitted(kid, size, size);
    kids.push(kid.place(x + (size - w) / 2, y + (size - h) / 2, w, h));
    words.push([x + size / 2, kid.by - 8, kid.title, size + 14, "label"]);
  };
  const sign = (x, y, text) => words.push([x, y, text, 24, "sign"]);
  // Output channels below each other, in as many columns as make the whole about square.
  const wide = left + ins * column + P + 100, head = top + P + 44;
  const blocks = Math.min(outs, Math.max(1, Math.round(Math.sqrt((head + outs * row) / wide))));
  const each = Math.ceil(outs / blocks);
  for (let o = 0; o < outs; o++) {
    const block = Math.floor(o / each), start = left + block * wide, y = head + (o % each) * row, middle = y + P / 2;
    for (let c = 0; c < ins; c++) {
      const x = start + c * column;
      if (o % each === 0) {
        put(inputPlane(work, sample, o, c), x + K + 24, top, P);
        const rows = Math.min(each, outs - o);
        lines.push(`M${x + K + 24 + P / 2},${top + P + 6}V${head + (rows - 1) * row - 18}`);
      }
      sign(x - 12, middle, c ? "+" : "");
      put(kernelPlane(work, o, c), x, middle - K / 2, K);
      sign(x + K + 12, middle, "→");
      put(tmpPlane(work, sample, o, c), x + K + 24, y, P);
    }
    let x = start + ins * column - 30;
    const bias = biasCell(work, sample, o);
    if (bias) {
      sign(x, middle, "+");
      put(bias, x + 14, middle - 20, 40);
      x += 68;
    }
    sign(x, middle, "=");
    put(outputPlane(work, sample, o), x + 14, y, P);
  }
  return interior(left + blocks * wide - 20, head + each * row, kids, paint => {
    paint.path(lines.join(""), "guide");
    for (const [x, y, text, room, css] of words)
      if (text) paint.text(x, y, text, {size: css === "sign" ? 18 : 9.5, room, css});
  }, item);
}

// One output channel: each input plane with its kernel plane gives a tmp plane; their sum and the bias.
/** @param {Work} work */
function pairs(item, work, sample, o, ins, first = 0) {
  const kids = [], words = [], P = 84, K = 46, wide = P + 30 + K + 30 + P + 40, tall = P + 42;
  const columns = Math.max(1, Math.round(Math.sqrt(ins * tall / wide * 1.3))), rows = Math.ceil(ins / columns);
  const put = (kid, x, y, size) => {
    const [w, h] = fitted(kid, size, size);
    kids.push(kid.place(x + (size - w) / 2, y + (size - h) / 2, w, h));
    words.push([x + size / 2, kid.by - 8, kid.title, size + 20, "label"]);
  };
  for (let i = 0; i < ins; i++) {
    const c = first + i, x = 24 + Math.floor(i / rows) * wide, y = 40 + (i % rows) * tall;
    put(inputPlane(work, sample, o, c), x, y, P);
    words.push([x + P + 15, y + P / 2, "∗", 24, "sign"]);
    put(kernelPlane(work, o, c), x + P + 30, y + (P - K) / 2, K);
    words.push([x + P + 45 + K, y + P / 2, "=", 24, "sign"]);
    put(tmpPlane(work, sample, o, c), x + P + 60 + K, y, P);
  }
  let x = 24 + columns * wide;
  const middle = 40 + rows * tall / 2 - 21;
  if (!(item instanceof Pair)) {
    words.push([x - 8, middle, ins > 1 ? "Σ" : "", 30, "sign"]);
    const bias = biasCell(work, sample, o);
    if (bias) {
      words.push([x + 18, middle, "+", 24, "sign"]);
      put(bias, x + 34, middle - 20, 40);
      x += 76;
    }
    words.push([x + 18, middle, "=", 24, "sign"]);
    put(outputPlane(work, sample, o), x + 36, middle - P / 2, P);
    x += P + 60;
  }
  return interior(x, 30 + rows * tall, kids, paint => {
    for (const [x, y, text, room, css] of words)
      paint.text(x, y, text, {size: css === "sign" ? 20 : 9.5, room, css});
  }, item);
}
