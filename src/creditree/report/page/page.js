"use strict";
// Draws the rollout trees of a report. All text of the run is put in as text: nothing of it is ever parsed as HTML.

const make = (name, properties = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element && key !== "list") element[key] = value; else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};

const FIELDS = {
  a: ["advantage", "what it was worth: better than expected, or worse"],
  w: ["weight", "how much it counts in the loss"],
  s: ["surprisal", "-log p when it was drawn, in nats"],
  e: ["entropy", "of the choice before it, in nats"],
  i: ["influence", "how much later steps attend to its step (FCI)"],
};

const at = (values, index) => (Array.isArray(values) ? values[index] : values) ?? null;
const shown = (value) => (value === null ? "none" : Number(value.toPrecision(3)).toString());
const signed = (value) => (value === null ? "none" : (value > 0 ? "+" : "") + shown(value));

// The tokens of a completion: those that it inherits stand in the completions that it was forked from.
function tokensOf(tree, number) {
  const leaf = tree.leaves[number];
  const before = leaf.parent === null ? [] : tokensOf(tree, leaf.parent).slice(0, leaf.fork);
  const own = (leaf.pieces ?? [leaf.text]).map((piece, index) => ({
    piece, own: true, a: at(leaf.a, index), w: at(leaf.w, index), s: at(leaf.s, index), e: at(leaf.e, index), i: at(leaf.i, index),
    whole: leaf.pieces === undefined,
  }));
  return [...before.map((token) => ({ ...token, own: false })), ...own];
}

function largest(tokens, field) {
  return tokens.reduce((most, token) => Math.max(most, Math.abs(token[field] ?? 0)), 0) || 1;
}

function colour(value, most) {
  if (value === null || value === 0) return "";
  const strength = (0.12 + 0.68 * Math.min(1, Math.abs(value) / most)).toFixed(3);
  return `rgba(var(${value < 0 ? "--low" : "--high"}), ${strength})`;
}

function tokenElement(token, index, field, most) {
  const classes = ["t", token.own ? "" : "inherited", token.w ? "selected" : ""].filter(Boolean).join(" ");
  const element = make("span", { className: classes, textContent: token.piece === "" ? "∅" : token.piece });
  element.style.backgroundColor = colour(token[field], most);
  element.said = () => said(token, index);
  return element;
}

function said(token, index) {
  const lines = [`token ${index + 1} ${JSON.stringify(token.piece)}${token.own ? "" : " (inherited)"}`];
  if (token.whole) return `${lines[0]}\nthis run kept no text of single tokens`;
  lines.push(`advantage ${signed(token.a)}`, `weight ${shown(token.w)}${token.w ? " (selected)" : ""}`);
  for (const field of ["s", "e", "i"]) if (token[field] !== null) lines.push(`${FIELDS[field][0]} ${shown(token[field])}`);
  return lines.join("\n");
}

