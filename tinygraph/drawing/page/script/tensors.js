// Tensors of the page: what is in its block of numbers, and what is worked out here.

import {DATA, ELEMENTS} from "./payload.js";

/** @typedef {import("./schema").PageTensor} PageTensor */

class Tensor {
  /** @param {PageTensor} record */
  constructor(record) {
    this.name = record.name;
    this.shape = record.shape;
    this.dtype = record.dtype;
    this.at = record.at;
    this.record = record;
    this.size = product(record.shape);
    /** @type {number | undefined} */ this.bound = undefined;
  }
  get has() { return this.at >= 0 && this.size > 0; }
  get(i) { return ELEMENTS[this.at + i]; }
  get largest() { return this.bound ??= bound(this); }
  label(i) { return this.shape.length ? `${this.name}[${unravel(i, this.shape)}]` : this.name; }
}

// A grid that is worked out here: what the op computes on its way and does not keep.
export class Computed {
  // compute: all elements at once; nan stands for no element
  constructor(name, shape, compute) {
    this.name = name;
    this.shape = shape;
    this.compute = compute;
    this.size = product(shape);
    this.has = true;
    /** @type {Float64Array | undefined} */ this.values = undefined;
    /** @type {number | undefined} */ this.bound = undefined;
  }
  get(i) { return (this.values ??= this.compute())[i]; }
  get largest() { return this.bound ??= bound(this); }
  label(i) { return `${this.name}[${unravel(i, this.shape)}]`; }
}

export function product(sizes) { return sizes.reduce((a, b) => a * b, 1); }

export function unravel(i, shape) {
  const index = new Array(shape.length);
  for (let a = shape.length - 1; a >= 0; a--) { index[a] = i % shape[a]; i = Math.floor(i / shape[a]); }
  return index;
}

export function ravel(index, shape) { return index.reduce((flat, at, a) => flat * shape[a] + at, 0); }

function bound(tensor) {
  let most = 0;
  for (let i = 0; i < tensor.size; i++) {
    const v = Math.abs(tensor.get(i));
    if (v > most && v < Infinity) most = v;
  }
  return most || 1;
}

export const TENSORS = DATA.values.map(record => new Tensor(record));

export function tensorOf(number) { return number >= 0 && TENSORS[number].has ? TENSORS[number] : null; }
