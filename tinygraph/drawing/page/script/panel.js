// Beside the drawing: the panel about what is selected, the tree for keyboards and screen readers, chips, themes, export.

function tag(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  made.append(...children);
  return made;
}

const panel = document.getElementById("about");

function showPanel(item) {
  const {record} = item, parts = [tag("h2", {}, item.title)];
  const kind = record?.o ? `op ${record.o}` : item.kind;
  const ran = hasRun(ownerOf(item)); // by the step at hand
  parts.push(tag("p", {class: "kind"}, [kind, (record || ran) && item.note].filter(Boolean).join(" · ")));
  if (record?.q && record.q !== item.title) parts.push(tag("p", {class: "full"}, record.q));
  if (item.opens) {
    const button = tag("button", {type: "button"}, "Zoom in");
    button.addEventListener("click", () => goTo(item));
    parts.push(button);
  }
  if (record?.o) parts.push(...aboutOp(record));
  if (record?.c) parts.push(...aboutGroup(item));
  if (record) parts.push(...aboutCosts(record));
  const value = record?.v?.[0];
  if (value >= 0) parts.push(...ran ? aboutTensor(DATA.values[value], "Value") : [tag("p", {class: "muted"}, "Not computed yet.")]);
  else if (record?.o) parts.push(tag("p", {class: "muted"}, "No values: the page was made without inputs."));
  if (record?.g >= 0 && hasGradient(record)) parts.push(...aboutTensor(DATA.values[record.g], "Gradient of the output"));
  if (!ran && !record) return panel.replaceChildren(...parts);
  if (item instanceof Cell) parts.push(tag("p", {class: "big"}, item.note), ...(item.sum
    ? [tag("h3", {}, item.sum instanceof Reach ? "What it is a part of" : "How it comes about"), ...item.sum.words().map(line => tag("p", {}, line))] : []));
  if (item instanceof Grid) parts.push(...aboutPlane(item));
  if (record?.o && DATA.ops[record.o].card) parts.push(tag("h3", {}, "Conformance card"), rows(DATA.ops[record.o].card));
  if (item instanceof Couple) parts.push(...item.found.map(one => tag("p", {}, `${one.label} = ${number(one.value)}`)));
  panel.replaceChildren(...parts);
}

function rows(pairs) {
  return tag("dl", {}, ...pairs.flatMap(([name, value]) => [tag("dt", {}, name), tag("dd", {}, value)]));
}

// A type as the program writes it: `int64[1]` is no value.
function typeText(tensor) { return tensor.s.length ? `${tensor.d}[${tensor.s.join(",")}]` : `${tensor.d} scalar`; }

function aboutOp(record) {
  const op = DATA.ops[record.o], parts = [];
  if (op.f) parts.push(tag("p", {class: "formula"}, op.f));
  const pairs = record.in.map((number, i) => {
    const types = number >= 0 ? typeText(DATA.values[number]) : "–";
    return [op.a[Math.min(i, op.a.length - 1)], types];
  }).filter(([, types]) => types !== "–");
  const out = record.v[0] >= 0 ? DATA.values[record.v[0]] : null;
  if (out) pairs.push(["result", typeText(out)]);
  for (const [name, value] of record.set ?? []) pairs.push([name, value]);
  if (pairs.length) parts.push(tag("h3", {}, "Operands and settings"), rows(pairs));
  const rules = Object.entries(op.d);
  if (rules.length) parts.push(tag("h3", {}, "Backward"), rows(rules.map(([name, text]) => [`for ${name}`, text])));
  else parts.push(tag("h3", {}, "Backward"), tag("p", {class: "muted"}, "No gradient flows through this op."));
  if (record.src) parts.push(tag("h3", {}, "Source"), tag("p", {class: "source"}, record.src), ...(record.line
    ? [tag("pre", {}, record.line)] : []));
  return parts;
}

function aboutGroup(item) {
  let ops = 0;
  for (const [record] of boxes(item.record)) if (record.o) ops++;
  return [rows([["ops inside", ops.toLocaleString("en")], ["boxes", String(item.record.c.length)]]), ...arrowsIn(item.record)];
}

// What the arrows of a group mean, where there are others than those of the forward pass.
function arrowsIn(record) {
  const roles = new Set(DATA.interiors[record.i].l.map(([, , role]) => role));
  if (roles.size < 2) return [];
  const words = {data: "values, downward", gradient: "gradients, upward", saved: "kept for the backward pass"};
  return [tag("h3", {}, "Arrows"), tag("dl", {class: "arrows"}, ...Object.keys(words).filter(role => roles.has(role))
    .flatMap(role => [tag("dt", {class: role}), tag("dd", {}, words[role])]))];
}

// What each overlay says of a box, and its share of the whole where amounts add up.
function aboutCosts(record) {
  const pairs = [];
  for (const one of DATA.overlays) {
    const amount = amountNow(record, one), whole = amountOf(ROOT.record, one);
    if (amount === null) continue;
    const adds = record !== ROOT.record && amount > 0 && whole > 0 && one.n !== "gradient_norm" && !one.most;
    const share = adds ? 100 * amount / whole : null, words = share < 0.1 ? "< 0.1" : share && number(share, 2);
    pairs.push([OVERLAY_NAMES[one.n] ?? one.n, amountText(one.n, amount) + firstText(record, one) + (adds ? ` · ${words} %` : "")]);
  }
  return pairs.length ? [tag("h3", {}, "Costs"), rows(pairs)] : [];
}

