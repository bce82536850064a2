// @ts-check
// The story of one number: shows the steps that were kept, and computes the small network again where somebody nudges.
(() => {
  "use strict";
  /** @param {string} id */
  const at = id => /** @type {HTMLElement} */ (document.getElementById(id));
  const data = JSON.parse(at("data").textContent || "{}");
  /** @type {Record<string, Float32Array>} */
  const arrays = {};
  for (const [name, packed] of Object.entries(data.arrays)) {
    const bytes = Uint8Array.from(atob(packed.base64), letter => letter.charCodeAt(0));
    arrays[name] = new Float32Array(bytes.buffer);
  }
  const [, rows, columns] = data.arrays.images.shape;
  const area = rows * columns;
  const channels = data.arrays.weight.shape[1];
  const classes = data.classes.length;
  const [own, , row, column] = data.element;
  const followed = row * 3 + column;
  const state = {step: 0, i: 1, j: 1, delta: 0};

  /** @param {number} value @param {number} digits */
  const number = (value, digits = 3) => {
    const size = Math.abs(value);
    const text = size && (size < 1e-3 || size >= 1e5) ? value.toExponential(digits - 1) : value.toFixed(size < 0.1 ? digits + 1 : digits);
    return (Number(text) === 0 ? text.replace("-", "") : text).replace(/-/g, "−");
  };
  /** @param {string} name @param {number} index @param {number} size */
  const part = (name, index, size) => arrays[name].subarray(index * size, (index + 1) * size);
  const parameters = /** @param {number} step */ step => ({
    weight: Float64Array.from(part("weight", step, channels * 9)),
    bias: part("bias", step, channels),
    matrix: part("matrix", step, classes * channels * (rows >> 1) * (columns >> 1)),
    shift: part("shift", step, classes),
  });

  // -- the network ----------------------------------------------------------------------------------------------------

  /** @param {ArrayLike<number>} image @param {number} i @param {number} j */
  const pixel = (image, i, j) => (i < 0 || j < 0 || i >= rows || j >= columns ? 0 : image[i * columns + j]);
  /** @param {ArrayLike<number>} image @param {ReturnType<typeof parameters>} values @param {number} channel */
  const convolved = (image, values, channel) => {
    const out = new Float64Array(area);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
      let sum = values.bias[channel];
      for (let k = 0; k < 9; k++) sum += pixel(image, i + Math.floor(k / 3) - 1, j + k % 3 - 1) * values.weight[channel * 9 + k];
      out[i * columns + j] = sum;
    }
    return out;
  };
  /** @param {ArrayLike<number>} image @param {number} label @param {ReturnType<typeof parameters>} values */
  const lossOf = (image, label, values) => {
    const high = rows >> 1, wide = columns >> 1, features = [];
    for (let channel = 0; channel < channels; channel++) {
      const plane = convolved(image, values, channel);
      for (let i = 0; i < high; i++) for (let j = 0; j < wide; j++) {
        let sum = 0;
        for (let k = 0; k < 4; k++) sum += Math.max(0, plane[(2 * i + (k >> 1)) * columns + 2 * j + k % 2]);
        features.push(sum / 4);
      }
    }
    const scores = Array.from({length: classes}, (_, c) =>
      features.reduce((sum, feature, f) => sum + feature * values.matrix[c * features.length + f], values.shift[c]));
    const most = Math.max(...scores);
    return most + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - most), 0)) - scores[label];
  };

  // -- grids ----------------------------------------------------------------------------------------------------------

  /** @param {string | HTMLElement} place @param {number} wide @param {ArrayLike<number | null>} values
   *  @param {{limit?: number, written?: number, grey?: boolean, ring?: boolean}} options */
  const grid = (place, wide, values, {limit = 0, written = -1, grey = false, ring = false} = {}) => {
    const box = typeof place === "string" ? at(place) : place;
    const most = limit || Array.from(values).reduce((/** @type {number} */ size, one) => Math.max(size, Math.abs(one || 0)), 0) || 1;
    box.style.setProperty("--n", String(wide));
    while (box.children.length < values.length) box.append(document.createElement("i"));
    Array.from(values).forEach((value, k) => {
      const cell = /** @type {HTMLElement} */ (box.children[k]);
      cell.dataset.k = String(k);
      cell.className = value === null ? "pad" : ring && k === followed ? "followed" : "";
      cell.textContent = value === null ? "×" : written < 0 ? "" : value.toFixed(written).replace("-", "−");
      const strength = Math.min(1, Math.abs(value || 0) / most) * (written < 0 ? 0.95 : 0.55);
      const colour = grey ? "128 128 128" : `var(--${(value || 0) < 0 ? "minus" : "plus"})`;
      cell.style.setProperty("--tint", value ? `rgb(${colour} / ${strength.toFixed(3)})` : "transparent");
    });
  };
  /** @param {string} id @param {(k: number) => string} look */
  const mark = (id, look) => Array.from(at(id).children).forEach((cell, k) => {
    cell.classList.remove("on", "near");
    const name = look(k);
    if (name) cell.classList.add(name);
  });

  // -- charts ---------------------------------------------------------------------------------------------------------

  /** @param {number[][]} points */
  const line = points => points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  /** @param {ArrayLike<number>[]} several */
  const range = several => {
    let low = Infinity, high = -Infinity;
    for (const values of several) for (let k = 0; k < values.length; k++) { low = Math.min(low, values[k]); high = Math.max(high, values[k]); }
    return high > low ? [low, high] : [low - 1, high + 1];
  };
  const LEFT = 44, WIDE = 560, PAD = 12;
  /** @param {string} id @param {ArrayLike<number>[]} several @param {string[]} looks @param {string[]} ends
   *  @param {[number, number, string][]} dots */
  const chart = (id, several, looks, ends, dots) => {
    const svg = at(id), high = Number(String(svg.getAttribute("viewBox")).split(" ")[3]);
    const [low, top] = range(several);
    const y = /** @param {number} value */ value => PAD + (high - 2 * PAD - 8) * (1 - (value - low) / (top - low));
    const x = /** @param {number} share */ share => LEFT + (WIDE - LEFT - 10) * share;
    const zero = low < 0 && top > 0 ? `<line class="axis" x1="${LEFT}" x2="${WIDE}" y1="${y(0)}" y2="${y(0)}"/><text x="${LEFT - 6}" y="${y(0) + 4}" text-anchor="end">0</text>` : "";
    const labels = [[top, y(top)], [low, y(low)]].map(([value, place]) => `<text x="${LEFT - 6}" y="${place + 4}" text-anchor="end">${number(value, 2)}</text>`);
    const lines = several.map((values, k) => `<path class="${looks[k]}" d="${line(Array.from(values, (value, n) => [x(n / (values.length - 1)), y(value)]))}"/>`);
    const spots = dots.map(([share, value, look]) => `<circle class="dot ${look}" r="5" cx="${x(share)}" cy="${y(value)}"/>`);
    svg.innerHTML = `${zero}${labels.join("")}${lines.join("")}${spots.join("")}<text x="${LEFT}" y="${high}">${ends[0]}</text><text x="${WIDE - 10}" y="${high}" text-anchor="end">${ends[1]}</text>`;
  };
  const smooth = Float64Array.from(arrays.losses, (_, k) => {
    const near = arrays.losses.subarray(Math.max(0, k - 25), k + 25);
    return near.reduce((sum, one) => sum + one, 0) / near.length;
  });

  // -- one step -------------------------------------------------------------------------------------------------------

  const seen = () => {
    const {step} = state, image = part("images", step, area), values = parameters(step);
    const cares = part("cotangents", step, area);
    /** @type {(number | null)[]} */
    const local = Array.from({length: area}, (_, k) => {
      const i = Math.floor(k / columns) + row - 1, j = k % columns + column - 1;
      return i < 0 || j < 0 || i >= rows || j >= columns ? null : image[i * columns + j];
    });
    return {
      image, values, cares, local, label: data.labels[step], loss: arrays.losses[data.steps[step]],
      gradient: arrays.gradients[step], weight: values.weight[own * 9 + followed],
      contributions: local.map((one, k) => one === null ? null : one * cares[k]),
    };
  };

  const show = () => {
    const now = seen(), {step} = state, many = arrays.losses.length, number_of = data.steps[step];
    const kernel = now.values.weight.subarray(own * 9, own * 9 + 9);
    /** @type {HTMLInputElement} */ (at("step")).value = String(step);
    at("now").innerHTML = `step <b>${(number_of + 1).toLocaleString("en")}</b> of ${many.toLocaleString("en")} · an image of <b class="what"></b> · loss <b>${number(now.loss)}</b> → <b>${number(arrays.after[step])}</b>`;
    for (const one of [at("now").querySelector(".what"), at("label")]) if (one) one.textContent = data.classes[now.label];
    for (const id of ["kernel", "kernel2"]) grid(id, 3, kernel, {written: 2, ring: true});
    at("value").textContent = number(now.weight, 4);
    chart("path", [arrays.path], ["line"], ["step 1", `step ${many.toLocaleString("en")}`], [[number_of / many, arrays.path[number_of], ""]]);
    chart("loss", [arrays.losses, smooth], ["faint", "line"], ["step 1", `step ${many.toLocaleString("en")}`], [[number_of / (many - 1), now.loss, ""]]);
    grid("image", columns, now.image, {grey: true, limit: 1});
    grid("output", columns, convolved(now.image, now.values, own));
    grid("local", columns, now.local, {grey: true, limit: 1});
    grid("cares", columns, now.cares);
    grid("contributions", columns, now.contributions);
    const used = now.local.filter(one => one !== null).length;
    at("places").textContent = `${used} of ${area}`;
    const arrived = arrays.path[number_of + 1];
    at("equation").innerHTML = `<span>${number(now.weight, 4)}<small>the number</small></span><span>−</span><span>${data.rate}<small>learning rate</small></span><span>×</span><span>${now.gradient < 0 ? "(" : ""}${number(now.gradient, 4)}${now.gradient < 0 ? ")" : ""}<small>its gradient</small></span><span>=</span><span><b id="arrived">${number(arrived, 4)}</b><small>the new number</small></span>`;
    const better = arrays.after[step] < now.loss;
    at("gain").innerHTML = `All numbers of the network took their step, and the loss of this image went from <b>${number(now.loss, 4)}</b> to <b>${number(arrays.after[step], 4)}</b>${better ? "" : ": this time not down, for a step of that size the straight line was no longer true"}.`;
    choose(state.i, state.j);
    nudge();
    compare();
  };

  /** Everything about one place of the output. @param {number} i @param {number} j */
  const choose = (i, j) => {
    state.i = Math.max(0, Math.min(rows - 1, i));
    state.j = Math.max(0, Math.min(columns - 1, j));
    const now = seen(), k = state.i * columns + state.j;
    const patch = Array.from({length: 9}, (_, n) => {
      const y = state.i + Math.floor(n / 3) - 1, x = state.j + n % 3 - 1;
      return y < 0 || x < 0 || y >= rows || x >= columns ? null : now.image[y * columns + x];
    });
    const kernel = now.values.weight.subarray(own * 9, own * 9 + 9);
    const products = patch.map((one, n) => one === null ? null : one * kernel[n]);
    grid("patch", 3, patch, {written: 2, grey: true, limit: 1});
    grid("products", 3, products, {written: 2});
    const sum = products.reduce((/** @type {number} */ total, one) => total + (one || 0), 0), bias = now.values.bias[own];
    mark("image", n => {
      const near = Math.abs(Math.floor(n / columns) - state.i) < 2 && Math.abs(n % columns - state.j) < 2;
      return near ? "near" : "";
    });
    for (const id of ["output", "local", "cares", "contributions"]) mark(id, n => n === k ? "on" : "");
    at("sum").innerHTML = `The products add up to <b>${number(sum)}</b>; with the bias <b>${number(bias)}</b> that is <b id="made">${number(sum + bias)}</b>, in row ${state.i + 1}, column ${state.j + 1} of the output.`;
    const local = now.local[k], total = now.contributions.reduce((/** @type {number} */ all, one) => all + (one || 0), 0);
    const here = local === null ? `Here it lay on the border's padding: no pixel, no influence.`
      : `Here: pixel <b>${number(local)}</b> × <b>${number(now.cares[k], 4)}</b> = <b>${number(local * now.cares[k], 4)}</b>${now.cares[k] ? "" : " (the ReLU above lets nothing through)"}.`;
    at("share").innerHTML = `${here} All together: <b id="total">${number(total, 4)}</b>, its gradient.`;
    link(-1);
  };

  /** Patch, kernel and product that belong together. @param {number} n */
  const link = n => {
    for (const id of ["patch", "kernel2", "products"]) mark(id, k => k === n ? "on" : "");
    mark("image", k => {
      const i = Math.floor(k / columns) - state.i + 1, j = k % columns - state.j + 1;
      return i < 0 || j < 0 || i > 2 || j > 2 ? "" : i * 3 + j === n ? "on" : "near";
    });
  };

  const nudge = () => {
    const now = seen(), {delta} = state;
    const measured = /** @param {number} by */ by => {
      const values = parameters(state.step);
      values.weight[own * 9 + followed] += by;
      return lossOf(now.image, now.label, values);
    };
    const kernel = Float64Array.from(now.values.weight.subarray(own * 9, own * 9 + 9));
    kernel[followed] += delta;
    grid("nudged", 3, kernel, {written: 2, ring: true});
    const nudges = Array.from({length: 41}, (_, k) => -1 + k / 20);
    const real = nudges.map(measured), guess = nudges.map(by => now.loss + by * now.gradient);
    const predicted = now.loss + delta * now.gradient, found = measured(delta), share = (delta + 1) / 2;
    chart("curve", [real, guess], ["line", "guess"], ["nudged by −1", "nudged by +1"], [[share, predicted, "guessed"], [share, found, ""]]);
    at("by").textContent = `${delta > 0 ? "+" : ""}${number(delta, 2)}`;
    at("predicted").textContent = number(predicted, 4);
    at("measured").textContent = number(found, 4);
  };

  const compare = () => {
    const now = seen(), last = data.steps.length, before = parameters(0), after = parameters(last);
    const box = at("kernels");
    if (!box.children.length) {
      for (let channel = 0; channel < channels; channel++) {
        const figure = document.createElement("figure");
        figure.innerHTML = `<figcaption>kernel ${channel + 1}${channel === own ? ", ours" : ""}</figcaption><div class="row"><div class="grid small"></div><div class="grid small"></div><span class="sign">→</span><div class="grid small"></div><div class="grid small"></div></div>`;
        box.append(figure);
      }
    }
    for (let channel = 0; channel < channels; channel++) {
      const [kernel, map, kernelAfter, mapAfter] = box.children[channel].querySelectorAll(".grid");
      const kernels = [before, after].map(values => values.weight.subarray(channel * 9, channel * 9 + 9));
      const maps = [before, after].map(values => convolved(now.image, values, channel));
      const limits = [kernels, maps].map(several => Math.max(...range(several).map(Math.abs)));
      [[kernel, kernels[0], 3, limits[0]], [map, maps[0], columns, limits[1]], [kernelAfter, kernels[1], 3, limits[0]], [mapAfter, maps[1], columns, limits[1]]]
        .forEach(([place, values, wide, limit]) => grid(/** @type {HTMLElement} */ (place), /** @type {number} */ (wide), /** @type {Float64Array} */ (values), {limit: /** @type {number} */ (limit)}));
    }
  };

  // -- hands ----------------------------------------------------------------------------------------------------------

  /** @param {number} step */
  const go = step => {
    state.step = Math.max(0, Math.min(data.steps.length - 1, step));
    show();
  };
  const slider = /** @type {HTMLInputElement} */ (at("step"));
  slider.max = String(data.steps.length - 1);
  slider.addEventListener("input", () => go(Number(slider.value)));
  at("back").addEventListener("click", () => go(state.step - 1));
  at("forth").addEventListener("click", () => go(state.step + 1));
  let playing = 0;
  at("play").addEventListener("click", () => {
    clearInterval(playing);
    playing = playing ? 0 : window.setInterval(() => {
      if (state.step === data.steps.length - 1) at("play").click();
      else go(state.step + 1);
    }, 350);
    if (playing && state.step === data.steps.length - 1) go(0);
    at("play").textContent = playing ? "Stop" : "Play";
    at("play").setAttribute("aria-pressed", String(!!playing));
  });
  for (const id of ["path", "loss"]) {
    const pick = /** @param {PointerEvent} event */ event => {
      if (event.type === "pointermove" && !event.buttons) return;
      const box = at(id).getBoundingClientRect(), share = ((event.clientX - box.left) / box.width * WIDE - LEFT) / (WIDE - LEFT - 10);
      const wanted = share * arrays.losses.length;
      const near = data.steps.map((/** @type {number} */ one) => Math.abs(one - wanted));
      go(near.indexOf(Math.min(...near)));
    };
    at(id).addEventListener("pointerdown", pick);
    at(id).addEventListener("pointermove", pick);
  }
  /** @param {Event} event */
  const cellOf = event => {
    const cell = event.target instanceof HTMLElement ? event.target.closest("i") : null;
    return cell ? Number(cell.dataset.k) : -1;
  };
  for (const id of ["output", "image", "local", "cares", "contributions"]) for (const kind of ["pointerover", "click"]) {
    at(id).addEventListener(kind, event => {
      const k = cellOf(event);
      if (k >= 0) choose(Math.floor(k / columns), k % columns);
    });
  }
  for (const id of ["patch", "kernel2", "products"]) {
    at(id).addEventListener("pointerover", event => link(cellOf(event)));
    at(id).addEventListener("click", event => link(cellOf(event)));
    at(id).addEventListener("pointerleave", () => link(-1));
  }
  at("output").addEventListener("keydown", event => {
    const moves = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
    const move = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (!move) return;
    event.preventDefault();
    choose(state.i + move[0], state.j + move[1]);
  });
  const delta = /** @type {HTMLInputElement} */ (at("delta"));
  delta.addEventListener("input", () => { state.delta = Number(delta.value); nudge(); });
  at("table").innerHTML = `<thead><tr><th>step</th><th>the number</th><th>its gradient</th><th>loss before</th><th>loss after</th></tr></thead><tbody>${data.steps.map((/** @type {number} */ step, /** @type {number} */ k) => `<tr><td>${step + 1}</td><td>${number(arrays.path[step], 4)}</td><td>${number(arrays.gradients[k], 4)}</td><td>${number(arrays.losses[step], 4)}</td><td>${number(arrays.after[k], 4)}</td></tr>`).join("")}</tbody>`;
  const first = seen().contributions.map(one => Math.abs(one || 0));
  const best = first.indexOf(Math.max(...first));
  state.i = Math.floor(best / columns);
  state.j = best % columns;
  show();
})();
