// What the page's data say: tensors, the arithmetic of one output element, and how numbers are written and coloured.

class Tensor {
  constructor(record) {
    Object.assign(this, {name: record.n, shape: record.s, dtype: record.d, at: record.at});
    this.record = record;
    this.size = product(record.s);
  }
  get has() { return this.at >= 0 && this.size > 0; }
  get(i) { return ELEMENTS[this.at + i]; }
  get largest() { return this.bound ??= bound(this); }
  label(i) { return this.shape.length ? `${this.name}[${unravel(i, this.shape)}]` : this.name; }
}

// A grid that is worked out here: what the op computes on its way and does not keep.
class Computed {
  // compute: all elements at once; nan stands for no element
  constructor(name, shape, compute) {
    Object.assign(this, {name, shape, compute, size: product(shape), has: true});
  }
  get(i) { return (this.values ??= this.compute())[i]; }
  get largest() { return this.bound ??= bound(this); }
  label(i) { return `${this.name}[${unravel(i, this.shape)}]`; }
}

function product(sizes) { return sizes.reduce((a, b) => a * b, 1); }

function unravel(i, shape) {
  const index = new Array(shape.length);
  for (let a = shape.length - 1; a >= 0; a--) { index[a] = i % shape[a]; i = Math.floor(i / shape[a]); }
  return index;
}

function ravel(index, shape) { return index.reduce((flat, at, a) => flat * shape[a] + at, 0); }

function bound(tensor) {
  let most = 0;
  for (let i = 0; i < tensor.size; i++) {
    const v = Math.abs(tensor.get(i));
    if (v > most && v < Infinity) most = v;
  }
  return most || 1;
}

const TENSORS = DATA.values.map(record => new Tensor(record));

function tensorOf(number) { return number >= 0 && TENSORS[number].has ? TENSORS[number] : null; }

// -- one output element ----------------------------------------------------------------------------------------------

const MOST_REACHED = 300_000; // terms that are gone through to see what one element reaches

const FUNCTIONS = {identity: x => x, exp: Math.exp, log: Math.log, square: x => x * x};

// Where a read finds its element for output index o and reduction index r; -1 is outside.
function placeOf(read, o, r) {
  let flat = 0;
  for (let a = 0; a < read[1].length; a++) {
    const row = read[2][a];
    let at = row[row.length - 1];
    for (let i = 0; i < o.length; i++) at += row[i] * o[i];
    for (let j = 0; j < r.length; j++) at += row[o.length + j] * r[j];
    if (at < 0 || at >= read[1][a]) return -1;
    flat = flat * read[1][a] + at;
  }
  return flat;
}

