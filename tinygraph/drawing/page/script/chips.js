// Over the drawing: names of open boxes, the frame of what is selected, and where one is.

import {tag} from "./dom.js";
import {Cell, Grid, Stack} from "./grids.js";
import {Partial} from "./sums.js";
import {showLegend} from "./overlays.js";
import {boxOnScreen, eye, rectangle, viewport} from "./camera.js";
import {goTo} from "./controls.js";
import * as painting from "./painting.js";
import * as controls from "./controls.js";

const chipRow = document.getElementById("chips"), frameOfSelected = document.getElementById("selected");
const trail = document.getElementById("trail");
let trailOf = null;

export function placeChips() {
  const {w, h} = viewport(), wanted = [];
  for (const [item] of painting.shown) {
    if (!item.parent || item.tile || !painting.shown.has(item.parent)) continue;
    const box = boxOnScreen(item, painting.shown.get(item.parent));
    if (box.w < 90 || box.h < 50 || box.x > w - 60 || box.y > h - 30 || box.x + box.w < 80 || box.y + box.h < 40) continue;
    if (item instanceof Grid || item instanceof Stack || item instanceof Cell || item instanceof Partial) continue;
    wanted.push([item, Math.max(4, box.x), Math.max(4, box.y - (box.y > 26 ? 22 : 0)), box.w]);
  }
  while (chipRow.children.length > wanted.length) chipRow.lastChild.remove();
  wanted.forEach(([item, x, y, room], i) => {
    const chip = chipRow.children[i] ?? chipRow.appendChild(tag("span"));
    if (chip.textContent !== item.title) chip.textContent = item.title;
    chip.style.transform = `translate(${Math.round(x)}px,${Math.round(y)}px)`;
    chip.style.maxWidth = `${Math.round(Math.min(room, 260))}px`;
  });
  const box = controls.selected?.parent && rectangle(controls.selected);
  frameOfSelected.hidden = !box || box.x > w || box.y > h || box.x + box.w < 0 || box.y + box.h < 0;
  if (!frameOfSelected.hidden) {
    const x = Math.max(box.x, -20), y = Math.max(box.y, -20);
    Object.assign(frameOfSelected.style, {transform: `translate(${x}px,${y}px)`,
      width: `${Math.min(box.x + box.w, w + 20) - x}px`, height: `${Math.min(box.y + box.h, h + 20) - y}px`});
  }
  crumbs();
}

export function forgetTrail() { trailOf = null; }

function crumbs() {
  showLegend(eye.anchor);
  if (trailOf === eye.anchor) return;
  trailOf = eye.anchor;
  const chain = [];
  for (let one = eye.anchor; one; one = one.parent) chain.unshift(one);
  trail.replaceChildren(...chain.map((item, i) => {
    const crumb = tag("button", {type: "button", ...(i === chain.length - 1 ? {"aria-current": "location"} : {})}, item.title);
    crumb.addEventListener("click", () => goTo(item));
    return tag("li", {}, crumb);
  }));
  trail.scrollLeft = trail.scrollWidth;
}
