// What is seen, as a file: SVG or pixels.

import {element, SVG, tag} from "./dom.js";
import {legend} from "./overlays.js";
import {viewport} from "./camera.js";
import {built} from "./painting.js";
import {say} from "./controls.js";
import {page} from "./looks.js";
import * as painting from "./painting.js";

// What is seen, as an SVG file of its own.
function exported() {
  const {w, h} = viewport(), root = element("svg", {xmlns: SVG, width: w, height: h, viewBox: `0 0 ${w} ${h}`});
  const rules = [];
  for (const [item, job] of painting.jobs.splice(0)) if (built.has(item)) job(); // images that are still to come
  for (const rule of /** @type {HTMLStyleElement} */ (document.getElementById("look")).sheet.cssRules) if (/svg|\.k-/.test(rule.cssText)) rules.push(rule.cssText);
  const style = element("style", {}, root), variables = getComputedStyle(page);
  const values = ["--background", "--text", "--muted", "--data", "--gradient", "--saved", "--frame", "--accent", "--raised"];
  style.textContent = `svg{${values.map(name => `${name}:${variables.getPropertyValue(name)}`).join(";")};font-family:sans-serif}`
    + rules.join("\n").replaceAll(`[data-theme="${page.dataset.theme}"]`, "");
  element("rect", {width: w, height: h, style: "fill:var(--background)"}, root);
  for (const [item, t] of painting.shown) {
    const view = built.get(item), group = element("g", {transform: `matrix(${t.k},0,0,${t.k},${t.tx},${t.ty})`,
      style: `--sw:${view.svg.style.getPropertyValue("--sw")}`}, root);
    group.append(...[...view.svg.childNodes].map(node => node.cloneNode(true)));
  }
  if (!legend.hidden) {
    const words = [...legend.querySelectorAll("span")].map(span => span.textContent).filter(Boolean);
    element("text", {x: 12, y: h - 14, style: "text-anchor:start;font-size:12px"}, root).textContent =
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

function download(blob, name) {
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
