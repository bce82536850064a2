// What can be zoomed into: groups and ops from the data, then tensors, planes, cells and couples, made when asked for.
// An item stands in its parent's interior in a box (bx, by, bw, bh) and has an interior of its own (w, h).

const CELL = 40, MOST_CELLS = 1024, TILE = 16, MOST_KIDS = 240, MOST_COUPLES = 64, MOST_PAIRS = 32;

class Item {
  constructor(title, kind) { this.title = title; this.kind = kind; this.note = ""; }
  get opens() { return false; }
  get interior() { return this.made ??= this.make(); }
  get kids() { return this.opens ? this.interior.kids : []; }
  get w() { return this.opens ? this.interior.w : this.bw; }
  get h() { return this.opens ? this.interior.h : this.bh; }
  // Its interior's place and scale in the parent's.
  get s() { return Math.min(this.bw / this.w, this.bh / this.h); }
  get x() { return this.bx + (this.bw - this.s * this.w) / 2; }
  get y() { return this.by + (this.bh - this.s * this.h) / 2; }
  get path() { return this.parent ? [...this.parent.path, this.n] : []; }
  // Whether an item can be opened must be known without making its interior, so boxes are placed first.
  place(x, y, w, h) { this.bx = x; this.by = y; this.bw = w; this.bh = h; return this; }
  draw(paint) { this.interior.draw?.(paint); }
  cover(paint) { paint.title(this.title, this.note); }
  forget() { this.made = undefined; }
}

function interior(w, h, kids, draw, parent) {
  kids.forEach((kid, n) => { kid.parent = parent; kid.n = n; });
  return {w, h, kids, draw};
}

// -- groups, ops and leaves ------------------------------------------------------------------------------------------

class Box extends Item {
  constructor(record) {
    super(record.t, record.k);
    this.record = record;
    this.note = record.s ?? "";
  }
  get tensor() { return this.record.v ? tensorOf(this.record.v[0]) : null; }
  get opens() { return "c" in this.record || !!this.tensor; }
  make() { return "c" in this.record ? this.group() : operation(this); }
  group() {
    const laid = DATA.interiors[this.record.i];
    const kids = this.record.c.map((record, i) => new Box(record).place(...laid.b[i]));
    return interior(laid.w, laid.h, kids, paint => {
      const roles = {};
      for (const [tail, head, role, d] of laid.l) {
        (roles[role] ??= []).push(d);
        if (head >= 0) paint.arrow(d, role);
        if (role === "saved" && tail >= 0 && head >= 0) kept(paint, kids[tail], kids[head]);
      }
      for (const role in roles) paint.path(roles[role].join(""), `edge ${role}`);
    }, this);
  }
  cover(paint) {
    if (overlaid) paint.title(this.title, overlayLine(this.record) ?? this.note);
    else paint.title(this.title, this.note, this.tensor);
  }
}

// On the bridge from an op to its backward one: how much of memory it takes until then.
function kept(paint, from, to) {
  const left = from.bx + from.bw, room = to.bx - left, bytes = from.record.kept;
  if (bytes && room > 20 && room < 120) paint.text(left + room / 2, from.by + from.bh / 2 - 8, `${prefixed(bytes)}B`,
    {size: 10, room: room - 8, css: "label"});
}

// -- the inside of an op ---------------------------------------------------------------------------------------------

function operation(item) {
  const {record} = item;
  const work = record.e === undefined ? null : new Work(record);
  if (!record.o) return lone(item, showTensor(item.tensor, item.title));
  if (work?.complete) {
    const e = work.expansion;
    if (e.part === 1 && e.pl <= 2 && e.r.length === 2) return channels(item, work);
    return formula(item, work);
  }
  return formula(item, null);
}

function lone(item, kid) {
  kid.place(10, 10, ...fitted(kid, 220, 150));
  return interior(kid.bw + 20, kid.bh + 20, [kid], null, item);
}

function fitted(kid, w, h) {
  const scale = Math.min(w / kid.aspect, h) ;
  return [scale * kid.aspect, scale];
}

