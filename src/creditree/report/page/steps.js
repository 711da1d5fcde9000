"use strict";
// Draws how the steps of a completion attend to one another: as a strip, and as a map where it was observed.

// A strip of a completion's steps, each as dark as much of what follows attends to it.
function stepStrip(tokens, most) {
  const known = tokens.filter((token) => token.i !== null);
  if (!known.length) return null;
  const strip = make("div", { className: "map", title: "steps of the completion: the darker, the more later steps attend to it" });
  let start = 0;
  for (let stop = 1; stop <= tokens.length; stop += 1) {
    if (stop < tokens.length && tokens[stop].i === tokens[start].i) continue;
    const step = make("i", { title: `tokens ${start + 1} to ${stop}: influence ${shown(tokens[start].i)}` });
    step.style.flexGrow = stop - start;
    step.style.backgroundColor = colour(tokens[start].i, most);
    strip.append(step);
    start = stop;
  }
  return strip;
}

const drawn = (name, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const MAP = { left: 46, top: 20, side: 360, gap: 5, foot: 34, least: 2, unit: 1e-6 };

// What a map is of: `a[j][k]` for steps j from `delta` on; forks are at the first token of a step.
function readMap(map, forks) {
  const steps = map.ends.length + 1;
  const start = (k) => (k < 2 ? 0 : map.ends[k - 2]);
  const name = (k) => (k === 0 ? "the prompt" : `step ${k} (tokens ${start(k) + 1} to ${map.ends[k - 1]})`);
  const rows = [];
  let next = 0;
  for (let j = map.delta; j < steps; j += 1) {
    rows.push({ j, values: map.cells.slice(next, next + j - map.delta + 1).map((value) => value * MAP.unit) });
    next += j - map.delta + 1;
  }
  const sums = Array.from({ length: steps }, (_, k) => rows.reduce((sum, row) => sum + (row.values[k] ?? 0), 0));
  const branched = Array.from({ length: steps }, (_, k) => k).filter((k) => k > 0 && forks.has(start(k)));
  return { steps, name, rows, sums, branched };
}

function cell(x, y, size, value, most, said) {
  const strength = (0.05 + 0.95 * Math.min(1, value / most)).toFixed(3);
  const element = drawn("rect", { class: "cell", x, y, width: size, height: size, "fill-opacity": strength });
  element.said = said;
  return element;
}

function ticksOf(steps, size) {
  const every = [1, 2, 5, 10, 20, 50, 100].find((step) => step * size >= 22) ?? 100;
  return Array.from({ length: Math.ceil(steps / every) }, (_, index) => index * every);
}

// The prompt takes most attention of all (the first token is a sink): colours go by the steps of the completion.
function mapPicture({ steps, name, rows, sums, branched }, delta) {
  const size = Math.max(MAP.least, Math.min(24, MAP.side / steps));
  const [side, foot] = [size * steps, MAP.top + size * steps + MAP.gap];
  const most = Math.max(...rows.flatMap((row) => row.values.slice(1)), 0) || Math.max(...rows.map((row) => row.values[0])) || 1;
  const highest = Math.max(...sums.slice(1)) || sums[0] || 1;
  const x = (k) => MAP.left + k * size;
  const y = (j) => MAP.top + j * size;
  const near = Array.from({ length: steps }, (_, k) => `M${x(k)} ${y(k)}h${size}v${Math.min(delta, steps - k) * size}h${-size}z`);
  const parts = [
    drawn("path", { class: "near", d: near.join("") }),
    ...rows.flatMap(({ j, values }) => values.map((value, k) => cell(x(k), y(j), size, value, most,
      () => `${name(j)}\nattends to ${name(k)}\nby ${shown(value)} a pair of tokens`))),
    ...sums.map((sum, k) => cell(x(k), foot, size, sum, highest, () => `influence of ${name(k)}: ${shown(sum)}\nthe sum of its column${branched.includes(k) ? "\ncompletions branch here" : ""}`)),
    ...branched.map((k) => drawn("path", { class: "branched", d: `M${x(k)} ${y(k)}V${foot + size}h${size}V${y(k)}z` })),
    ...branched.map((k) => drawn("text", { class: "number", x: x(k) + size / 2, y: y(k) - 2, "text-anchor": "middle" }, "▼")),
    ...ticksOf(steps, size).flatMap((step) => [
      drawn("text", { class: "tick", x: x(step) + size / 2, y: foot + size + 13, "text-anchor": "middle" }, String(step)),
      drawn("text", { class: "tick", x: MAP.left - 5, y: y(step) + size / 2 + 4, "text-anchor": "end" }, String(step))]),
    drawn("text", { class: "tick", x: MAP.left - 5, y: foot + size / 2 + 4, "text-anchor": "end" }, "sum"),
    drawn("text", { class: "label", x: MAP.left + side / 2, y: foot + size + 29, "text-anchor": "middle" }, "step that is attended to (0: the prompt)"),
    drawn("text", { class: "label", transform: `translate(12 ${MAP.top + side / 2}) rotate(-90)`, "text-anchor": "middle" }, "step that attends"),
  ];
  const [width, height] = [Math.max(MAP.left + side + 12, 270), foot + size + MAP.foot];
  const picture = drawn("svg", { class: "chart attention", viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `attention from step to step: ${steps - 1} steps and the prompt` }, ...parts);
  picture.style.maxWidth = `${width * 1.3}px`;
  return picture;
}

// The map of a completion, `forks` being the tokens that others go on from another way; null where none was observed.
function stepAttention(map, forks) {
  if (!map) return null;
  const read = readMap(map, forks);
  const words = `how much each step attends to those ${map.delta} or more before it (grey: nearer, not counted); the sum of a column `
    + `is the influence (FCI) of its step${read.branched.length ? "; ▼ framed: completions branch at its start" : ""}`;
  return make("details", { className: "attention", open: true },
    make("summary", { textContent: `attention from step to step (${read.steps - 1} steps)` }),
    mapPicture(read, map.delta), make("p", { className: "soft", textContent: words }));
}