function aboutTensor(record, heading) {
  const parts = [tag("h3", {}, heading)], [low, high, mean, deviation] = record.st ?? [];
  if (record.st) parts.push(rows([["range", `${number(low)} … ${number(high)}`], ["mean", number(mean)],
    ["deviation", number(deviation)], ...(record.bad ? [["not finite", String(record.bad)]] : [])]));
  if (record.h) parts.push(histogram(record.h, low, high));
  if (record.at < 0 && product(record.s)) parts.push(tag("p", {class: "muted"}, "Its elements are not in this page."));
  return parts;
}

// A plane has no statistics in the data; they are quickly counted.
function aboutPlane(grid) {
  const found = [];
  for (let i = 0; i < grid.rows; i++) for (let j = 0; j < grid.columns; j++) {
    const flat = grid.at(i, j), v = flat < 0 ? NaN : grid.tensor.get(flat);
    if (Number.isFinite(v)) found.push(v);
  }
  if (!found.length) return [];
  const low = found.reduce((a, b) => Math.min(a, b)), high = found.reduce((a, b) => Math.max(a, b));
  const mean = found.reduce((a, b) => a + b, 0) / found.length, h = new Array(24).fill(0);
  const deviation = Math.sqrt(found.reduce((a, b) => a + (b - mean) ** 2, 0) / found.length);
  if (high > low) for (const v of found) h[Math.min(23, Math.floor((v - low) / (high - low) * 24))]++;
  return aboutTensor({st: [low, high, mean, deviation], h: high > low ? h : null, at: 0, s: []}, "Values of this plane");
}

function histogram(counts, low, high) {
  const most = Math.max(...counts), svg = element("svg", {viewBox: "0 0 240 64", class: "histogram", role: "img",
    "aria-label": `histogram from ${number(low)} to ${number(high)}`});
  counts.forEach((count, i) => {
    const height = count ? Math.max(1.5, 60 * count / most) : 0, middle = low + (high - low) * (i + 0.5) / counts.length;
    element("rect", {x: i * 10 + 0.5, y: 62 - height, width: 9, height, class: middle < 0 ? "minus" : "plus"}, svg);
  });
  element("path", {d: "M0,62.5H240"}, svg);
  return svg;
}

// -- over the drawing ------------------------------------------------------------------------------------------------

const chips = document.getElementById("chips"), frameOfSelected = document.getElementById("selected");
const trail = document.getElementById("trail");
let trailOf = null;

function overlay() {
  const {w, h} = viewport(), wanted = [];
  for (const [item] of shown) {
    if (!item.parent || item.tile || !shown.has(item.parent)) continue;
    const box = boxOnScreen(item, shown.get(item.parent));
    if (box.w < 90 || box.h < 50 || box.x > w - 60 || box.y > h - 30 || box.x + box.w < 80 || box.y + box.h < 40) continue;
    if (item instanceof Grid || item instanceof Stack || item instanceof Cell || item instanceof Partial) continue;
    wanted.push([item, Math.max(4, box.x), Math.max(4, box.y - (box.y > 26 ? 22 : 0)), box.w]);
  }
  while (chips.children.length > wanted.length) chips.lastChild.remove();
  wanted.forEach(([item, x, y, room], i) => {
    const chip = chips.children[i] ?? chips.appendChild(tag("span"));
    if (chip.textContent !== item.title) chip.textContent = item.title;
    chip.style.transform = `translate(${Math.round(x)}px,${Math.round(y)}px)`;
    chip.style.maxWidth = `${Math.round(Math.min(room, 260))}px`;
  });
  const box = selected?.parent && rectangle(selected);
  frameOfSelected.hidden = !box || box.x > w || box.y > h || box.x + box.w < 0 || box.y + box.h < 0;
  if (!frameOfSelected.hidden) {
    const x = Math.max(box.x, -20), y = Math.max(box.y, -20);
    Object.assign(frameOfSelected.style, {transform: `translate(${x}px,${y}px)`,
      width: `${Math.min(box.x + box.w, w + 20) - x}px`, height: `${Math.min(box.y + box.h, h + 20) - y}px`});
  }
  crumbs();
}

function crumbs() {
  showLegend(camera.anchor);
  if (trailOf === camera.anchor) return;
  trailOf = camera.anchor;
  const chain = [];
  for (let one = camera.anchor; one; one = one.parent) chain.unshift(one);
  trail.replaceChildren(...chain.map((item, i) => {
    const crumb = tag("button", {type: "button", ...(i === chain.length - 1 ? {"aria-current": "location"} : {})}, item.title);
    crumb.addEventListener("click", () => goTo(item));
    return tag("li", {}, crumb);
  }));
  trail.scrollLeft = trail.scrollWidth;
}

