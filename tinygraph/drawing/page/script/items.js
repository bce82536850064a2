// What can be zoomed into: groups and ops from the data, then tensors, planes, cells and couples, made when asked for.
// An item stands in its parent's interior in a box (bx, by, bw, bh) and has an interior of its own (w, h).

export const CELL = 40, MOST_CELLS = 1024, TILE = 16, MOST_KIDS = 240, MOST_COUPLES = 64, MOST_PAIRS = 32;

/** @typedef {{w: number, h: number, kids: Item[], draw: ((paint: any) => void) | null, least?: number}} Interior */
/** @typedef {import("./schema").PageBox} PageBox */

export class Item {
  constructor(title, kind) {
    this.title = title;
    this.kind = kind;
    this.note = "";
    /** @type {Item | null} */ this.parent = null;
    this.n = 0; // its number among its parent's kids
    this.tile = false; // whether it is a part of a grid
    this.inGrid = false;
    /** @type {Interior | undefined} */ this.made = undefined;
    /** @type {PageBox | undefined} */ this.record = undefined; // of a box of the data
  }
  get opens() { return false; }
  /** @returns {Interior} */
  get interior() { return this.made ??= this.make(); }
  /** @returns {Item[]} */
  get kids() { return this.opens ? this.interior.kids : []; }
  get w() { return this.opens ? this.interior.w : this.bw; }
  get h() { return this.opens ? this.interior.h : this.bh; }
  // Its interior's place and scale in the parent's.
  get s() { return Math.min(this.bw / this.w, this.bh / this.h); }
  get x() { return this.bx + (this.bw - this.s * this.w) / 2; }
  get y() { return this.by + (this.bh - this.s * this.h) / 2; }
  /** @returns {number[]} */
  get path() { return this.parent ? [...this.parent.path, this.n] : []; }
  /** @returns {Interior} */
  make() { throw new Error(`${this.title} has nothing inside`); }
  // Whether an item can be opened must be known without making its interior, so boxes are placed first.
  place(x, y, w, h) { this.bx = x; this.by = y; this.bw = w; this.bh = h; return this; }
  draw(paint) { this.interior.draw?.(paint); }
  cover(paint) { paint.title(this.title, this.note); }
}

export function interior(w, h, kids, draw, parent) {
  kids.forEach((kid, n) => { kid.parent = parent; kid.n = n; });
  return {w, h, kids, draw};
}

export function fitted(kid, w, h) {
  const scale = Math.min(w / kid.aspect, h) ;
  return [scale * kid.aspect, scale];
}
