// Finding a box: by words, and by the way to it.

import {DATA} from "./payload.js";
import {stage} from "./dom.js";
import {ROOT} from "./model.js";
import {built} from "./painting.js";
import {goTo} from "./controls.js";

/** @typedef {import("./schema").PageBox} PageBox */

export const search = /** @type {HTMLInputElement} */ (document.getElementById("search"));
const hits = document.getElementById("hits");
const MOST = 12; // rows of what was found
let index = null, hitAt = 0;

/** @param {PageBox} record @param {number[]} path @returns {Generator<[PageBox, number[]]>} */
export function* boxes(record, path = []) {
  yield [record, path];
  for (let i = 0; i < (record.kids?.length ?? 0); i++) yield* boxes(record.kids[i], [...path, i]);
}

export function forgetIndex() { index = null; }

function find(words) {
  index ??= [...boxes(DATA.root)].slice(1).map(([record, path]) =>
    ({record, path, text: [way(path), record.title, record.op, record.name, record.note, record.kind].filter(Boolean).join(" ").toLowerCase()}));
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const found = wanted.length ? index.filter(one => wanted.every(word => one.text.includes(word))) : [];
  const rank = one => one.record.title.toLowerCase().startsWith(wanted[0]) ? 0 : 1;
  return found.sort((a, b) => rank(a) - rank(b) || Number(isNamed(b, wanted)) - Number(isNamed(a, wanted)) || a.path.length - b.path.length);
}

/** Whether a box's own words are enough, without those of the groups around it. */
function isNamed(one, wanted) {
  const words = `${one.record.title} ${one.record.op ?? ""} ${one.record.note ?? ""}`.toLowerCase();
  return wanted.every(word => words.includes(word));
}

/** The titles of the groups around a box, as one path. */
function way(path) {
  const names = [];
  let record = DATA.root;
  for (const n of path.slice(0, -1)) names.push((record = record.kids[n]).title);
  return names.join("/");
}

/** The records of all hits, and of the groups that hold some.
 * @type {Map<PageBox, "hit" | "holds">} */
const marked = new Map();

function markAll(found) {
  marked.clear();
  for (const one of found) {
    let record = DATA.root;
    for (const n of one.path.slice(0, -1)) {
      record = record.kids[n];
      if (!marked.has(record)) marked.set(record, "holds");
    }
    marked.set(one.record, "hit");
  }
  for (const view of built.values()) markHits(view);
}

/** Bring out what was searched for in an open interior. */
export function markHits(view) {
  if (!view.item.record?.kids) return;
  for (const [kid, {group}] of view.covers) {
    const now = kid.record && marked.get(kid.record);
    group.parentNode.classList.toggle("hit", now === "hit");
    group.parentNode.classList.toggle("holds", now === "holds");
  }
}

function showHits() {
  const all = find(search.value), found = all.slice(0, MOST);
  markAll(all);
  hitAt = Math.min(hitAt, Math.max(0, found.length - 1));
  hits.replaceChildren(...found.map((one, i) => {
    const row = document.createElement("li");
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(i === hitAt));
    row.id = `hit${i}`;
    const where = itemOf(one.path).parent, name = document.createElement("b"), rest = document.createElement("span");
    name.textContent = one.record.title;
    rest.textContent = [one.record.kind, one.record.note, where?.parent ? `in ${way(one.path)}` : ""].filter(Boolean).join(" · ");
    row.append(name, rest);
    row.addEventListener("pointerdown", event => { event.preventDefault(); take(one); });
    return row;
  }));
  hits.hidden = !search.value;
  if (search.value && !found.length) {
    const row = document.createElement("li");
    row.textContent = "nothing found";
    hits.append(row);
  } else if (found.length) {
    const row = document.createElement("li");
    row.className = "count";
    row.textContent = all.length > MOST ? `${MOST} of ${all.length.toLocaleString("en")} boxes` : `${all.length} ${all.length === 1 ? "box" : "boxes"}`;
    hits.append(row);
  }
  search.setAttribute("aria-expanded", String(!hits.hidden));
  search.setAttribute("aria-activedescendant", found.length ? `hit${hitAt}` : "");
  return found;
}

function take(one) {
  search.value = "";
  showHits();
  search.blur();
  goTo(itemOf(one.path));
}

export function itemOf(path) {
  /** @type {import("./items.js").Item} */
  let item = ROOT;
  for (const n of path) {
    const kid = item.opens ? item.kids[n] : undefined;
    if (!kid) break;
    item = kid;
  }
  return item;
}

search.addEventListener("input", () => { hitAt = 0; showHits(); });
search.addEventListener("blur", () => { hits.hidden = true; });
search.addEventListener("keydown", event => {
  const found = search.value ? find(search.value).slice(0, MOST) : [];
  if (event.key === "Escape") { search.value = ""; showHits(); search.blur(); stage.focus(); }
  else if (event.key === "Enter" && found[hitAt]) { take(found[hitAt]); stage.focus(); }
  else if (event.key === "ArrowDown") hitAt = Math.min(found.length - 1, hitAt + 1);
  else if (event.key === "ArrowUp") hitAt = Math.max(0, hitAt - 1);
  else return;
  event.preventDefault();
  if (event.key.startsWith("Arrow")) showHits();
});
