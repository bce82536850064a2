// Input: wheel, pointers, keys, search, links to a state. What is selected is shown by a frame, the panel and the tree.

let selected = null;

function select(item, announce = true) {
  selected = item;
  showPanel(item);
  markInTree(item);
  if (announce) say(inWords(item));
  hot();
  changed();
}

// The curves of the selected box, brought out.
function hot() {
  document.querySelector(".hot")?.remove();
  const record = selected?.parent?.record, view = built.get(selected?.parent);
  if (!record?.c || !view) return;
  const d = DATA.interiors[record.i].l.filter(link => link[0] === selected.n || link[1] === selected.n).map(link => link[3]);
  if (d.length) view.svg.prepend(element("path", {d: d.join(""), class: "hot"}));
}

function inWords(item) {
  const what = item.kind === "cell" ? `value ${item.note}` : [item.kind, item.note].filter(Boolean).join(", ");
  return `${item.title}, ${what}${item.opens ? ", opens" : ""}`;
}

function say(text) { document.getElementById("live").textContent = text; }

function goTo(item) {
  select(item);
  fly(item);
}

stage.addEventListener("wheel", event => {
  event.preventDefault();
  flight = null;
  const [x, y] = local(event), speed = event.ctrlKey ? 0.01 : event.deltaMode ? 0.05 : 0.0016;
  zoomAt(limit(Math.exp(-Math.max(-240, Math.min(240, event.deltaY)) * speed), x, y), x, y);
}, {passive: false});

const pointers = new Map();
let travelled = 0, lastTap = null;

function local(event) {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

stage.addEventListener("pointerdown", event => {
  if (event.button || event.target.closest("#walk")) return;
  stage.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, local(event));
  travelled = pointers.size > 1 ? Infinity : 0;
  flight = null;
});

stage.addEventListener("pointermove", event => {
  const old = pointers.get(event.pointerId);
  if (!old) return;
  const now = local(event), other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  if (other) { // the middle of two fingers stays on what it is on
    const apart = p => Math.max(1, Math.hypot(p[0] - other[0], p[1] - other[1]));
    const x = (now[0] + other[0]) / 2, y = (now[1] + other[1]) / 2;
    pan((now[0] - old[0]) / 2, (now[1] - old[1]) / 2);
    zoomAt(limit(apart(now) / apart(old), x, y), x, y);
  } else {
    travelled += Math.hypot(now[0] - old[0], now[1] - old[1]);
    if (travelled > 4) { pan(now[0] - old[0], now[1] - old[1]); stage.classList.add("held"); }
  }
  pointers.set(event.pointerId, now);
});

for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, event => {
  if (!pointers.delete(event.pointerId)) return;
  stage.classList.remove("held");
  if (end === "pointerup" && travelled <= 4) tap(...local(event), event.timeStamp);
});

function tap(x, y, time) {
  const item = itemAt(x, y), again = lastTap && time - lastTap.time < 350 && Math.hypot(x - lastTap.x, y - lastTap.y) < 24;
  lastTap = {x, y, time};
  if (again) goTo(item);
  else select(item);
}

// -- keys ------------------------------------------------------------------------------------------------------------

const KEYS = {
  "+": () => zoomMiddle(1.35), "=": () => zoomMiddle(1.35), "-": () => zoomMiddle(1 / 1.35),
  "0": () => goTo(ROOT), Enter: enter, Escape: leave, "/": () => search.focus(),
  o: nextOverlay,
  ArrowLeft: () => beside(-1, 0), ArrowRight: () => beside(1, 0), ArrowUp: () => beside(0, -1), ArrowDown: () => beside(0, 1),
};

function zoomMiddle(factor) {
  const {w, h} = viewport();
  zoomAt(limit(factor, w / 2, h / 2), w / 2, h / 2);
}

function inFocus(item) {
  const box = rectangle(item), {w, h} = viewport();
  return Math.max(box.w / w, box.h / h) > 0.6;
}

function enter() {
  const item = selected ?? ROOT;
  if (item.opens && (inFocus(item) || item === ROOT) && item.kids.length) goTo(item.kids[0]);
  else goTo(item);
}

function leave() { goTo((selected ?? ROOT).parent ?? ROOT); }

// The nearest sibling in a direction.
function beside(dx, dy) {
  if (!selected?.parent) return enter();
  const middle = item => [item.bx + item.bw / 2, item.by + item.bh / 2], [x, y] = middle(selected);
  let best = null, least = Infinity;
  for (const kid of selected.parent.kids) {
    const [a, b] = middle(kid), along = (a - x) * dx + (b - y) * dy, aside = Math.abs((a - x) * dy) + Math.abs((b - y) * dx);
    if (kid !== selected && along > 1e-6 && along + 2.5 * aside < least) { best = kid; least = along + 2.5 * aside; }
  }
  if (!best) return;
  const wasNear = inFocus(selected), box = (select(best), rectangle(best)), {w, h} = viewport();
  if (wasNear) fly(best);
  else if (box.x < 0 || box.y < 0 || box.x + box.w > w || box.y + box.h > h)
    pan(w / 2 - box.x - box.w / 2, h / 2 - box.y - box.h / 2);
}

