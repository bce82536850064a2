// Stepping through the program one op at a time, forward and then backward, with the numbers appearing.

const walker = {steps: null, at: 0, marks: new Map(), timer: 0};
const walkBar = document.getElementById("walk"), walkWords = document.getElementById("walk-words");

// All ops in the order in which they ran, then those that have a gradient in the opposite order.
function stepsOf() {
  const ops = [...boxes(DATA.root)].filter(([record]) => record.o).sort(([a], [b]) => a.z - b.z)
    .map(([record, path]) => ({record, path, number: record.v[0], backward: false, name: nameOf(record, path)}));
  const back = ops.filter(step => step.record.g >= 0).reverse().map(step => ({...step, number: step.record.g, backward: true}));
  return [...ops, ...back];
}

// An op's title, after that of what it is the derivative of where several ops are.
function nameOf(record, path) {
  const around = path.slice(0, -1).reduce((one, i) => one.c[i], DATA.root);
  return around.p ? `${around.t}: ${record.t}` : record.t;
}

function normOf(step) {
  const record = DATA.values[step.number];
  return record?.st ? Math.sqrt((record.st[2] ** 2 + record.st[3] ** 2) * product(record.s)) : NaN;
}

// A condition to stop at: an op's name, "nan", or "norm > 1000".
function condition(text) {
  const norm = text.match(/^\s*norm\s*([<>])\s*([\d.e+-]+)\s*$/i);
  if (norm) return step => norm[1] === ">" ? normOf(step) > Number(norm[2]) : normOf(step) < Number(norm[2]);
  if (text.trim().toLowerCase() === "nan") return step => DATA.values[step.number]?.bad > 0;
  const words = text.trim().toLowerCase();
  return step => words && (step.record.o === words || step.name.toLowerCase().includes(words));
}

function walkTo(at) {
  const {steps} = walker;
  walker.at = Math.max(0, Math.min(steps.length - 1, at));
  const step = steps[walker.at], item = itemOf(step.path), back = one => !!(one.backward || one.record.p);
  const pass = steps.filter(one => back(one) === back(step));
  walkWords.textContent = `${back(step) ? "backward" : "forward"} ${pass.indexOf(step) + 1} of ${pass.length} · ${step.name}`
    + (Number.isNaN(normOf(step)) ? "" : ` · norm ${number(normOf(step))}`);
  refreshed();
  select(item);
  const box = rectangle(item), {w, h} = viewport();
  const seen = box.x >= 0 && box.y >= 0 && box.x + box.w <= w && box.y + box.h <= h && Math.max(box.w, box.h) > 40;
  if (!seen) fly(item.parent);
}

// After a step: what stands in boxes changes with it.
function refreshed() {
  if (overlaid && overlaid.n in MEASURED) repaint();
  for (const view of built.values()) markSteps(view);
}

// Boxes that have not run yet stand back without numbers; those whose gradient is there are framed.
function markSteps(view) {
  const {item} = view, step = walker.steps?.[walker.at];
  if (!item.record?.c) return view.svg.classList.toggle("unrun", !hasRun(ownerOf(item)));
  for (const [kid, {group}] of view.covers) {
    const [first] = spanOf(kid.record), box = group.parentNode;
    box.classList.toggle("later", !!step && !step.backward && first > step.record.z);
    box.classList.toggle("unfinished", !hasRun(kid.record));
    const arrives = !!step && first >= 0 && !!(kid.record.c || kid.record.o); // a leaf's frame says what it is
    box.classList.toggle("graded", arrives && hasGradient(kid.record));
  }
}

// The record of the op or leaf that an item is inside of.
function ownerOf(item) {
  while (!item.record) item = item.parent;
  return item.record;
}

// Whether what a box shows, or all in it, has been computed by the step at hand; true where nobody steps.
function hasRun(record) {
  const step = walker.steps?.[walker.at];
  return !step || step.backward || (record.c && record.at !== undefined ? record.at : spanOf(record)[1]) <= step.record.z;
}

// Whether all gradients of a box have arrived by the step at hand: those of an op's result when its own turn comes, those
// of a leaf when the first op that read it has had its turn, since the way goes back.
function hasGradient(record) {
  const step = walker.steps?.[walker.at];
  if (!step) return true;
  walker.reads ??= readsOf(walker.steps);
  const first = record.c || record.o ? spanOf(record)[0] : walker.reads.get(record.v?.[0]) ?? Infinity;
  return step.backward && first >= step.record.z;
}

// The number of a value -> that of the first op that reads it.
function readsOf(steps) {
  const found = new Map();
  for (const {record} of steps) for (const number of record.in)
    if (!(found.get(number) <= record.z)) found.set(number, record.z);
  return found;
}

// The numbers of the first and the last op in a box; -1 where there is none, as in a leaf, which is there from the start.
function spanOf(root) {
  if (root.span) return root.span;
  let first = Infinity, last = -1;
  for (const [record] of boxes(root)) {
    const at = record.o || record.f === "seed" ? record.z : record.at;
    if (at !== undefined) { first = Math.min(first, at); last = Math.max(last, at); }
  }
  return root.span = last < 0 ? [-1, -1] : [first, last];
}

function walkOn(way) {
  stopRunning();
  walkTo(walker.at + way);
}

function stopRunning() {
  clearInterval(walker.timer);
  walker.timer = 0;
  document.getElementById("walk-run").setAttribute("aria-pressed", "false");
}

function run() {
  if (walker.timer) return stopRunning();
  const wanted = condition(document.getElementById("walk-until").value);
  document.getElementById("walk-run").setAttribute("aria-pressed", "true");
  walker.timer = setInterval(() => {
    if (walker.at >= walker.steps.length - 1) return stopRunning();
    walkTo(walker.at + 1);
    if (wanted(walker.steps[walker.at])) {
      stopRunning();
      say(`stopped at ${walker.steps[walker.at].name}`);
    }
  }, reduced() ? 700 : 450);
}

function toggleWalk() {
  const on = !walker.steps;
  stopRunning();
  walker.steps = on ? stepsOf() : null;
  if (on && !walker.steps.length) walker.steps = null;
  walkBar.hidden = !walker.steps;
  document.getElementById("step").setAttribute("aria-pressed", !!walker.steps);
  if (walker.steps) return walkTo(0);
  refreshed();
  showPanel(selected ?? ROOT);
}

document.getElementById("step").addEventListener("click", toggleWalk);
document.getElementById("walk-back").addEventListener("click", () => walkOn(-1));
document.getElementById("walk-on").addEventListener("click", () => walkOn(1));
document.getElementById("walk-run").addEventListener("click", run);
document.getElementById("walk-until").addEventListener("keydown", event => {
  if (event.key === "Enter") run();
  if (event.key === "Escape") stage.focus();
});
KEYS["."] = () => walker.steps ? walkOn(1) : toggleWalk();
KEYS[","] = () => walker.steps && walkOn(-1);
