// The page's data out of their elements: text as it is, or base64 of gzip where there is much.

const PACKED = "application/gzip";

function fromBase64(text) {
  const {fromBase64: quick} = /** @type {any} */ (Uint8Array);
  if (quick) return quick.call(Uint8Array, text);
  const bytes = atob(text), out = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) out[i] = bytes.charCodeAt(i);
  return out;
}

async function content(id) {
  const {type, textContent} = /** @type {HTMLScriptElement} */ (document.getElementById(id)), text = textContent.trim();
  if (type === "application/json") return new Response(text);
  const bytes = new Blob([fromBase64(text)]);
  return new Response(type === PACKED ? bytes.stream().pipeThrough(new DecompressionStream("gzip")) : bytes);
}

// The still picture stays, with what is to be said about it, where the data cannot be had.
function trouble(text) {
  const line = document.getElementById("trouble");
  line.textContent = text;
  line.hidden = false;
}

if (!window.DecompressionStream && document.querySelector(`script[type="${PACKED}"]`)) {
  trouble("This is a still picture of the whole model. To zoom into it, open the page in a browser that unpacks gzip: "
    + "Chrome or Edge 80, Firefox 113, Safari 16.4, or later.");
  await new Promise(() => {}); // nothing follows
}

/** @type {import("./schema").PageData} */
export const DATA = await (await content("tinygraph-page")).json();
export const ELEMENTS = new Float32Array(await (await content("tinygraph-values")).arrayBuffer());
