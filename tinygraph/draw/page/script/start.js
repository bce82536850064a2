// The beginning: the whole model, or what the address or the maker of the page asks for.

const ROOT = new Box(DATA.root);
ROOT.place(0, 0, 0, 0);
camera.anchor = ROOT;

function start() {
  document.body.classList.add("live");
  document.getElementById("still")?.remove();
  treeRoot.append(treeItem(ROOT, 1));
  expand(treeRows.get(ROOT));
  setTheme(themes.value);
  selected = ROOT;
  land(ROOT);
  showPanel(ROOT);
  markInTree(ROOT);
  if (!restore() && DATA.start) {
    const item = itemOf(DATA.start);
    select(item, false);
    land(item);
  }
  new ResizeObserver(changed).observe(stage);
}

start();