// Operands, a sign between them, and the result: for whatever is not drawn by channels.
function formula(item, work) {
  const {record} = item, op = DATA.ops[record.o], line = []; // [item or sign, ...] in reading order
  const reads = work ? [...new Set([...work.expansion.r, ...(work.expansion.b ? [work.expansion.b] : [])].map(r => r[0]))]
    : record.in.map((_, i) => i);
  const product = work && work.expansion.j === "product" && work.expansion.r.length > 1;
  for (const i of reads.filter(i => tensorOf(record.in[i]))) {
    if (line.length) line.push(product ? "·" : ",");
    line.push(showTensor(tensorOf(record.in[i]), op.a[Math.min(i, op.a.length - 1)], reaching(work, i)));
  }
  if (line.length) line.push(product ? "=" : record.o);
  record.v.forEach((number, i) => {
    const tensor = tensorOf(number);
    if (!tensor) return;
    if (i) line.push(",");
    line.push(showTensor(tensor, tensor.name, i === 0 ? work : null));
  });
  const across = arranged(line, true), down = arranged(line, false), box = item.bw / item.bh;
  const fit = ({w, h}) => Math.min(box / w, 1 / h);
  const {w, h, places} = fit(across) >= fit(down) ? across : down, kids = [], signs = [];
  line.forEach((one, i) => typeof one === "string" ? signs.push([one, ...places[i]]) : kids.push(one.place(...places[i])));
  return interior(w, h, kids, paint => {
    for (const [text, x, y, width, height] of signs)
      paint.text(x + width / 2, y + height / 2, text.length > 1 ? `${text} ${places === across.places ? "→" : "↓"}` : text,
        {size: 17, room: width, css: "sign"});
    for (const kid of kids) paint.text(kid.bx + kid.bw / 2, kid.by - 12, `${kid.title} ${kid.shape}`,
      {size: 11, room: Math.max(kid.bw + 30, 70), css: "label"});
  }, item);
}

// Items and signs in a row or in a column: [x, y, w, h] of each.
function arranged(line, across) {
  const sizes = line.map(one => typeof one !== "string" ? fitted(one, across ? 260 : 320, across ? 170 : 120)
    : across ? [Math.max(36, one.length * 9 + 34), 30] : [Math.max(60, one.length * 9 + 34), 26]);
  const wide = Math.max(...sizes.map(([w]) => w)), tall = Math.max(...sizes.map(([, h]) => h)), label = 28, margin = 22;
  let at = margin;
  const places = sizes.map(([w, h], i) => {
    const first = typeof line[i] === "string" ? 0 : label;
    const place = across ? [at, margin + label + (tall - h) / 2, w, h] : [margin + (wide - w) / 2, at + first, w, h];
    at += across ? w : h + first;
    return place;
  });
  return across ? {w: at + margin, h: tall + label + 2 * margin, places} : {w: wide + 2 * margin, h: at + margin, places};
}

// A convolution: input planes, a kernel plane for each (out, in) pair, tmp planes, and their sum with the bias.
function channels(item, work) {
  const samples = work.expansion.s[0];
  if (samples === 1) return planes(item, work, 0);
  const kids = [], columns = Math.ceil(Math.sqrt(Math.min(samples, MOST_KIDS)));
  for (let n = 0; n < Math.min(samples, MOST_KIDS); n++)
    kids.push(new Sample(work, n).place(10 + (n % columns) * 150, 10 + Math.floor(n / columns) * 110, 140, 100));
  return interior(columns * 150 + 10, Math.ceil(kids.length / columns) * 110 + 10, kids, null, item);
}

class Sample extends Item {
  constructor(work, n) { super(`sample ${n}`, "plane"); Object.assign(this, {work, sample: n}); }
  get opens() { return true; }
  make() { return planes(this, this.work, this.sample); }
}

function planes(item, work, sample) {
  const e = work.expansion, outs = product(e.s.slice(1, -e.pl)), ins = e.o[0];
  const grouped = e.s.length - e.pl > 2;
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
    Object.assign(this, {from, count, of, name});
  }
  get opens() { return true; }
  make() { return many(this, this.count, this.of, this.name, this.from); }
}

class Channel extends Item {
  constructor(work, sample, o) {
    super(`channel ${o}`, "plane");
    Object.assign(this, {work, sample, o, note: "output", tensor: work.result});
  }
  get opens() { return true; }
  get outPlane() { return outputPlane(this.work, this.sample, this.o); }
  cover(paint) { paint.title(this.title, this.note, this.outPlane); }
  make() {
    const ins = this.work.expansion.o[0];
    return ins <= MOST_COUPLES ? pairs(this, this.work, this.sample, this.o, ins) : many(this, ins,
      c => new Pair(this.work, this.sample, this.o, c), "input channel");
  }
}

class Pair extends Item {
  constructor(work, sample, o, c) {
    super(`pair (${o}, ${c})`, "plane");
    Object.assign(this, {work, sample, o, c});
  }
  get opens() { return true; }
  make() { return pairs(this, this.work, this.sample, this.o, 1, this.c); }
}

// Index of an output channel in the expansion's own shape, without sample and places.
function channelIndex(work, o) { const e = work.expansion; return unravel(o, e.s.slice(1, -e.pl)); }

function outputPlane(work, sample, o) {
  const e = work.expansion, size = product(e.s.slice(-e.pl));
  const from = (sample * product(e.s.slice(1, -e.pl)) + o) * size;
  return new Grid(work.result, planeOf(e.s.slice(-e.pl)), from, `${work.result.name}[${sample},${o}]`, work);
}

