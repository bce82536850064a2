// Tensors, their planes, and the cells of these.

import {Computed, product, unravel} from "./tensors.js";
import {heatMap, number} from "./numbers.js";
import {CELL, interior, Item, MOST_CELLS, MOST_KIDS, TILE} from "./items.js";
import * as sums from "./sums.js";

export function showTensor(tensor, name, work = null) {
  const {shape} = tensor, rows = shape.at(-2) ?? 1, columns = shape.at(-1) ?? 1;
  const count = product(shape.slice(0, -2));
  let kid;
  if (tensor.size === 1) kid = new Cell(tensor, 0, name, work?.at ? work.at(0)
    : work?.complete ? new sums.Sum(work, unravel(0, work.expansion.shape)) : null);
  else if (count > 1) kid = new Stack(tensor, 0, count, name, work);
  else if (rows === 1 && columns > 12) kid = new Grid(tensor, wrapped(columns), 0, name, work, columns);
  else kid = new Grid(tensor, [rows, columns], 0, name, work);
  kid.shape = shape.length === 1 ? `(${shape[0]},)` : shape.join("×"); // one number alone would read as a value
  return kid;
}

function wrapped(count) {
  const columns = Math.ceil(Math.sqrt(count * 1.6));
  return [Math.ceil(count / columns), columns];
}

// Several planes of a tensor, side by side.
export class Stack extends Item {
  constructor(tensor, first, count, name, work) {
    super(name, "plane");
    this.tensor = tensor;
    this.first = first;
    this.count = count;
    this.work = work;
    this.shape = "";
    this.columns = Math.ceil(Math.sqrt(count * this.rows / this.columnsOfPlane));
    this.lines = Math.ceil(count / this.columns);
  }
  get rows() { return this.tensor.shape.at(-2); }
  get columnsOfPlane() { return this.tensor.shape.at(-1); }
  get gap() { return Math.max(1, 0.06 * Math.max(this.rows, this.columnsOfPlane)); }
  get aspect() {
    return this.columns * (this.columnsOfPlane + this.gap) / (this.lines * (this.rows + this.gap));
  }
  get opens() { return true; }
  plane(i) {
    const lead = unravel(this.first + i, this.tensor.shape.slice(0, -2));
    const work = this.work;
    return new Grid(this.tensor, [this.rows, this.columnsOfPlane], (this.first + i) * this.rows * this.columnsOfPlane,
      `${this.title.replace(/\[.*/, "")}[${lead}]`, work);
  }
  make() {
    const {columns, lines, gap} = this, unit = 160 / Math.max(this.rows, this.columnsOfPlane);
    const wide = (this.columnsOfPlane + gap) * unit, tall = (this.rows + gap) * unit, kids = [];
    if (this.count > MOST_KIDS) return this.parts();
    for (let i = 0; i < this.count; i++)
      kids.push(this.plane(i).place((i % columns + 0.5) * wide - this.columnsOfPlane * unit / 2,
        (Math.floor(i / columns) + 0.5) * tall - this.rows * unit / 2, this.columnsOfPlane * unit, this.rows * unit));
    return interior(columns * wide, lines * tall, kids, null, this);
  }
  parts() {
    const size = Math.ceil(Math.sqrt(this.count)), kids = [];
    for (let at = 0; at < this.count; at += size)
      kids.push(new Stack(this.tensor, this.first + at, Math.min(size, this.count - at), this.title, this.work));
    const columns = Math.ceil(Math.sqrt(kids.length / kids[0].aspect));
    kids.forEach((kid, i) => kid.place((i % columns) * 170, Math.floor(i / columns) * 170 / kid.aspect,
      160, 160 / kid.aspect));
    return interior(columns * 170, Math.ceil(kids.length / columns) * 170 / kids[0].aspect, kids, null, this);
  }
  cover(paint) { paint.picture(this); }
  image() {
    const {rows, columnsOfPlane: columns, tensor} = this, gap = 1;
    const wide = this.columns * (columns + gap) - gap, tall = this.lines * (rows + gap) - gap;
    const step = Math.max(1, Math.ceil(Math.max(wide, tall) / 512));
    return heatMap(Math.ceil(tall / step), Math.ceil(wide / step), (i, j) => {
      i *= step; j *= step;
      const line = Math.floor(i / (rows + gap)), column = Math.floor(j / (columns + gap));
      const y = i % (rows + gap), x = j % (columns + gap), plane = line * this.columns + column;
      return y < rows && x < columns && plane < this.count
        ? tensor.get(((this.first + plane) * rows + y) * columns + x) : null;
    }, tensor.largest, tensor instanceof Computed);
  }
}

