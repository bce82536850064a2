// Groups, ops and leaves of the model, and the inside of an op that is not drawn by channels.

import {DATA} from "./payload.js";
import {tensorOf} from "./tensors.js";
import {amountText} from "./numbers.js";
import {Work} from "./places.js";
import {fitted, interior, Item} from "./items.js";
import {showTensor} from "./grids.js";
import {reaching} from "./sums.js";
import {openChannels} from "./channels.js";
import * as overlays from "./overlays.js";

/** @typedef {import("./schema").PageBox} PageBox */

class Box extends Item {
  /** @param {PageBox} record */
  constructor(record) {
    super(record.title, record.kind);
    this.record = record;
    this.note = record.note ?? "";
  }
  get tensor() { return this.record.values ? tensorOf(this.record.values[0]) : null; }
  get opens() { return !!this.record.kids || !!this.tensor; }
  make() { return this.record.kids ? this.group() : operation(this); }
  group() {
    const laid = DATA.interiors[this.record.interior];
    const kids = this.record.kids.map((record, i) => new Box(record).place(...laid.places[i]));
    return interior(laid.width, laid.height, kids, paint => {
      const roles = {};
      for (const [tail, head, role, d] of laid.links) {
        (roles[role] ??= []).push(d);
        if (head >= 0) paint.arrow(d, role);
        if (role === "saved" && tail >= 0 && head >= 0) kept(paint, kids[tail], kids[head]);
      }
      for (const role in roles) paint.path(roles[role].join(""), `edge ${role}`);
    }, this);
  }
  cover(paint) {
    if (overlays.overlaid) paint.title(this.title, overlays.overlayLine(this.record) ?? this.note);
    else paint.title(this.title, this.note, this.tensor);
  }
}

// On the bridge from an op to its backward one: how much of memory it takes until then.
function kept(paint, from, to) {
  const left = from.bx + from.bw, room = to.bx - left, bytes = from.record.kept;
  if (bytes && room > 20 && room < 120) paint.text(left + room / 2, from.by + from.bh / 2 - 8, amountText(DATA.units.bytes, bytes),
    {size: 10, room: room - 8, css: "label"});
}

// -- the inside of an op ---------------------------------------------------------------------------------------------

function operation(item) {
  const {record} = item;
  const work = record.expansion === undefined ? null : new Work(record);
  if (!record.op) return lone(item, showTensor(item.tensor, item.title));
  if (work?.complete) {
    const e = work.expansion;
    if (e.partial === 1 && e.planes <= 2 && e.reads.length === 2) return openChannels(item, work);
    return formula(item, work);
  }
  return formula(item, null);
}

function lone(item, kid) {
  kid.place(10, 10, ...fitted(kid, 220, 150));
  return interior(kid.bw + 20, kid.bh + 20, [kid], null, item);
}

// Operands, a sign between them, and the result: for whatever is not drawn by channels.
/** @param {Work} work */
function formula(item, work) {
  const {record} = item, op = DATA.ops[record.op], line = []; // [item or sign, ...] in reading order
  const reads = work ? [...new Set([...work.expansion.reads, ...(work.expansion.bias ? [work.expansion.bias] : [])].map(read => read.operand))]
    : record.operands.map((_, i) => i);
  const product = work && work.expansion.join === "product" && work.expansion.reads.length > 1;
  for (const i of reads.filter(i => tensorOf(record.operands[i]))) {
    if (line.length) line.push(product ? "·" : ",");
    line.push(showTensor(tensorOf(record.operands[i]), op.operands[Math.min(i, op.operands.length - 1)], reaching(work, i)));
  }
  if (line.length) line.push(product ? "=" : record.op);
  record.values.forEach((number, i) => {
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

// The whole model.
export const ROOT = new Box(DATA.root);
ROOT.place(0, 0, 0, 0);