function inputPlane(work, sample, o, c) {
  const e = work.expansion, read = e.r[0], at = [sample, ...channelIndex(work, o), ...e.s.slice(-e.pl).map(() => 0)];
  const leading = read[2].slice(0, -e.pl).map(row => row.slice(0, -1).reduce((sum, a, i) =>
    sum + a * (i < at.length ? at[i] : i === at.length ? c : 0), row[row.length - 1]));
  const sizes = read[1].slice(-e.pl), plane = ravel(leading, read[1].slice(0, -e.pl));
  const tensor = work.operands[0], channel = plane % tensor.shape[1];
  return new Grid(tensor, planeOf(sizes), plane * product(sizes), `${work.operandName(0)}[${sample},${channel}]`,
    reaching(work, 0));
}

function kernelPlane(work, o, c) {
  const e = work.expansion, read = e.r[1], sizes = read[1].slice(-e.pl);
  const from = (o * e.o[0] + c) * product(sizes);
  return new Grid(work.operands[1], planeOf(sizes), from, `${work.operandName(1)}[${o},${c}]`,
    reaching(work, 1));
}

function tmpPlane(work, sample, o, c) {
  const e = work.expansion, sizes = e.s.slice(-e.pl), index = [sample, ...channelIndex(work, o)];
  const low = [c, ...e.o.slice(1).map(() => 0)], high = [c + 1, ...e.o.slice(1)];
  const tmp = new Computed(`tmp[${o},${c}]`, sizes, () => {
    const out = new Float64Array(product(sizes));
    for (let i = 0; i < out.length; i++) out[i] = work.reduce([...index, ...unravel(i, sizes)], low, high);
    return out;
  });
  return new Grid(tmp, planeOf(sizes), 0, tmp.name, {
    at: i => new Sum(work, [...index, ...unravel(i, sizes)], low, high, true),
  });
}

function biasCell(work, sample, o) {
  const e = work.expansion;
  if (!e.b) return null;
  const flat = placeOf(e.b, [sample, ...channelIndex(work, o), ...e.s.slice(-e.pl).map(() => 0)], e.o.map(() => 0));
  return new Cell(work.operands[e.b[0]], flat, work.label(e.b, flat), reaching(work, e.b[0])?.at(flat));
}

function planeOf(sizes) { return sizes.length === 1 ? [1, sizes[0]] : sizes; }

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

// -- tensors, planes and cells ---------------------------------------------------------------------------------------

function showTensor(tensor, name, work = null) {
  const {shape} = tensor, rows = shape.at(-2) ?? 1, columns = shape.at(-1) ?? 1;
  const count = product(shape.slice(0, -2));
  let kid;
  if (tensor.size === 1) kid = new Cell(tensor, 0, name, work?.at ? work.at(0)
    : work?.complete ? new Sum(work, unravel(0, work.expansion.s)) : null);
  else if (count > 1) kid = new Stack(tensor, 0, count, name, work);
  else if (rows === 1 && columns > 12) kid = new Grid(tensor, wrapped(columns), 0, name, work, columns);
  else kid = new Grid(tensor, [rows, columns], 0, name, work);
  kid.shape = shape.join("×");
  return kid;
}

function wrapped(count) {
  const columns = Math.ceil(Math.sqrt(count * 1.6));
  return [Math.ceil(count / columns), columns];
}

