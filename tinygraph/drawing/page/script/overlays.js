// Overlays: what is known of each box besides its shape - time, arithmetic, memory, gradients - as a tint and a line.
// Groups add up what is inside them, so there is something to say at every level.

const OVERLAYS = Object.fromEntries(DATA.overlays.map(one => [one.n, one]));
const OVERLAY_NAMES = {time: "Time", flops: "Operations", bytes: "Bytes", saved: "Kept for backward", alive: "Bytes alive",
  gradient_norm: "Gradient norm", nan: "Not finite", coverage: "Missing derivatives"};
const NOTHING = {saved: "nothing kept", nan: "all finite", coverage: "none missing"};

let overlaid = null;                    // the overlay that is on
let heat = [244, 121, 59], cold = [255, 255, 255]; // the colours of its largest amount and of none, which the theme sets

// What must have happened, where somebody steps, before there is something to say.
const MEASURED = {time: hasRun, nan: hasRun, gradient_norm: hasGradient};

// What an overlay says of a box by the step at hand.
function amountNow(record, one) { return (MEASURED[one.n]?.(record) ?? true) ? amountOf(record, one) : null; }

// What an overlay says of a box with all in it; null where it says nothing.
function amountOf(record, one) {
  const known = one.totals ??= new Map();
  let total = known.get(record);
  if (total === undefined) {
    const norm = one.n === "gradient_norm"; // of everything in the box as one vector
    const add = amount => {
      if (amount !== null) total = one.most ? Math.max(total ?? 0, amount) : (total ?? 0) + (norm ? amount ** 2 : amount);
    };
    for (const z of record.zs ?? (record.z === undefined ? [] : [record.z])) add(one.a[z] === null ? null : Number(one.a[z]));
    for (const kid of record.c ?? []) add(amountOf(kid, one));
    total = total === undefined ? null : norm ? Math.sqrt(total) : total;
    known.set(record, total);
  }
  return total;
}

function prefixed(amount) {
  for (const [scale, prefix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (amount >= scale) return `${number(amount / scale, 3)} ${prefix}`;
  return `${number(amount, 3)} `;
}

function amountText(name, amount) {
  if (amount === 0 && NOTHING[name]) return NOTHING[name];
  if (name === "time") {
    const [scale, unit] = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]].find(([scale]) => amount >= scale) ?? [1e-6, "µs"];
    return `${number(amount / scale, 3)} ${unit}`;
  }
  if (["bytes", "saved", "alive"].includes(name)) return `${prefixed(amount)}B`;
  if (name === "flops") return `${prefixed(amount)}flop`;
  if (name === "coverage") return `${number(amount)} missing`;
  return name === "nan" ? `${amount.toLocaleString("en")} not finite` : `norm ${number(amount)}`;
}

// The line of a box under the overlay that is on; null where it says nothing of the box.
function overlayLine(record) {
  const amount = record && overlaid ? amountNow(record, overlaid) : null;
  return amount === null ? null : amountText(overlaid.n, amount) + firstText(record, overlaid);
}

// That an op is the first of its pass whose numbers are not finite, where it is.
function firstText(record, one) { return one.first?.[record.z] ? ` · ${one.first[record.z]}` : ""; }

// The largest amount among the boxes of a group: what the full tint stands for there.
function largestOf(record) {
  const amounts = record.c.map(kid => amountNow(kid, overlaid)).filter(Number.isFinite);
  return Math.max(0, ...amounts);
}

function tinted(record, parent) {
  const amount = amountNow(record, overlaid), most = amount === null ? 0 : largestOf(parent);
  if (amount === null) return null;
  const share = Number.isFinite(amount) ? (most ? amount / most : 0) : 1;
  return `rgb(${cold.map((from, i) => Math.round(from + (heat[i] - from) * share)).join(",")})`;
}

// -- the switch and the legend ---------------------------------------------------------------------------------------

const overlaySwitch = document.getElementById("overlay"), legend = document.getElementById("legend");

for (const {n} of DATA.overlays) overlaySwitch.append(new Option(OVERLAY_NAMES[n] ?? n, n));
overlaySwitch.hidden = !DATA.overlays.length;

function setOverlay(name) {
  const before = overlaid;
  overlaid = OVERLAYS[name] ?? null;
  overlaySwitch.value = overlaid?.n ?? "";
  if (overlaid !== before) repaint();
}

function nextOverlay() {
  const names = ["", ...DATA.overlays.map(one => one.n)];
  setOverlay(names[(names.indexOf(overlaid?.n ?? "") + 1) % names.length]);
  say(`overlay: ${overlaySwitch.selectedOptions[0].textContent}`);
}

overlaySwitch.addEventListener("change", () => setOverlay(overlaySwitch.value));

// What the tint means where one is.
function showLegend(item) {
  while (item && !item.record?.c) item = item.parent;
  legend.hidden = !overlaid || !item;
  if (legend.hidden) return;
  const most = largestOf(item.record), words = [OVERLAY_NAMES[overlaid.n], most ? "0" : "",
    amountText(overlaid.n, most), most ? `the largest in ${item.title}` : ""];
  [...legend.querySelectorAll("span")].forEach((span, i) => { span.textContent = words[i]; });
  legend.querySelector("i").hidden = !most;
}
