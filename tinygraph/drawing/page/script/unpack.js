// The page's data out of their elements, into DATA and ELEMENTS: text as it is, or base64 of gzip where there is much.

const PACKED = "application/gzip";

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const bytes = atob(text), out = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) out[i] = bytes.charCodeAt(i);
  return out;
}

async function content(id) {
  const {type, textContent} = document.getElementById(id), text = textContent.trim();
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
  return;
}
const DATA = await (await content("tinygraph-page")).json();
const ELEMENTS = new Float32Array(await (await content("tinygraph-values")).arrayBuffer());
