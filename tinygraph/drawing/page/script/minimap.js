// The whole model, small in a corner, and which part of it is seen; a click or drag there moves the view.

import {DATA} from "./payload.js";
import {element} from "./dom.js";
import {ROOT} from "./model.js";
import {pan, rectangle, viewport} from "./camera.js";

const map = document.getElementById("minimap");
/** @type {SVGElement | null} */
let seen = null;

function draw() {
  const laid = DATA.interiors[DATA.root.interior];
  const svg = element("svg", {viewBox: `0 0 ${laid.width} ${laid.height}`, preserveAspectRatio: "xMidYMid meet"});
  const least = Math.max(laid.width, laid.height) / 120; // what is thinner would not be seen
  laid.places.forEach(([x, y, width, height], n) => {
    const group = element("g", {class: `k-${DATA.root.kids[n].kind}`}, svg);
    element("rect", {class: "box", x, y, width: Math.max(least, width), height: Math.max(least, height)}, group);
  });
  seen = element("rect", {class: "seen"}, svg);
  map.replaceChildren(svg);
}

/** Show which part is seen; nothing where that is all of it. */
export function follow() {
  if (!DATA.root.kids) return;
  if (!seen) draw();
  const whole = rectangle(ROOT), {w, h} = viewport();
  const all = whole.x > -2 && whole.y > -2 && whole.x + whole.w < w + 2 && whole.y + whole.h < h + 2;
  map.hidden = all;
  if (all) return;
  const scale = ROOT.w / whole.w, least = Math.max(ROOT.w, ROOT.h) / 40;
  const width = Math.max(least, w * scale), height = Math.max(least, h * scale);
  const x = (w / 2 - whole.x) * scale - width / 2, y = (h / 2 - whole.y) * scale - height / 2;
  for (const [name, value] of Object.entries({x, y, width, height})) seen.setAttribute(name, value.toFixed(2));
}

/** @param {PointerEvent} event */
function go(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  event.stopPropagation();
  event.preventDefault();
  const svg = map.firstElementChild;
  if (!(svg instanceof SVGSVGElement)) return;
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const whole = rectangle(ROOT), {w, h} = viewport();
  pan(w / 2 - whole.x - point.x * whole.w / ROOT.w, h / 2 - whole.y - point.y * whole.h / ROOT.h);
}

map.addEventListener("pointerdown", go);
map.addEventListener("pointermove", go);
map.addEventListener("dblclick", event => event.stopPropagation());
