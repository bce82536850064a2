// How numbers are written and coloured.

/** @typedef {import("./schema").PageUnit} PageUnit */

export function number(v, digits = 4) {
  if (Number.isNaN(v)) return "nan";
  if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
  const size = Math.abs(v);
  let text;
  if (v === 0) text = "0";
  else if (Number.isInteger(v) && size < 1e5) text = String(size);
  else if (size >= 1e5 || size < 1e-4) text = size.toExponential(2).replace("e+", "e");
  else text = String(+size.toPrecision(digits));
  return (v < 0 ? "−" : "") + text;
}

const NEGATIVE = [33, 102, 172], POSITIVE = [222, 110, 20], BROKEN = [214, 0, 160];
// What a theme sets: the colours of the number 0, of a box without an amount, and of the largest amounts by name.
export const theme = {zero: [250, 250, 248], cold: [255, 255, 255], /** @type {Object<string, number[]>} */ tints: {}};

function shade(v, largest) {
  if (!Number.isFinite(v)) return BROKEN;
  const t = Math.min(1, Math.abs(v) / largest), pole = v < 0 ? NEGATIVE : POSITIVE;
  return theme.zero.map((from, i) => Math.round(from + (pole[i] - from) * t));
}

export function colour(v, largest) { return `rgb(${shade(v, largest).join(",")})`; }

export function inkOn(v, largest) {
  const [r, g, b] = shade(v, largest);
  return 0.3 * r + 0.59 * g + 0.11 * b > 140 ? "#10151b" : "#ffffff";
}

// A small image of a grid: at(row, column) is a number, or null where there is nothing. What is computed here is nan
// where nothing is, which is left empty too.
export function heatMap(rows, columns, at, largest, empty = false) {
  const canvas = document.createElement("canvas");
  canvas.width = columns; canvas.height = rows;
  const context = canvas.getContext("2d"), pixels = context.createImageData(columns, rows);
  for (let i = 0, p = 0; i < rows; i++) for (let j = 0; j < columns; j++, p += 4) {
    const v = at(i, j);
    if (v === null || Number.isNaN(v) && empty) continue;
    const [r, g, b] = shade(v, largest);
    pixels.data[p] = r; pixels.data[p + 1] = g; pixels.data[p + 2] = b; pixels.data[p + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

/** An amount with its unit, on the largest scale of which there is at least one as it is written.
 * @param {PageUnit} unit @param {number} amount */
export function amountText(unit, amount) {
  if (unit.digits === null) return amount.toLocaleString("en");
  /** @type {[number, string | null][]} */
  const found = unit.scales.map(([scale, symbol]) => [amount / scale, symbol]);
  const [scaled, symbol] = found.find(([scaled]) => +scaled.toPrecision(unit.digits) >= 1) ?? found.at(-1) ?? [amount, null];
  return symbol === null ? number(scaled, unit.digits) : `${number(scaled, unit.digits)} ${symbol}`;
}