// -- the tree --------------------------------------------------------------------------------------------------------

const treeRoot = document.getElementById("tree"), treeRows = new Map(), MOST_ROWS = 300;

function treeItem(item, level) {
  const label = tag("span", {class: "row"}, tag("b", {class: "twist"}), tag("i", {class: `dot k-${item.kind}`}), tag("span", {}, item.title),
    tag("small", {}, item.note));
  const row = tag("li", {role: "treeitem", tabindex: "-1", "aria-level": level, "aria-selected": "false",
    "aria-label": inWords(item)}, label);
  if (item.opens) row.setAttribute("aria-expanded", "false");
  row.item = item;
  treeRows.set(item, row);
  return row;
}

function expand(row, yes = true) {
  if (!row.item.opens || (row.getAttribute("aria-expanded") === "true") === yes) return;
  row.setAttribute("aria-expanded", yes);
  row.querySelector(":scope > ul")?.remove();
  if (!yes) return;
  const level = Number(row.getAttribute("aria-level")) + 1;
  row.append(tag("ul", {role: "group"}, ...row.item.kids.slice(0, MOST_ROWS).map(kid => treeItem(kid, level))));
}

function markInTree(item) {
  treeRoot.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
  const chain = [];
  for (let one = item; one; one = one.parent) chain.unshift(one);
  let row = treeRows.get(ROOT);
  for (const one of chain.slice(1)) {
    expand(row);
    const inner = [...row.querySelectorAll(":scope > ul > li")].find(li => li.item === one);
    if (!inner) break;
    row = inner;
  }
  row.setAttribute("aria-selected", "true");
  for (const one of treeRoot.querySelectorAll("[tabindex='0']")) one.tabIndex = -1;
  row.tabIndex = 0;
  row.scrollIntoView({block: "nearest"});
}

treeRoot.addEventListener("click", event => {
  const row = event.target.closest("li");
  if (!row) return;
  if (event.target.matches(".twist")) return expand(row, row.getAttribute("aria-expanded") !== "true");
  goTo(row.item);
});

treeRoot.addEventListener("keydown", event => {
  const row = event.target.closest("li"), opened = row.getAttribute("aria-expanded") === "true";
  const visible = [...treeRoot.querySelectorAll("li")], at = visible.indexOf(row);
  const focus = one => { if (one) { row.tabIndex = -1; one.tabIndex = 0; one.focus(); } };
  const keys = {
    ArrowDown: () => focus(visible[at + 1]), ArrowUp: () => focus(visible[at - 1]),
    ArrowRight: () => opened ? focus(row.querySelector("li")) : expand(row),
    ArrowLeft: () => opened ? expand(row, false) : focus(row.parentElement.closest("li")),
    Home: () => focus(visible[0]), End: () => focus(visible.at(-1)),
    Enter: () => goTo(row.item), " ": () => goTo(row.item), "/": () => search.focus(), Escape: () => stage.focus(),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  keys[event.key]();
});

// -- themes ----------------------------------------------------------------------------------------------------------

const themes = document.getElementById("theme"), page = document.documentElement;

function setTheme(name) {
  page.dataset.theme = name === "auto" ? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light") : name;
  const colour = getComputedStyle(page).getPropertyValue("--zero").trim().match(/\d+/g);
  if (colour) zero = colour.map(Number);
  [heat, cold] = ["--heat", "--background"].map(name => rgbOf(getComputedStyle(page).getPropertyValue(name)));
  repaint();
}

function rgbOf(hex) { return [1, 3, 5].map(i => parseInt(hex.trim().slice(i, i + 2), 16)); }

themes.addEventListener("change", () => setTheme(themes.value));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(themes.value));

for (const [id, css] of [["show-tree", "no-tree"], ["show-about", "no-about"]])
  document.getElementById(id).addEventListener("click", event => {
    const hidden = document.body.classList.toggle(css);
    event.currentTarget.setAttribute("aria-pressed", !hidden);
    changed();
  });

// -- export ----------------------------------------------------------------------------------------------------------

// What is seen, as an SVG file of its own.
function exported() {
  const {w, h} = viewport(), root = element("svg", {xmlns: SVG, width: w, height: h, viewBox: `0 0 ${w} ${h}`});
  const rules = [];
  for (const [item, job] of jobs.splice(0)) if (built.has(item)) job(); // images that are still to come
  for (const rule of document.getElementById("look").sheet.cssRules) if (/svg|\.k-/.test(rule.cssText)) rules.push(rule.cssText);
  const style = element("style", {}, root), variables = getComputedStyle(page);
  const values = ["--background", "--text", "--muted", "--data", "--gradient", "--saved", "--frame", "--accent", "--raised"];
  style.textContent = `svg{${values.map(name => `${name}:${variables.getPropertyValue(name)}`).join(";")};font-family:sans-serif}`
    + rules.join("\n").replaceAll(`[data-theme="${page.dataset.theme}"]`, "");
  element("rect", {width: w, height: h, style: "fill:var(--background)"}, root);
  for (const [item, t] of shown) {
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
