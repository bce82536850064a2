// The panel about what is selected.

import {DATA} from "./payload.js";
import {product} from "./tensors.js";
import {number} from "./numbers.js";
import {element, tag} from "./dom.js";
import {Cell, Grid} from "./grids.js";
import {Couple, Reach} from "./sums.js";
import {ROOT} from "./model.js";
import {amountNow, amountOf, markText, upTo, wordsOf} from "./overlays.js";
import {goTo, say} from "./controls.js";
import {boxes} from "./finding.js";
import {neighbours, tensorsAlong} from "./flows.js";
import {aboutNote} from "./notes.js";
import {aboutName} from "./renames.js";
import {aboutTaking} from "./taking.js";
import {hasGradient, hasRun, ownerOf} from "./steps.js";

/** @typedef {import("./schema").PageBox} PageBox */
/** @typedef {import("./schema").PageTensor} PageTensor */

const MOST_ALONG = 6, MOST_NEIGHBOURS = 12; // tensors of one curve, buttons of one box
const about = document.getElementById("about");

export function showPanel(item) {
  const {record} = item, parts = [tag("h2", {}, item.title)];
  const kind = record?.op ? `op ${record.op}` : item.kind;
  const ran = hasRun(ownerOf(item)); // by the step at hand
  parts.push(tag("p", {class: "kind"}, [kind, (record || ran) && item.note].filter(Boolean).join(" · ")));
  if (record?.name && record.name !== item.title) parts.push(tag("p", {class: "full"}, record.name));
  if (item.opens) {
    const button = tag("button", {type: "button"}, "Zoom in");
    button.addEventListener("click", () => goTo(item));
    parts.push(button);
  }
  if (record) parts.push(...aboutNeighbours(item));
  if (record?.op) parts.push(...aboutOp(record));
  if (record?.kids) parts.push(...aboutGroup(item));
  if (record) parts.push(...aboutCosts(record));
  const value = record?.values?.[0];
  if (value >= 0) parts.push(...ran ? aboutTensor(DATA.values[value], "Value") : [tag("p", {class: "muted"}, "Not computed yet.")]);
  else if (record?.op) parts.push(tag("p", {class: "muted"}, "No values: the page was made without inputs."));
  if (record?.gradient >= 0 && hasGradient(record)) parts.push(...aboutTensor(DATA.values[record.gradient], "Gradient of the output"));
  if (!ran && !record) return about.replaceChildren(...parts);
  if (item instanceof Cell) parts.push(tag("p", {class: "big"}, item.note), ...(item.sum
    ? [tag("h3", {}, item.sum instanceof Reach ? "What it is a part of" : "How it comes about"), ...item.sum.words().map(line => tag("p", {}, line))] : []));
  if (item instanceof Grid) parts.push(...aboutPlane(item));
  if (record?.op && DATA.ops[record.op].card) parts.push(tag("h3", {}, "Conformance card"), rows(DATA.ops[record.op].card));
  if (item instanceof Couple) parts.push(...item.found.map(one => tag("p", {}, `${one.label} = ${number(one.value)}`)));
  if (record) parts.push(...aboutTaking(item), ...aboutName(item), ...aboutNote(item));
  about.replaceChildren(...parts);
}

/** What flows along a curve, from where, to where.
 * @param {import("./items.js").Item} around @param {import("./schema").PageLink} link */
export function showCurve(around, link) {
  const [tail, head, role] = link, ends = [tail, head].map(n => n < 0 ? around : around.kids[n]);
  const words = {data: "value", gradient: "gradient", saved: "kept for the backward pass"};
  const parts = [tag("h2", {}, `${ends[0].title} → ${ends[1].title}`), tag("p", {class: "kind"}, words[role])];
  const numbers = tensorsAlong(around.record, link);
  for (const number of numbers.slice(0, MOST_ALONG)) {
    const tensor = DATA.values[number];
    parts.push(tag("h3", {}, tensor.name), rows([["type", typeText(tensor)]]), ...aboutTensor(tensor, "Value"));
  }
  if (numbers.length > MOST_ALONG) parts.push(tag("p", {class: "muted"}, `and ${numbers.length - MOST_ALONG} more`));
  parts.push(tag("h3", {}, "From and to"), tag("p", {class: "buttons"}, ...ends.map(jump)));
  about.replaceChildren(...parts);
  say(`${ends[0].title} to ${ends[1].title}, ${words[role]}`);
}

/** A button that leads to a box. */
function jump(item) {
  const button = tag("button", {type: "button"}, item.title);
  button.addEventListener("click", () => goTo(item));
  return button;
}

/** @param {import("./items.js").Item} item */
function aboutNeighbours(item) {
  const {from, to} = neighbours(item);
  /** @type {[string, import("./items.js").Item[]][]} */
  const both = [["Comes from", from], ["Goes to", to]];
  return both.flatMap(([heading, found]) => !found.length ? []
    : [tag("h3", {}, heading), tag("p", {class: "buttons"}, ...found.slice(0, MOST_NEIGHBOURS).map(jump),
      ...(found.length > MOST_NEIGHBOURS ? [`and ${found.length - MOST_NEIGHBOURS} more`] : []))]);
}

function rows(pairs) {
  return tag("dl", {}, ...pairs.flatMap(([name, value]) => [tag("dt", {}, name), tag("dd", {}, value)]));
}

/** A type as the program writes it: `int64[1]` is no value.
 * @param {PageTensor} tensor */
function typeText(tensor) { return tensor.shape.length ? `${tensor.dtype}[${tensor.shape.join(",")}]` : `${tensor.dtype} scalar`; }

