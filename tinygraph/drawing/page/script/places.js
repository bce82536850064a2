// The arithmetic of one output element: which elements it reads, the terms they make, and what these come to.

import {DATA} from "./payload.js";
import {Computed, product, tensorOf, unravel} from "./tensors.js";

/** @typedef {import("./schema").PageBox} PageBox */
/** @typedef {import("./schema").PageRead} PageRead */

const MOST_REACHED = 300_000; // terms that are gone through to see what one element reaches

export const FUNCTIONS = {identity: x => x, exp: Math.exp, log: Math.log, square: x => x * x};

/** An affine place, given as a row of coefficients and a constant, for output index o and reduction index r, whose missing
 * end counts as 0.
 * @param {number[]} row @param {number[]} o @param {number[]} r */
export function placed(row, o, r) {
  let at = row[row.length - 1];
  for (let i = 0; i < o.length; i++) at += row[i] * o[i];
  for (let j = 0; j < r.length; j++) at += row[o.length + j] * r[j];
  return at;
}

/** Where a read finds its element for output index o and reduction index r; -1 is outside.
 * @param {PageRead} read @param {number[]} o @param {number[]} r */
export function placeOf(read, o, r) {
  let flat = 0;
  for (let a = 0; a < read.shape.length; a++) {
    const at = placed(read.places[a], o, r);
    if (at < 0 || at >= read.shape[a]) return -1;
    flat = flat * read.shape[a] + at;
  }
  return flat;
}

// The op at work on one node: its expansion, its operands and its result.
export class Work {
  /** @param {PageBox} record */
  constructor(record) {
    this.record = record;
    this.expansion = DATA.expansions[record.expansion];
    this.op = DATA.ops[record.op];
    this.operands = record.operands.map(tensorOf);
    this.result = tensorOf(record.values[0]);
    this.name = record.op;
  }
  get complete() {
    const e = this.expansion;
    return this.result && [...e.reads, ...(e.bias ? [e.bias] : [])].every(read => this.operands[read.operand]);
  }
  operandName(i) { return this.op.operands[Math.min(i, this.op.operands.length - 1)]; }
  /** @param {PageRead} read @param {number} flat */
  label(read, flat) {
    const tensor = this.operands[read.operand];
    const name = this.operandName(read.operand);
    return tensor.shape.length ? `${name}[${unravel(flat, tensor.shape)}]` : name;
  }
  outside(read) { return this.expansion.padding ?? NaN; }
  // Of several reads the only one that is inside its operand.
  inside(o, r) { return this.expansion.reads.find(read => placeOf(read, o, r) >= 0); }
  // Whether a term is one: a product without one of its factors is none, unless padding stands in.
  counts(o, r) {
    const e = this.expansion;
    return e.padding !== undefined || e.join !== "product" || e.reads.every(read => placeOf(read, o, r) >= 0);
  }
  // The value of one term; NaN where a read is outside and does not count, see `counts`.
  term(o, r) {
    const e = this.expansion;
    let value = 1;
    if (e.join === "only") {
      const read = this.inside(o, r);
      return this.operands[read.operand].get(placeOf(read, o, r));
    }
    for (const read of e.reads) {
      const flat = placeOf(read, o, r);
      value *= flat < 0 ? this.outside(read) : this.operands[read.operand].get(flat);
    }
    return FUNCTIONS[e.each](value);
  }
  // All terms with low <= r < high, or a function of each, taken together as the op does.
  reduce(o, low, high, of = v => v) {
    const e = this.expansion, r = low.slice(), mean = e.reduce === "mean";
    let total = {max: -Infinity, min: Infinity, product: 1}[e.reduce] ?? 0, count = 0;
    for (;;) {
      const v = of(this.term(o, r));
      if (!Number.isNaN(v) || this.counts(o, r)) {
        count++;
        total = e.reduce === "max" ? Math.max(total, v) : e.reduce === "min" ? Math.min(total, v) : e.reduce === "product" ? total * v
          : total + v;
      }
      let a = r.length - 1;
      while (a >= 0 && ++r[a] === high[a]) { r[a] = low[a]; a--; }
      if (a < 0) return mean ? total / count : total;
    }
  }
  // The whole element, from its terms.
  value(o) {
    const e = this.expansion, low = e.over.map(() => 0), total = this.reduce(o, low, e.over) + (this.bias(o)?.value ?? 0);
    if (!e.share) return FUNCTIONS[e.after](total);
    const own = FUNCTIONS[e.each](this.operands[e.share.operand].get(placeOf(e.share, o, low)));
    return FUNCTIONS[e.after](e.spread === undefined ? own / total : (own - total) / Math.sqrt(this.variance(o) + e.spread));
  }
  variance(o) {
    const e = this.expansion, low = e.over.map(() => 0), mean = this.reduce(o, low, e.over);
    return this.reduce(o, low, e.over, v => (v - mean) ** 2);
  }
  // What a small change of one element of an operand changes in each element of the result; null where that is not one
  // number for each (no sum of products), or too much to count.
  reach(operand, flat) {
    const e = this.expansion;
    const linear = e.each === "identity" && e.after === "identity" && !e.share && e.join !== "op"
      && ["sum", "mean", "none"].includes(e.reduce);
    const reads = [...e.reads, ...(e.bias ? [e.bias] : [])].filter(read => read.operand === operand);
    if (!linear || reads.length !== 1 || this.result.size * product(e.over) > MOST_REACHED) return null;
    const [read] = reads, bias = read === e.bias, count = product(e.over);
    return new Computed(`d ${this.result.name} / d ${this.label(read, flat)}`, this.result.shape, () => {
      const out = new Float64Array(this.result.size).fill(NaN);
      for (let i = 0; i < out.length; i++) {
        const o = unravel(i, e.shape);
        for (let j = 0; j < (bias ? 1 : count); j++) {
          const r = unravel(j, e.over);
          if (placeOf(read, o, r) !== flat) continue;
          let local = bias ? 1 : e.reduce === "mean" ? 1 / count : 1;
          if (!bias && e.join === "product") for (const other of e.reads) if (other !== read) {
            const at = placeOf(other, o, r);
            local *= at < 0 ? NaN : this.operands[other.operand].get(at); // what meets the padding has no impact
          }
          if (Number.isNaN(local)) continue;
          out[i] = (Number.isNaN(out[i]) ? 0 : out[i]) + local;
        }
      }
      return out;
    });
  }
  bias(o) {
    const read = this.expansion.bias;
    if (!read) return null;
    const flat = placeOf(read, o, this.expansion.over.map(() => 0));
    return {label: this.label(read, flat), value: this.operands[read.operand].get(flat)};
  }
}
