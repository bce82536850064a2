// What can be taken along of a box: its name, path, link, the call that draws it, its values as NPY or CSV.

import {tensorOf} from "./tensors.js";
import {tag} from "./dom.js";
import {say} from "./controls.js";
import * as exporting from "./exporting.js";
import * as renames from "./renames.js";

/** @typedef {import("./items.js").Item} Item */

/** @param {string} text @param {string} what */
async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page in a frame, or an old browser
    const field = tag("textarea", {readonly: "", style: "position:fixed;opacity:0"});
    if (!(field instanceof HTMLTextAreaElement)) return;
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  say(`copied ${what}`);
}

/** The titles on the way to an item. @param {Item} item */
export function pathOf(item) {
  const names = [];
  for (let one = item; one.parent; one = one.parent) names.unshift(one.title);
  return names.join(" / ");
}

/** @param {Item} item */
export function aboutTaking(item) {
  const name = item.record ? item.record.name || renames.ownTitle(item.record) : item.title;
  const call = `tg.draw(model, inputs=x, focus=${JSON.stringify(name.replace(/ · call \d+$/, ""))}${renames.asArgument()})`;
  const texts = {name, path: pathOf(item) || name, link: location.href, call};
  const parts = Object.entries(texts).map(([what, text]) => {
    const button = tag("button", {type: "button", title: text.length > 300 ? "" : text}, what);
    button.addEventListener("click", () => copy(text, what));
    return button;
  });
  const number = item.record?.values?.[0], tensor = number >= 0 ? tensorOf(number) : null;
  /** @type {[string, () => BlobPart, string][]} */
  const found = tensor ? [["NPY", () => npy(tensor), "application/octet-stream"], ["CSV", () => csv(tensor), "text/csv"]] : [];
  const files = found.map(([what, make, type]) => {
    const button = tag("button", {type: "button"}, what);
    button.addEventListener("click", () => exporting.download(new Blob([make()], {type}), `${name.replace(/[^\w.-]+/g, "_")}.${what.toLowerCase()}`));
    return button;
  });
  return [tag("h3", {}, "Copy"), tag("p", {class: "buttons"}, ...parts),
    ...(files.length ? [tag("h3", {}, "Values as a file"), tag("p", {class: "buttons"}, ...files)] : [])];
}

/** Bytes of a .npy file of float32. */
function npy(tensor) {
  const shape = tensor.shape.length === 1 ? `(${tensor.shape[0]},)` : `(${tensor.shape.join(", ")})`;
  const words = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
  const header = `${words}${" ".repeat(63 - (10 + words.length) % 64)}\n`;
  const bytes = new Uint8Array(10 + header.length + 4 * tensor.size), view = new DataView(bytes.buffer);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  view.setUint16(8, header.length, true);
  for (let i = 0; i < header.length; i++) bytes[10 + i] = header.charCodeAt(i);
  for (let i = 0; i < tensor.size; i++) view.setFloat32(10 + header.length + 4 * i, tensor.get(i), true);
  return bytes;
}

/** A line for each row of the last axis. */
function csv(tensor) {
  const wide = tensor.shape.at(-1) ?? 1, lines = [];
  for (let i = 0; i < tensor.size; i += wide)
    lines.push(Array.from({length: wide}, (_, j) => String(Math.fround(tensor.get(i + j)))).join(","));
  return `${lines.join("\n")}\n`;
}
