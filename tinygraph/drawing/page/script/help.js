// The keys, shown by "?"; and the page on paper: what is seen, on one sheet.

import {tag} from "./dom.js";
import {KEYS} from "./controls.js";
import {exported} from "./exporting.js";

const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("keys"));

KEYS["?"] = () => dialog.showModal();
document.getElementById("help").addEventListener("click", () => dialog.showModal());
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });

addEventListener("beforeprint", () => {
  const picture = tag("img", {id: "on-paper", alt: document.title, src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(exported())}`});
  document.getElementById("on-paper")?.remove();
  document.body.append(picture);
});
addEventListener("afterprint", () => document.getElementById("on-paper")?.remove());