addEventListener("keydown", event => {
  if (event.target.closest("input, select, [role=tree], dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" && event.target.closest("button, a")) return;
  if (!KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});

// -- search ----------------------------------------------------------------------------------------------------------

const search = document.getElementById("search"), hits = document.getElementById("hits");
let index = null, hitAt = 0;

function* boxes(record, path = []) {
  yield [record, path];
  for (let i = 0; i < (record.c?.length ?? 0); i++) yield* boxes(record.c[i], [...path, i]);
}

function find(words) {
  index ??= [...boxes(DATA.root)].slice(1).map(([record, path]) =>
    ({record, path, text: [record.t, record.o, record.q, record.s, record.k].filter(Boolean).join(" ").toLowerCase()}));
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const found = wanted.length ? index.filter(one => wanted.every(word => one.text.includes(word))) : [];
  const rank = one => one.record.t.toLowerCase().startsWith(wanted[0]) ? 0 : 1;
  return found.sort((a, b) => rank(a) - rank(b) || a.path.length - b.path.length).slice(0, 12);
}

function showHits() {
  const found = find(search.value);
  hitAt = Math.min(hitAt, Math.max(0, found.length - 1));
  hits.replaceChildren(...found.map((one, i) => {
    const row = document.createElement("li");
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", i === hitAt);
    row.id = `hit${i}`;
    const where = itemOf(one.path).parent, name = document.createElement("b"), rest = document.createElement("span");
    name.textContent = one.record.t;
    rest.textContent = [one.record.s, where?.parent ? `in ${where.title}` : ""].filter(Boolean).join(" · ");
    row.append(name, rest);
    row.addEventListener("pointerdown", event => { event.preventDefault(); take(one); });
    return row;
  }));
  hits.hidden = !search.value;
  if (search.value && !found.length) {
    const row = document.createElement("li");
    row.textContent = "nothing found";
    hits.append(row);
  }
  search.setAttribute("aria-expanded", !hits.hidden);
  search.setAttribute("aria-activedescendant", found.length ? `hit${hitAt}` : "");
  return found;
}

function take(one) {
  search.value = "";
  showHits();
  search.blur();
  goTo(itemOf(one.path));
}

function itemOf(path) {
  let item = ROOT;
  for (const n of path) {
    const kid = item.opens ? item.kids[n] : undefined;
    if (!kid) break;
    item = kid;
  }
  return item;
}

search.addEventListener("input", () => { hitAt = 0; showHits(); });
search.addEventListener("blur", () => { hits.hidden = true; });
search.addEventListener("keydown", event => {
  const found = search.value ? find(search.value) : [];
  if (event.key === "Escape") { search.value = ""; showHits(); search.blur(); stage.focus(); }
  else if (event.key === "Enter" && found[hitAt]) { take(found[hitAt]); stage.focus(); }
  else if (event.key === "ArrowDown") hitAt = Math.min(found.length - 1, hitAt + 1);
  else if (event.key === "ArrowUp") hitAt = Math.max(0, hitAt - 1);
  else return;
  event.preventDefault();
  if (event.key.startsWith("Arrow")) showHits();
});

// -- a link to what is seen ------------------------------------------------------------------------------------------

function stateLink() {
  const {anchor, k, tx, ty} = camera, {w, h} = viewport(), short = v => +v.toPrecision(7);
  const parts = [`at=${anchor.path.join(".")}`, `see=${[(w / 2 - tx) / k, (h / 2 - ty) / k, w / k].map(short).join(",")}`];
  if (selected) parts.push(`on=${selected.path.join(".")}`);
  if (overlaid) parts.push(`show=${overlaid.n}`);
  return `#${parts.join("&")}`;
}

let linked = "", settling = 0;

function settle() { // nothing moves any more
  clearTimeout(settling);
  settling = setTimeout(() => {
    if (dirty || flight) return; // it moves again, and settles later
    delete stage.dataset.moving;
    linked = stateLink();
    try { history.replaceState(null, "", linked); } catch { /* a page in a frame may have no address */ }
  }, 250);
}

function restore() {
  if (!location.hash || location.hash === linked) return false;
  const parts = Object.fromEntries(location.hash.slice(1).split("&").map(part => part.split("=")));
  const path = text => (text ?? "").split(".").filter(Boolean).map(Number);
  setOverlay(parts.show);
  const [x, y, width] = (parts.see ?? "").split(",").map(Number);
  if (![x, y, width].every(Number.isFinite) || width <= 0) {
    if (!parts.on) return false;
    select(itemOf(path(parts.on)), false);
    land(selected);
    return true;
  }
  const {w, h} = viewport(), anchor = itemOf(path(parts.at)), inside = x >= 0 && y >= 0 && x <= anchor.w && y <= anchor.h;
  if (!anchor.opens || !inside) return false;
  const k = Math.min(w / width, largestScale(anchor));
  Object.assign(camera, {on: null, anchor, k, tx: w / 2 - k * x, ty: h / 2 - k * y});
  reroot();
  select(itemOf(path(parts.on)), false);
  return true;
}

addEventListener("hashchange", () => { if (restore()) changed(); });