function tooltips(root) {
  const tip = document.getElementById("tip");
  let shownFor = null;
  const put = () => {
    if (shownFor === null || !shownFor.isConnected) { tip.hidden = true; return; }
    const box = shownFor.getBoundingClientRect();
    const below = box.bottom + 6 + tip.offsetHeight <= innerHeight;
    tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${below ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
  };
  const show = (event) => {
    shownFor = event.target.said ? event.target : null;
    tip.hidden = shownFor === null;
    if (shownFor !== null) tip.textContent = shownFor.said();
    put();
  };
  root.addEventListener("pointerover", show);
  root.addEventListener("click", show);
  addEventListener("scroll", put, { passive: true });
}

// Completions that say the same and were judged alike are shown once: those of small models often are.
function alike(tree) {
  const groups = [];
  let last = null;
  for (const number of tree.order) {
    const key = JSON.stringify([tokensOf(tree, number).map((token) => token.piece), tree.leaves[number].verdict, tree.leaves[number].reward]);
    if (key === last) groups.at(-1).push(number); else groups.push([number]);
    last = key;
  }
  return groups;
}

function leafElement(tree, numbers, view) {
  const number = numbers[0];
  const leaf = tree.leaves[number];
  const tokens = tokensOf(tree, number);
  const kind = leaf.reward === null ? "none" : leaf.reward > 0 ? "good" : "bad";
  const heat = make("div", { className: "heat" });
  const forksOf = (leaf) => new Set(tree.leaves.filter((other) => other.parent === leaf).map((other) => other.fork));
  const forks = forksOf(number);
  const mapped = numbers.find((other) => tree.leaves[other].m) ?? number;
  tokens.forEach((token, index) => {
    const element = tokenElement(token, index, view.field, view.most[view.field]);
    if (forks.has(index)) element.classList.add("forked");
    const value = token[view.field];
    const kept = (!view.selected || token.w) && Math.abs(value ?? 0) >= view.least * view.most[view.field]
      && (view.text === "" || token.piece.toLowerCase().includes(view.text));
    if (!kept) element.classList.add("dim");
    heat.append(element);
  });
  const selected = tokens.filter((token) => token.own && token.w).length;
  const many = numbers.length > 1;
  const named = numbers.map((other) => other + 1).join(", ");
  return make("article", { className: "leaf", "data-numbers": numbers.join(" ") },
    make("header", {}, make("b", { textContent: many ? `completions ${named} (${numbers.length} alike)` : `completion ${named}` }),
      make("span", { className: `reward ${kind}`, textContent: `reward ${shown(leaf.reward)}` }),
      make("span", { textContent: leaf.verdict }),
      make("span", { textContent: `${selected} selected` })),
    stepStrip(tokens, view.most.i), view.map(mapped, forksOf(mapped)), heat);
}

function controls(view, fields, draw) {
  const choose = make("select", { ariaLabel: "colour by" }, ...fields.map((field) =>
    make("option", { value: field, textContent: FIELDS[field][0], title: FIELDS[field][1] })));
  choose.value = view.field;
  const least = make("input", { type: "range", min: "0", max: "1", step: "0.05", value: "0", ariaLabel: "at least" });
  const only = make("input", { type: "checkbox", ariaLabel: "selected only" });
  const text = make("input", { type: "search", placeholder: "token text", size: 12, ariaLabel: "token text" });
  choose.addEventListener("change", () => { view.field = choose.value; draw(); });
  least.addEventListener("input", () => { view.least = Number(least.value); draw(); });
  only.addEventListener("change", () => { view.selected = only.checked; draw(); });
  text.addEventListener("input", () => { view.text = text.value.toLowerCase(); draw(); });
  return make("div", { className: "controls" },
    make("label", {}, "colour by ", choose), make("label", {}, "at least ", least),
    make("label", {}, only, " selected only"), text);
}

function legend() {
  return make("div", { className: "legend" },
    make("span", {}, "value: low ", make("span", { className: "ramp" }), " high"),
    make("span", {}, "○ forked here"), make("span", {}, make("u", { textContent: "underlined" }), ": selected to learn"),
    make("span", {}, "faint: inherited"));
}

function treeElement(tree, number) {
  const all = tree.leaves.flatMap((leaf, index) => tokensOf(tree, index).filter((token) => token.own));
  const fields = Object.keys(FIELDS).filter((field) => all.some((token) => token[field] !== null));
  const most = Object.fromEntries(Object.keys(FIELDS).map((field) => [field, largest(all, field)]));
  const maps = new Map(); // drawn once: a filter of tokens changes nothing in them
  const map = (leaf, forks) => maps.get(leaf) ?? maps.set(leaf, stepAttention(tree.leaves[leaf].m, forks)).get(leaf);
  const view = { field: fields.includes("a") ? "a" : fields[0] ?? "a", least: 0, selected: false, text: "", most, map };
  const picture = new DOMParser().parseFromString(tree.svg, "image/svg+xml").documentElement;
  const list = make("div", { className: "leaves" });
  const groups = alike(tree);
  let wanted = 24;
  const draw = () => {
    const leaves = groups.slice(0, wanted).map((numbers) => leafElement(tree, numbers, view));
    const more = groups.length > wanted
      ? [make("button", { textContent: `show all ${groups.length} completions`, onclick: () => { wanted = Infinity; draw(); } })] : [];
    list.replaceChildren(...leaves, ...more);
  };
  picture.addEventListener("click", (event) => {
    const segment = event.target.closest("[data-leaf]");
    if (!segment) return;
    const place = groups.findIndex((numbers) => numbers.includes(Number(segment.dataset.leaf)));
    if (place >= wanted) { wanted = Infinity; draw(); }
    picture.querySelectorAll(".chosen").forEach((other) => other.classList.remove("chosen"));
    segment.classList.add("chosen");
    list.querySelectorAll(".chosen, .at").forEach((other) => other.classList.remove("chosen", "at"));
    const leaf = list.children[place];
    leaf.classList.add("chosen");
    [...leaf.querySelectorAll(".t")].slice(Number(segment.dataset.start), Number(segment.dataset.stop)).forEach((t) => t.classList.add("at"));
    leaf.scrollIntoView({ block: "nearest", behavior: "smooth" });
  });
  draw();
  const from = tree.kept === 0 ? null : make("p", { className: "soft", textContent: `replayed: the first ${tree.kept} tokens`
    + (tree.origin === null ? " of an earlier completion are kept" : ` of completion ${tree.origin + 1} are kept`) });
  return make("section", { className: "one" }, number > 0 ? make("h3", { textContent: `tree ${number + 1}` }) : null, from,
    make("div", { className: "scroll" }, picture), legend(),
    tree.forks.length ? make("details", {}, make("summary", { textContent: `where it branched, and why (${tree.forks.length})` }),
      make("ul", {}, ...tree.forks.map((fork) => make("li", { textContent: fork })))) : null,
    controls(view, fields, draw), list);
}

function forestElement(forest) {
  return make("div", { className: "forest" },
    make("pre", { textContent: forest.question }),
    make("p", { className: "soft", textContent: `accepted: ${forest.answers.join(" or ")}` }),
    ...forest.trees.map(treeElement));
}

function report() {
  const data = document.getElementById("trees");
  if (data === null) return;
  const forests = JSON.parse(data.textContent);
  document.querySelectorAll("details.problem").forEach((place) => {
    const open = () => {
      if (place.open && !place.querySelector(".forest")) place.append(forestElement(forests[Number(place.dataset.forest)]));
    };
    place.addEventListener("toggle", open);
    open();
  });
}

// The page of a run that still trains: a search over all completions, and what is new every other second.
const SEARCHED = [
  ["problem", "problem or question", "search", 18], ["text", "text of the completion", "search", 18],
  ["step_least", "step from", "number", 5], ["step_most", "to", "number", 5],
  ["reward_least", "reward from", "number", 4], ["reward_most", "to", "number", 4],
  ["advantage_least", "a token with advantage ≥", "number", 4], ["advantage_most", "≤", "number", 4],
  ["surprisal_least", "surprisal ≥", "number", 4], ["selected_least", "selected tokens ≥", "number", 4],
];

async function ask(address) {
  const response = await fetch(address);
  const answer = await (response.headers.get("Content-Type").startsWith("text/html") ? response.text() : response.json());
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

function live() {
  const place = document.getElementById("live");
  if (place === null) return;
  const inputs = SEARCHED.map(([name, label, type, size]) => {
    const input = make("input", { type, name, size, step: "any", ariaLabel: label });
    if (type === "number") input.style.width = `${size + 3}em`;
    return [make("label", {}, `${label} `, input), input];
  });
  const status = make("select", { name: "status", ariaLabel: "verdict" }, ...["", "ok", "unparsable", "timeout", "crash", "not judged"].map(
    (value) => make("option", { value, textContent: value || "any verdict" })));
  const cut = make("select", { name: "cut", ariaLabel: "end" }, ...[["", "any end"], ["true", "cut off"], ["false", "ended by itself"]].map(
    ([value, text]) => make("option", { value, textContent: text })));
  const fields = [...inputs.map(([, input]) => input), status, cut];
  const said = make("p", { className: "soft", role: "status", id: "said" });
  const list = make("tbody");
  const more = make("button", { textContent: "more", hidden: true });
  const trees = make("div", { id: "forest" });
  const badge = make("span", { className: "live" });
  const progress = make("span", { className: "soft", id: "progress" });
  const heads = ["step", "problem", "reward", "verdict", "tokens", "advantages", "completion"];
  place.append(make("p", {}, badge, progress), make("h2", { textContent: "Search" }),
    make("div", { className: "controls" }, ...inputs.map(([label]) => label), status, cut), said,
    make("div", { className: "scroll found" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { textContent: head })))), list)),
    more, trees);
  let rows = 0;
  let turn = 0;
  const words = (first) => new URLSearchParams([...fields.filter((field) => field.value !== "").map((field) => [field.name, field.value]), ["first", first]]);
  const open = async (row, line) => {
    list.querySelectorAll(".chosen").forEach((other) => other.classList.remove("chosen"));
    line.classList.add("chosen");
    const forest = await ask(`/forest?step=${row.step}&place=${row.place}`);
    trees.replaceChildren(make("h2", { textContent: `Step ${forest.step}, problem ${forest.id}` }), forestElement(forest));
    const tree = trees.querySelectorAll(".one")[row.tree];
    const leaf = tree && tree.querySelector(`[data-numbers~="${row.branch}"]`);
    if (leaf) leaf.classList.add("chosen");
    trees.scrollIntoView({ block: "start" });
  };
  const lineOf = (row) => {
    const line = make("tr", { tabIndex: 0 }, ...[row.step, row.problem, shown(row.reward), row.status + (row.cut ? ", cut off" : ""), row.tokens,
      row.advantage_most === null ? "none" : `${signed(row.advantage_least)} to ${signed(row.advantage_most)}`, row.snippet]
      .map((cell) => make("td", { textContent: cell })));
    line.addEventListener("click", () => open(row, line));
    line.addEventListener("keydown", (event) => { if (event.key === "Enter") open(row, line); });
    return line;
  };
  const search = async (first = 0) => {
    const own = turn += 1;
    const begun = performance.now();
    try {
      const answer = await ask(`/search?${words(first)}`);
      if (own !== turn) return;
      if (first === 0) { list.replaceChildren(); rows = 0; }
      list.append(...answer.rows.map(lineOf));
      rows += answer.rows.length;
      more.hidden = rows >= answer.total;
      said.textContent = `${answer.total.toLocaleString("en")} of ${answer.of.toLocaleString("en")} completions, in ${Math.round(performance.now() - begun)} ms`;
    } catch (error) {
      said.textContent = error.message;
    }
  };
  let waiting = 0;
  fields.forEach((field) => field.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 120); }));
  more.addEventListener("click", () => search(rows));
  let known = null;
  const look = async () => {
    try {
      const state = await ask("/state");
      badge.classList.toggle("off", state.ended);
      const failed = Object.keys(state.failed).length;
      progress.textContent = `${state.ended ? "ended" : "training"}: ${state.indexed} of ${state.kept} kept steps read, `
        + `${state.completions.toLocaleString("en")} completions${failed ? `, ${failed} steps cannot be read` : ""}`;
      if (known !== null && known.version !== state.version) {
        const page = new DOMParser().parseFromString(await ask("/overview"), "text/html");
        document.getElementById("overview").replaceChildren(...page.body.childNodes);
      }
      if (known === null || (known.completions !== state.completions && rows <= 100)) await search();
      known = state;
    } catch {
      badge.classList.add("off");
      progress.textContent = "the viewer has ended, or cannot be reached";
    }
    setTimeout(look, known !== null && known.indexed < known.kept ? 500 : 2000);
  };
  look();
}

document.body.append(make("div", { id: "tip", role: "tooltip", hidden: true }));
tooltips(document.body);
report();
live();
