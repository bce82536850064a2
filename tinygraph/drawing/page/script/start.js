// The beginning: the whole model, or what the address or the maker of the page asks for.

const ROOT = new Box(DATA.root);
ROOT.place(0, 0, 0, 0);
camera.anchor = ROOT;

// The cell of an op's result at an index, where there is one.
function cellOf(op, index) {
  const tensor = op.tensor;
  if (!tensor || index.length !== tensor.shape.length || !index.every(Number.isInteger)) return op;
  const flat = ravel(index, tensor.shape);
  const within = item => {
    if (item.tensor === tensor && item instanceof Cell) return item.flat === flat && item.sum instanceof Sum ? item : null;
    if (item instanceof Pair || !item.opens || (item !== op && item.tensor && item.tensor !== tensor)) return null;
    for (const kid of item.kids) {
      const found = within(kid);
      if (found) return found;
    }
    return null;
  };
  return within(op) ?? op;
}

function start() {
  document.body.classList.add("live");
  document.getElementById("still")?.remove();
  if (matchMedia("(max-width: 760px)").matches) document.getElementById("show-tree").click();
  treeRoot.append(treeItem(ROOT, 1));
  expand(treeRows.get(ROOT));
  setTheme(themes.value);
  selected = ROOT;
  showPanel(ROOT);
  land(ROOT);
  markInTree(ROOT);
  if (DATA.overlay) setOverlay(DATA.overlay);
  if (!restore() && DATA.start) {
    const item = cellOf(itemOf(DATA.start), DATA.element);
    select(item, false);
    land(item);
  }
  new ResizeObserver(() => camera.on ? land(camera.on) : changed()).observe(stage);
}

start();
