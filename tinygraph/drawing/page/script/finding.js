// Finding a box: by words, and by the way to it.

import {DATA} from "./payload.js";
import {stage} from "./dom.js";
import {ROOT} from "./model.js";
import {goTo} from "./controls.js";

/** @typedef {import("./schema").PageBox} PageBox */

export const search = /** @type {HTMLInputElement} */ (document.getElementById("search"));
const hits = document.getElementById("hits");
let index = null, hitAt = 0;

/** @param {PageBox} record @param {number[]} path @returns {Generator<[PageBox, number[]]>} */
export function* boxes(record, path = []) {
  yield [record, path];
  for (let i = 0; i < (record.kids?.length ?? 0); i++) yield* boxes(record.kids[i], [...path, i]);
}

function find(words) {
  index ??= [...boxes(DATA.root)].slice(1).map(([record, path]) =>
    ({record, path, text: [record.title, record.op, record.name, record.note, record.kind].filter(Boolean).join(" ").toLowerCase()}));
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const found = wanted.length ? index.filter(one => wanted.every(word => one.text.includes(word))) : [];
  const rank = one => one.record.title.toLowerCase().startsWith(wanted[0]) ? 0 : 1;
  return found.sort((a, b) => rank(a) - rank(b) || a.path.length - b.path.length).slice(0, 12);
}

function showHits() {
  const found = find(search.value);
  hitAt = Math.min(hitAt, Math.max(0, found.length - 1));
  hits.replaceChildren(...found.map((one, i) => {
    const row = document.createElement("li");
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(i === hitAt));
    row.id = `hit${i}`;
    const where = itemOf(one.path).parent, name = document.createElement("b"), rest = document.createElement("span");
    name.textContent = one.record.title;
    rest.textContent = [one.record.note, where?.parent ? `in ${where.title}` : ""].filter(Boolean).join(" · ");
    row.append(name, rest);
    row.addEventListener("pointerdown", event => { event.preventDefault(); take(one); });
    return row;
  }));
  hits.hidden = !search.value;
  if (search.value && !found.length) {
    const row = document.createElement("li");
    row.textContent = "nothing found";
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
  const found = search.value ? find(search.value) : [];
  if (event.key === "Escape") { search.value = ""; showHits(); search.blur(); stage.focus(); }
  else if (event.key === "Enter" && found[hitAt]) { take(found[hitAt]); stage.focus(); }
  else if (event.key === "ArrowDown") hitAt = Math.min(found.length - 1, hitAt + 1);
  else if (event.key === "ArrowUp") hitAt = Math.max(0, hitAt - 1);
  else return;
  event.preventDefault();
  if (event.key.startsWith("Arrow")) showHits();
});
