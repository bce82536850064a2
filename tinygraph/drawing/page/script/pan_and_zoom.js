// Moves and zooms the one picture of a page: by dragging, the wheel, two fingers or keys.
// The picture is scaled by its own box, so text stays sharp; the wheel keeps the point under the pointer in place.
const stage = document.querySelector("main"), svg = stage.querySelector("svg");
const size = svg.viewBox.baseVal, start = Math.min(1.3333, stage.clientWidth / size.width);
let k = start, x = Math.max(0, (stage.clientWidth - size.width * k) / 2), y = 0;
const pointers = new Map();
function show() {
  svg.style.width = size.width * k + "px";
  svg.style.height = size.height * k + "px";
  svg.style.transform = `translate(${x}px, ${y}px)`;
}
export function zoom(factor, cx, cy) {
  const next = Math.min(20, Math.max(0.02, k * factor));
  x = cx - (cx - x) * next / k; y = cy - (cy - y) * next / k; k = next;
  show();
}
export function fit() {
  k = Math.min(stage.clientWidth / size.width, stage.clientHeight / size.height);
  x = (stage.clientWidth - size.width * k) / 2; y = (stage.clientHeight - size.height * k) / 2;
  show();
}
stage.addEventListener("wheel", e => {
  e.preventDefault();
  zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0015)), e.clientX, e.clientY);
}, {passive: false});
stage.addEventListener("pointerdown", e => {
  pointers.set(e.pointerId, e);
  stage.setPointerCapture(e.pointerId);
});
stage.addEventListener("pointermove", e => {
  const old = pointers.get(e.pointerId);
  if (!old) return;
  const other = [...pointers.values()].find(p => p.pointerId !== e.pointerId);
  if (other) {
    const far = p => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
    zoom(far(e) / Math.max(1, far(old)), (e.clientX + other.clientX) / 2, (e.clientY + other.clientY) / 2);
  } else {
    x += e.clientX - old.clientX; y += e.clientY - old.clientY; show();
  }
  pointers.set(e.pointerId, e);
});
stage.addEventListener("pointerup", e => pointers.delete(e.pointerId));
stage.addEventListener("pointercancel", e => pointers.delete(e.pointerId));
addEventListener("keydown", e => {
  const cx = stage.clientWidth / 2, cy = stage.clientHeight / 2, step = 60;
  const keys = {"+": () => zoom(1.25, cx, cy), "-": () => zoom(0.8, cx, cy), "0": fit,
    ArrowLeft: () => { x += step; }, ArrowRight: () => { x -= step; },
    ArrowUp: () => { y += step; }, ArrowDown: () => { y -= step; }};
  if (!keys[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
  e.preventDefault(); keys[e.key](); show();
});
document.body.className = "live";
show();
