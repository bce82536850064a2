// The model as a tree, for keyboards and screen readers.

import {stage, tag} from "./dom.js";
import {ROOT} from "./model.js";
import {goTo, inWords} from "./controls.js";
import {search} from "./finding.js";

/** @typedef {import("./items.js").Item} Item */

export const treeRoot = document.getElementById("tree"), treeRows = new Map(), MOST_ROWS = 300;
/** @type {WeakMap<Element, Item>} */
const itemOfRow = new WeakMap();

export function treeItem(item, level) {
  const label = tag("span", {class: "row"}, tag("b", {class: "twist"}), tag("i", {class: `dot k-${item.kind}`}), tag("span", {}, item.title),
    tag("small", {}, item.note));
  const row = tag("li", {role: "treeitem", tabindex: "-1", "aria-level": level, "aria-selected": "false",
    "aria-label": inWords(item)}, label);
  if (item.opens) row.setAttribute("aria-expanded", "false");
  itemOfRow.set(row, item);
  treeRows.set(item, row);
  return row;
}

/** After a new name. @param {Item} item */
export function retitle(item) {
  const row = treeRows.get(item);
  if (!row) return;
  row.querySelector(".row > span").textContent = item.title;
  row.setAttribute("aria-label", inWords(item));
}

export function expand(row, yes = true) {
  const item = itemOfRow.get(row);
  if (!item.opens || (row.getAttribute("aria-expanded") === "true") === yes) return;
  row.setAttribute("aria-expanded", String(yes));
  row.querySelector(":scope > ul")?.remove();
  if (!yes) return;
  const level = Number(row.getAttribute("aria-level")) + 1;
  row.append(tag("ul", {role: "group"}, ...item.kids.slice(0, MOST_ROWS).map(kid => treeItem(kid, level))));
}

export function markInTree(item) {
  treeRoot.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
  const chain = [];
  for (let one = item; one; one = one.parent) chain.unshift(one);
  let row = treeRows.get(ROOT);
  for (const one of chain.slice(1)) {
    expand(row);
    const inner = [...row.querySelectorAll(":scope > ul > li")].find(li => itemOfRow.get(li) === one);
    if (!inner) break;
    row = inner;
  }
  row.setAttribute("aria-selected", "true");
  for (const one of treeRoot.querySelectorAll("[tabindex='0']")) one.setAttribute("tabindex", "-1");
  row.tabIndex = 0;
  row.scrollIntoView({block: "nearest"});
}

treeRoot.addEventListener("click", event => {
  const row = /** @type {Element} */ (event.target).closest("li");
  if (!row) return;
  if (/** @type {Element} */ (event.target).matches(".twist")) return expand(row, row.getAttribute("aria-expanded") !== "true");
  goTo(itemOfRow.get(row));
});

treeRoot.addEventListener("keydown", event => {
  const row = /** @type {Element} */ (event.target).closest("li"), opened = row.getAttribute("aria-expanded") === "true";
  const visible = [...treeRoot.querySelectorAll("li")], at = visible.indexOf(row);
  const focus = one => { if (one) { row.tabIndex = -1; one.tabIndex = 0; one.focus(); } };
  const keys = {
    ArrowDown: () => focus(visible[at + 1]), ArrowUp: () => focus(visible[at - 1]),
    ArrowRight: () => opened ? focus(row.querySelector("li")) : expand(row),
    ArrowLeft: () => opened ? expand(row, false) : focus(row.parentElement.closest("li")),
    Home: () => focus(visible[0]), End: () => focus(visible.at(-1)),
    Enter: () => goTo(itemOfRow.get(row)), " ": () => goTo(itemOfRow.get(row)), "/": () => search.focus(), Escape: () => stage.focus(),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  keys[event.key]();
});
