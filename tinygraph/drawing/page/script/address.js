// The address as a link to what is seen.

import {stage} from "./dom.js";
import {setOverlay} from "./overlays.js";
import {eye, land, largestScale, reroot, viewport} from "./camera.js";
import {changed} from "./painting.js";
import {select} from "./controls.js";
import {itemOf} from "./finding.js";
import * as overlays from "./overlays.js";
import * as camera from "./camera.js";
import * as painting from "./painting.js";
import * as controls from "./controls.js";
import * as notes from "./notes.js";
import * as renames from "./renames.js";

function stateLink() {
  const {anchor, k, tx, ty} = eye, {w, h} = viewport(), short = v => +v.toPrecision(7);
  const parts = [`at=${anchor.path.join(".")}`, `see=${[(w / 2 - tx) / k, (h / 2 - ty) / k, w / k].map(short).join(",")}`];
  if (controls.selected) parts.push(`on=${controls.selected.path.join(".")}`);
  if (overlays.overlaid) parts.push(`show=${overlays.overlaid.name}`);
  parts.push(...notes.inLink(), ...renames.inLink());
  return `#${parts.join("&")}`;
}

let linked = "", settling = 0;
let led = true; // nobody has used this page since it opened, or since the page beside showed it what to look at: it does not lead

export function settle() { // nothing moves any more
  clearTimeout(settling);
  settling = setTimeout(() => {
    if (painting.dirty || camera.flight) return; // it moves again, and settles later
    delete stage.dataset.moving;
    const now = stateLink();
    if (now === linked) return;
    linked = now;
    try { history.replaceState(null, "", linked); } catch { /* a page in a frame may have no address */ }
    if (parent !== window && !led) parent.postMessage({tinygraph: linked}, "*"); // another page may stand beside this one
  }, 250);
}

export function restore() {
  return !!location.hash && location.hash !== linked && show(location.hash);
}

// Bring back what a link says.
function show(link) {
  const parts = Object.fromEntries(link.slice(1).split("&").map(part => part.split("=")));
  const path = text => (text ?? "").split(".").filter(Boolean).map(Number);
  setOverlay(parts.show);
  notes.fromLink(parts.notes);
  renames.fromLink(parts.names);
  const [x, y, width] = (parts.see ?? "").split(",").map(Number);
  if (![x, y, width].every(Number.isFinite) || width <= 0) {
    if (!parts.on) return false;
    select(itemOf(path(parts.on)), false);
    land(controls.selected);
    return true;
  }
  const {w, h} = viewport(), anchor = itemOf(path(parts.at)), inside = x >= 0 && y >= 0 && x <= anchor.w && y <= anchor.h;
  if (!anchor.opens || !inside) return false;
  const k = Math.min(w / width, largestScale(anchor));
  Object.assign(eye, {on: null, anchor, k, tx: w / 2 - k * x, ty: h / 2 - k * y});
  reroot();
  select(itemOf(path(parts.on)), false);
  return true;
}

addEventListener("hashchange", () => { if (restore()) changed(); });
addEventListener("message", event => { // from the page around: what the one beside shows
  const link = event.source === parent && parent !== window ? event.data?.tinygraph : undefined;
  if (typeof link !== "string" || link === linked) return;
  if (!led && "moving" in stage.dataset) return; // somebody moves here, and has done so last: this page will tell the one beside
  linked = link;
  led = true;
  if (show(link)) changed();
});
for (const kind of ["pointerdown", "keydown", "wheel"]) addEventListener(kind, () => { led = false; }, true);
