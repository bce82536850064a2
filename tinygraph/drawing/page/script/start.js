// The beginning: the whole model, or what the address or the maker of the page asks for.

import {DATA} from "./payload.js";
import {ravel} from "./tensors.js";
import {stage} from "./dom.js";
import {Cell} from "./grids.js";
import {Sum} from "./sums.js";
import {Pair} from "./channels.js";
import {ROOT} from "./model.js";
import {setOverlay} from "./overlays.js";
import {eye, land} from "./camera.js";
import {changed} from "./painting.js";
import {select} from "./controls.js";
import {itemOf} from "./finding.js";
import {restore} from "./address.js";
import {expand, treeItem, treeRoot, treeRows} from "./outline.js";
import {setTheme, themes} from "./looks.js";

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

function begin() {
  document.body.classList.add("live");
  document.getElementById("still")?.remove();
  if (matchMedia("(max-width: 760px)").matches) document.getElementById("show-tree").click();
  treeRoot.append(treeItem(ROOT, 1));
  expand(treeRows.get(ROOT));
  setTheme(themes.value);
  select(ROOT, false);
  land(ROOT);
  if (DATA.overlay) setOverlay(DATA.overlay);
  if (!restore() && DATA.start) {
    const item = cellOf(itemOf(DATA.start), DATA.element);
    select(item, false);
    land(item);
  }
  new ResizeObserver(() => eye.on ? land(eye.on) : changed()).observe(stage);
}

begin();