// A plane of numbers: its picture, and on opening its cells, in tiles where there are many.
export class Grid extends Item {
  // from: its first element; row: how far apart rows are; count: elements there are, where the last row is not full
  constructor(tensor, sizes, from, name, work = null, count = sizes[0] * sizes[1], row = sizes[1]) {
    super(name, "plane");
    const [rows, columns] = sizes;
    this.tensor = tensor;
    this.rows = rows;
    this.columns = columns;
    this.from = from;
    this.work = work;
    this.count = count;
    this.row = row;
    this.shape = `${rows}×${columns}`;
  }
  get aspect() { return this.columns / this.rows; }
  get opens() { return this.rows * this.columns > 0; }
  at(i, j) {
    const offset = i * this.row + j;
    return offset < this.count ? this.from + offset : -1;
  }
  make() {
    const {rows, columns} = this, kids = [];
    if (rows * columns > MOST_CELLS) {
      const tile = Math.max(TILE, Math.ceil(Math.sqrt(rows * columns / MOST_KIDS)));
      for (let i = 0; i < rows; i += tile) for (let j = 0; j < columns; j += tile) {
        const sizes = [Math.min(tile, rows - i), Math.min(tile, columns - j)];
        const name = `${this.title} rows ${i}–${i + sizes[0] - 1}, columns ${j}–${j + sizes[1] - 1}`;
        const kid = new Grid(this.tensor, sizes, this.from + i * this.row + j, name, this.work,
          this.count - i * this.row - j, this.row);
        kid.tile = true;
        kids.push(kid.place(j * CELL, i * CELL, sizes[1] * CELL, sizes[0] * CELL));
      }
    } else for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
      const flat = this.at(i, j);
      if (flat < 0) continue;
      const sum = this.work?.at ? this.work.at(flat)
        : this.work?.complete ? new sums.Sum(this.work, unravel(flat, this.work.expansion.shape)) : null;
      if (this.tensor instanceof Computed && Number.isNaN(this.tensor.get(flat))) continue;
      const cell = new Cell(this.tensor, flat, this.tensor.label(flat), sum);
      cell.inGrid = true;
      kids.push(cell.place(j * CELL, i * CELL, CELL, CELL));
    }
    return interior(columns * CELL, rows * CELL, kids, paint => {
      paint.image(0, 0, columns * CELL, rows * CELL, () => this.image());
      let d = "";
      for (let i = 1; i < rows; i++) d += `M0,${i * CELL}H${columns * CELL}`;
      for (let j = 1; j < columns; j++) d += `M${j * CELL},0V${rows * CELL}`;
      if (kids.length && kids[0] instanceof Cell) paint.path(d, "lines");
    }, this);
  }
  cover(paint) { if (!this.tile) paint.picture(this); }
  image() {
    const {rows, columns, tensor} = this, step = Math.max(1, Math.ceil(Math.max(rows, columns) / 512));
    return heatMap(Math.ceil(rows / step), Math.ceil(columns / step), (i, j) => {
      const flat = this.at(i * step, j * step);
      return flat < 0 ? null : tensor.get(flat);
    }, tensor.largest, tensor instanceof Computed);
  }
}

// One number; opens into the terms it is made of, if the op says so.
export class Cell extends Item {
  constructor(tensor, flat, name, sum = null) {
    super(name, "cell");
    this.tensor = tensor;
    this.flat = flat;
    this.sum = sum;
    this.aspect = 1;
    this.shape = "";
    this.note = number(this.value);
  }
  get value() { return this.tensor.get(this.flat); }
  get opens() { return !!this.sum; }
  make() { return this.sum.interior(this); }
  cover(paint) { paint.number(this.value, this.tensor.largest, !this.inGrid); }
}
