// What is seen, as a file: SVG or pixels.

import {element, SVG, tag} from "./dom.js";
import {legend} from "./overlays.js";
import {viewport} from "./camera.js";
import {built} from "./painting.js";
import {say} from "./controls.js";
import {page} from "./looks.js";
import * as painting from "./painting.js";

// What a program without style sheets needs to know of an element, and what goes without saying.
const USUAL = {fill: "", stroke: "none", "stroke-width": "1px", "stroke-dasharray": "none", "fill-opacity": "1", opacity: "1",
  "font-size": "", "font-weight": "400", "text-anchor": "start"};

/** A copy of an element as it is seen, without classes and variables; null if it is not.
 * @param {Element} one @returns {Element | null} */
function resolved(one) {
  const look = getComputedStyle(one);
  if (look.display === "none" || look.visibility === "hidden" || Number(look.opacity) === 0) return null;
  const made = /** @type {Element} */ (one.cloneNode(false)), drawn = !["g", "svg", "image"].includes(one.localName);
  for (const name of ["class", "style"]) made.removeAttribute(name);
  for (const [name, usual] of Object.entries(USUAL)) {
    const value = look.getPropertyValue(name), font = name.startsWith("font") || name === "text-anchor";
    if (value !== usual && (drawn ? !font || one.localName === "text" : name === "opacity")) made.setAttribute(name, value.replace(/px/g, ""));
  }
  if (one.localName === "rect" && look.rx !== "auto") made.setAttribute("rx", look.rx.replace("px", ""));
  if (one.localName === "text") made.setAttribute("dy", "0.35em"); // not every program knows of baselines
  if (look.transform !== "none") made.setAttribute("transform", look.transform.replace("matrix3d", "matrix"));
  for (const child of one.childNodes) {
    const inner = child instanceof Element ? resolved(child) : child.cloneNode();
    if (inner) made.append(inner);
  }
  return made;
}

// What is seen, as an SVG file of its own.
export function exported() {
  const {w, h} = viewport(), root = element("svg", {xmlns: SVG, width: w, height: h, viewBox: `0 0 ${w} ${h}`,
    "font-family": "'DejaVu Sans', Verdana, sans-serif"});
  for (const [item, job] of painting.jobs.splice(0)) if (built.has(item)) job(); // images that are still to come
  const colour = name => getComputedStyle(page).getPropertyValue(name).trim();
  element("rect", {width: w, height: h, fill: colour("--background")}, root);
  for (const [item, t] of painting.shown) {
    const group = element("g", {transform: `matrix(${t.k},0,0,${t.k},${t.tx},${t.ty})`}, root);
    for (const node of built.get(item).svg.children) {
      const seen = resolved(node);
      if (seen) group.append(seen);
    }
  }
  if (!legend.hidden) {
    const words = [...legend.querySelectorAll("span")].map(span => span.textContent).filter(Boolean);
    element("text", {x: 12, y: h - 14, "font-size": 12, fill: colour("--text")}, root).textContent =
      words.length > 2 ? `${words[0]}: from ${words[1]} to ${words[2]}, ${words[3]}` : words.join(": ");
  }
  // Names may hold characters that XML has no place for.
  return new XMLSerializer().serializeToString(root).replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "\ufffd");
}

// The same as pixels, twice as many as on screen.
async function rasterised() {
  const {w, h} = viewport(), image = new Image(), canvas = tag("canvas", {width: 2 * w, height: 2 * h});
  const address = URL.createObjectURL(new Blob([exported()], {type: "image/svg+xml"}));
  try {
    image.src = address;
    await image.decode();
    canvas.getContext("2d").drawImage(image, 0, 0, 2 * w, 2 * h);
  } finally {
    URL.revokeObjectURL(address);
  }
  return new Promise(done => canvas.toBlob(done, "image/png"));
}

export function download(blob, name) {
  const link = tag("a", {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

document.getElementById("export").addEventListener("click", () =>
  download(new Blob([exported()], {type: "image/svg+xml"}), "view.svg"));
document.getElementById("export-png").addEventListener("click", async () => {
  try {
    download(await rasterised(), "view.png");
  } catch (reason) {
    say(`the view could not be saved as PNG: ${reason.message}`);
  }
});