// Several planes of a tensor, side by side.
class Stack extends Item {
  constructor(tensor, first, count, name, work) {
    super(name, "plane");
    Object.assign(this, {tensor, first, count, work});
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
    if (this.count > MOST_KIDS) return this.parts(unit);
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
class Grid extends Item {
  // from: its first element; row: how far apart rows are; count: elements there are, where the last row is not full
  constructor(tensor, [rows, columns], from, name, work = null, count = rows * columns, row = columns) {
    super(name, "plane");
    Object.assign(this, {tensor, rows, columns, from, work, count, row, shape: `${rows}×${columns}`});
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
        : this.work?.complete ? new Sum(this.work, unravel(flat, this.work.expansion.s)) : null;
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
class Cell extends Item {
  constructor(tensor, flat, name, sum = null) {
    super(name, "cell");
    Object.assign(this, {tensor, flat, sum, aspect: 1, shape: ""});
    this.note = number(this.value);
  }
  get value() { return this.tensor.get(this.flat); }
  get opens() { return !!this.sum; }
  make() { return this.sum.interior(this); }
  cover(paint) { paint.number(this.value, this.tensor.largest, !this.inGrid); }
}

// -- the terms of one element ----------------------------------------------------------------------------------------

// The terms of output index o whose reduction index lies from low to high.
class Sum {
  // part: whether the result is more than these terms, even if they are all there are.
  constructor(work, o, low = work.expansion.o.map(() => 0), high = work.expansion.o, part = false) {
    Object.assign(this, {work, o, low, high, part});
  }
  // The reduction indices of its terms, without those that do not count.
  get counted() {
    const {sizes, low} = this;
    return this.places ??= [...Array(product(sizes)).keys()].map(i => unravel(i, sizes).map((at, a) => at + low[a]))
      .filter(r => this.work.counts(this.o, r));
  }
  get sizes() { return this.high.map((to, a) => to - this.low[a]); }
  get whole() { return !this.part && product(this.sizes) === product(this.work.expansion.o); }
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
    const asKernel = e.part === 1 && count === product(sizes.slice(-e.pl)) && last <= 8;
    const columns = asKernel ? last : Math.ceil(Math.sqrt(count * 0.62));
    const each = e.j === "op" ? e.r.map((read, i) => [this.low, i]) : this.counted.map(r => [r, null]);
    for (const [r, only] of each) kids.push(new Couple(work, this.o, r, only));
    const wide = e.r.length > 1 && e.j === "product" ? 190 : 140, tall = 74;
    kids.forEach((kid, i) => kid.place(16 + (i % columns) * (wide + 10), 52 + Math.floor(i / columns) * (tall + 10),
      wide, tall));
    if (e.u === "max" || e.u === "min") {
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
    const out = work.result.get(ravel(o, e.s));
    if (e.j === "op") {
      const names = e.r.map(read => number(work.operands[read[0]].get(placeOf(read, o, this.low)))).join(", ");
      return [`${work.name}(${names}) = ${number(out)}`];
    }
    const total = work.reduce(o, this.low, this.high);
    const names = {sum: `sum of ${count} terms`, mean: `mean of ${count}`, product: `product of ${count}`,
      max: `largest of ${count}`, min: `smallest of ${count}`, none: "the element"};
    const lines = count > 1 || !this.whole ? [`${names[e.u]} = ${number(total)}`] : [];
    if (!this.whole) return lines;
    const bias = work.bias(o);
    if (bias) lines.push(`${number(total)} + ${bias.label} ${number(bias.value)} = ${number(total + bias.value)}`);
    if (e.sh) {
      const flat = placeOf(e.sh, o, e.o.map(() => 0)), own = work.operands[e.sh[0]].get(flat);
      if (e.eps === undefined) lines.push(`${e.each}(${work.label(e.sh, flat)}) / sum = ${number(FUNCTIONS[e.each](own) / total)}`);
      else lines.push(`variance of ${count} = ${number(work.variance(o))}`,
        `(${number(own)} − mean) / √(variance + ${number(e.eps)}) = ${number(work.value(o))}`);
    }
    if (e.after !== "identity") lines.push(`${e.after} of that = ${number(out)}`);
    lines.push(`forward computed ${number(out)}`);
    return lines;
  }
}

// What one element of an operand reaches: its local derivative at every element of the result that it is a part of.
class Reach {
  constructor(work, operand, flat, made) { Object.assign(this, {work, operand, flat, made}); }
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
function reaching(work, operand) {
  return work?.complete ? {at: flat => {
    const made = work.reach(operand, flat);
    return made && new Reach(work, operand, flat, made);
  }} : null;
}

class Partial extends Item {
  constructor(sum, axis) {
    const at = sum.low[axis], to = sum.high[axis] - 1;
    super(to > at ? `terms ${at}–${to}` : sum.work.expansion.part === 1 && axis === 0 ? `input channel ${at}` : `term ${at}`,
      "cell");
    this.sum = sum;
    this.note = `Σ = ${number(sum.work.reduce(sum.o, sum.low, sum.high))}`;
  }
  get opens() { return true; }
  make() { return this.sum.interior(this); }
}

// The elements that are multiplied with each other, and what comes of it.
class Couple extends Item {
  constructor(work, o, r, only) {
    const e = work.expansion, reads = e.j === "only" ? [work.inside(o, r)] : only === null ? e.r : [e.r[only]];
    const found = reads.map(read => {
      const flat = placeOf(read, o, r);
      return flat < 0 ? {label: "padding", value: work.outside(read), outside: true}
        : {label: work.label(read, flat), value: work.operands[read[0]].get(flat)};
    });
    super(found.map(one => one.label).join(" × "), "couple");
    this.found = found;
    this.result = only === null ? work.term(o, r) : found[0].value;
    this.outside = found.some(one => one.outside);
    this.function = only === null ? e.each : "identity";
    this.note = found.map(one => number(one.value)).join(" × ") + (found.length > 1 ? ` = ${number(this.result)}` : "");
  }
  cover(paint) { paint.couple(this); }
}