/** @param {PageBox} record */
function aboutOp(record) {
  const op = DATA.ops[record.op], parts = [];
  if (op.formula) parts.push(tag("p", {class: "formula"}, op.formula));
  const pairs = record.operands.map((number, i) => {
    const types = number >= 0 ? typeText(DATA.values[number]) : "–";
    return [op.operands[Math.min(i, op.operands.length - 1)], types];
  }).filter(([, types]) => types !== "–");
  const out = record.values[0] >= 0 ? DATA.values[record.values[0]] : null;
  if (out) pairs.push(["result", typeText(out)]);
  for (const [name, value] of record.settings ?? []) pairs.push([name, value]);
  if (pairs.length) parts.push(tag("h3", {}, "Operands and settings"), rows(pairs));
  const rules = Object.entries(op.rules);
  if (rules.length) parts.push(tag("h3", {}, "Backward"), rows(rules.map(([name, text]) => [`for ${name}`, text])));
  else parts.push(tag("h3", {}, "Backward"), tag("p", {class: "muted"}, "No gradient flows through this op."));
  if (record.source) parts.push(tag("h3", {}, "Source"), tag("p", {class: "source"}, record.source), ...(record.line
    ? [tag("pre", {}, record.line)] : []));
  return parts;
}

function aboutGroup(item) {
  let ops = 0, parameters = 0;
  for (const [record] of boxes(item.record)) {
    if (record.op) ops++;
    if (record.kind === "parameter") parameters += product((record.note ?? "").match(/\d+/g)?.map(Number) ?? [1]);
  }
  return [rows([["ops inside", ops.toLocaleString("en")], ["boxes", String(item.record.kids.length)],
    ...(parameters ? [["parameters", parameters.toLocaleString("en")]] : [])]), ...arrowsIn(item.record)];
}

/** What the arrows of a group mean, where there are others than those of the forward pass.
 * @param {PageBox} record */
function arrowsIn(record) {
  /** @type {Set<string>} */
  const roles = new Set(DATA.interiors[record.interior].links.map(([, , role]) => role));
  if (roles.size < 2) return [];
  const words = {data: "values, downward", gradient: "gradients, upward", saved: "kept for the backward pass",
    carry: "from one step to the next"};
  return [tag("h3", {}, "Arrows"), tag("dl", {class: "arrows"}, ...Object.keys(words).filter(role => roles.has(role))
    .flatMap(role => [tag("dt", {class: role}), tag("dd", {}, words[role])]))];
}

/** What each overlay says of a box, and its share of the whole where amounts add up.
 * @param {PageBox} record */
function aboutCosts(record) {
  const pairs = [];
  for (const one of DATA.overlays) {
    const amount = amountNow(record, one), whole = amountOf(ROOT.record, one);
    if (amount === null) continue;
    const adds = record !== ROOT.record && amount > 0 && whole > 0 && one.total === "sum";
    const share = adds ? 100 * amount / whole : null, words = share < 0.1 ? "< 0.1" : share && number(share, 2);
    pairs.push([one.title, upTo(record, one) + wordsOf(one, amount) + markText(record, one) + (adds ? ` · ${words} %` : "")]);
  }
  return pairs.length ? [tag("h3", {}, "Costs"), rows(pairs)] : [];
}

/** @param {Pick<PageTensor, "statistics" | "counts" | "broken" | "at" | "shape">} tensor @param {string} heading */
function aboutTensor(tensor, heading) {
  const parts = [tag("h3", {}, heading)], [low, high, mean, deviation] = tensor.statistics ?? [];
  if (tensor.statistics) parts.push(rows([["range", `${number(low)} … ${number(high)}`], ["mean", number(mean)],
    ["deviation", number(deviation)], ...(tensor.broken ? [["not finite", String(tensor.broken)]] : [])]));
  if (tensor.counts) parts.push(histogram(tensor.counts, low, high));
  if (tensor.at < 0 && product(tensor.shape)) parts.push(tag("p", {class: "muted"}, "Its elements are not in this page."));
  return parts;
}

// A plane has no statistics in the data; they are quickly counted.
function aboutPlane(grid) {
  const found = [];
  for (let i = 0; i < grid.rows; i++) for (let j = 0; j < grid.columns; j++) {
    const flat = grid.at(i, j), v = flat < 0 ? NaN : grid.tensor.get(flat);
    if (Number.isFinite(v)) found.push(v);
  }
  if (!found.length) return [];
  const low = found.reduce((a, b) => Math.min(a, b)), high = found.reduce((a, b) => Math.max(a, b));
  const mean = found.reduce((a, b) => a + b, 0) / found.length, counts = new Array(24).fill(0);
  const deviation = Math.sqrt(found.reduce((a, b) => a + (b - mean) ** 2, 0) / found.length);
  if (high > low) for (const v of found) counts[Math.min(23, Math.floor((v - low) / (high - low) * 24))]++;
  return aboutTensor({statistics: [low, high, mean, deviation], counts: high > low ? counts : null, at: 0, shape: []}, "Values of this plane");
}

function histogram(counts, low, high) {
  const most = Math.max(...counts), svg = element("svg", {viewBox: "0 0 240 64", class: "histogram", role: "img",
    "aria-label": `histogram from ${number(low)} to ${number(high)}`});
  counts.forEach((count, i) => {
    const height = count ? Math.max(1.5, 60 * count / most) : 0, middle = low + (high - low) * (i + 0.5) / counts.length;
    element("rect", {x: i * 10 + 0.5, y: 62 - height, width: 9, height, class: middle < 0 ? "minus" : "plus"}, svg);
  });
  element("path", {d: "M0,62.5H240"}, svg);
  return svg;
}