// The op at work on one node: its expansion, its operands and its result.
class Work {
  constructor(record) {
    this.record = record;
    this.expansion = DATA.expansions[record.e];
    this.op = DATA.ops[record.o];
    this.operands = record.in.map(tensorOf);
    this.result = tensorOf(record.v[0]);
    this.name = record.o;
  }
  get complete() {
    const e = this.expansion;
    return this.result && [...e.r, ...(e.b ? [e.b] : [])].every(read => this.operands[read[0]]);
  }
  operandName(i) { return this.op.a[Math.min(i, this.op.a.length - 1)]; }
  label(read, flat) {
    const tensor = this.operands[read[0]];
    const name = this.operandName(read[0]);
    return tensor.shape.length ? `${name}[${unravel(flat, tensor.shape)}]` : name;
  }
  outside(read) { return this.expansion.pad ?? NaN; }
  // Of several reads the only one that is inside its operand.
  inside(o, r) { return this.expansion.r.find(read => placeOf(read, o, r) >= 0); }
  // Whether a term is one: a product without one of its factors is none, unless padding stands in.
  counts(o, r) {
    const e = this.expansion;
    return e.pad !== null || e.j !== "product" || e.r.length < 2 || e.r.every(read => placeOf(read, o, r) >= 0);
  }
  // The value of one term; NaN where a read is outside and does not count.
  term(o, r) {
    const e = this.expansion;
    let value = 1;
    if (e.j === "only") {
      const read = this.inside(o, r);
      return this.operands[read[0]].get(placeOf(read, o, r));
    }
    for (const read of e.r) {
      const flat = placeOf(read, o, r);
      value *= flat < 0 ? this.outside(read) : this.operands[read[0]].get(flat);
    }
    return FUNCTIONS[e.each](value);
  }
  // All terms with low <= r < high, or a function of each, taken together as the op does.
  reduce(o, low, high, of = v => v) {
    const e = this.expansion, r = low.slice(), mean = e.u === "mean";
    let total = {max: -Infinity, min: Infinity, product: 1}[e.u] ?? 0, count = 0;
    for (;;) {
      const v = of(this.term(o, r));
      if (!(e.pad === null && Number.isNaN(v))) {
        count++;
        total = e.u === "max" ? Math.max(total, v) : e.u === "min" ? Math.min(total, v) : e.u === "product" ? total * v
          : total + v;
      }
      let a = r.length - 1;
      while (a >= 0 && ++r[a] === high[a]) { r[a] = low[a]; a--; }
      if (a < 0) return mean ? total / count : total;
    }
  }
  // The whole element, from its terms.
  value(o) {
    const e = this.expansion, low = e.o.map(() => 0), total = this.reduce(o, low, e.o) + (this.bias(o)?.value ?? 0);
    if (!e.sh) return FUNCTIONS[e.after](total);
    const own = FUNCTIONS[e.each](this.operands[e.sh[0]].get(placeOf(e.sh, o, low)));
    return FUNCTIONS[e.after](e.eps === undefined ? own / total : (own - total) / Math.sqrt(this.variance(o) + e.eps));
  }
  variance(o) {
    const e = this.expansion, low = e.o.map(() => 0), mean = this.reduce(o, low, e.o);
    return this.reduce(o, low, e.o, v => (v - mean) ** 2);
  }
  // What a small change of one element of an operand changes in each element of the result; null where that is not one
  // number for each (no sum of products), or too much to count.
  reach(operand, flat) {
    const e = this.expansion;
    const linear = e.each === "identity" && e.after === "identity" && !e.sh && e.j !== "op"
      && ["sum", "mean", "none"].includes(e.u);
    const reads = [...e.r, ...(e.b ? [e.b] : [])].filter(read => read[0] === operand);
    if (!linear || reads.length !== 1 || this.result.size * product(e.o) > MOST_REACHED) return null;
    const [read] = reads, bias = read === e.b, count = product(e.o);
    return new Computed(`d ${this.result.name} / d ${this.label(read, flat)}`, this.result.shape, () => {
      const out = new Float64Array(this.result.size).fill(NaN);
      for (let i = 0; i < out.length; i++) {
        const o = unravel(i, e.s);
        for (let j = 0; j < (bias ? 1 : count); j++) {
          const r = unravel(j, e.o);
          if (placeOf(read, o, r) !== flat) continue;
          let local = bias ? 1 : e.u === "mean" ? 1 / count : 1;
          if (!bias && e.j === "product") for (const other of e.r) if (other !== read) {
            const at = placeOf(other, o, r);
            local *= at < 0 ? NaN : this.operands[other[0]].get(at); // what meets the padding has no impact
          }
          if (Number.isNaN(local)) continue;
          out[i] = (Number.isNaN(out[i]) ? 0 : out[i]) + local;
        }
      }
      return out;
    });
  }
  bias(o) {
    const read = this.expansion.b;
    if (!read) return null;
    const flat = placeOf(read, o, this.expansion.o.map(() => 0));
    return {label: this.label(read, flat), value: this.operands[read[0]].get(flat)};
  }
}

// -- numbers and colours ---------------------------------------------------------------------------------------------

function number(v, digits = 4) {
  if (Number.isNaN(v)) return "nan";
  if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
  const size = Math.abs(v);
  let text;
  if (v === 0) text = "0";
  else if (Number.isInteger(v) && size < 1e5) text = String(size);
  else if (size >= 1e5 || size < 1e-4) text = size.toExponential(2).replace("e+", "e");
  else text = String(+size.toPrecision(digits));
  return (v < 0 ? "−" : "") + text;
}

const NEGATIVE = [33, 102, 172], POSITIVE = [222, 110, 20], BROKEN = [214, 0, 160];
let zero = [250, 250, 248]; // the colour of 0, which the theme sets

function shade(v, largest) {
  if (!Number.isFinite(v)) return BROKEN;
  const t = Math.min(1, Math.abs(v) / largest), pole = v < 0 ? NEGATIVE : POSITIVE;
  return zero.map((from, i) => Math.round(from + (pole[i] - from) * t));
}

function colour(v, largest) { return `rgb(${shade(v, largest).join(",")})`; }

function inkOn(v, largest) {
  const [r, g, b] = shade(v, largest);
  return 0.3 * r + 0.59 * g + 0.11 * b > 140 ? "#10151b" : "#ffffff";
}

// A small image of a grid: at(row, column) is a number, or null where there is nothing. What is computed here is nan
// where nothing is, which is left empty too.
function heatMap(rows, columns, at, largest, empty = false) {
  const canvas = document.createElement("canvas");
  canvas.width = columns; canvas.height = rows;
  const context = canvas.getContext("2d"), pixels = context.createImageData(columns, rows);
  for (let i = 0, p = 0; i < rows; i++) for (let j = 0; j < columns; j++, p += 4) {
    const v = at(i, j);
    if (v === null || Number.isNaN(v) && empty) continue;
    const [r, g, b] = shade(v, largest);
    pixels.data[p] = r; pixels.data[p + 1] = g; pixels.data[p + 2] = b; pixels.data[p + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}
