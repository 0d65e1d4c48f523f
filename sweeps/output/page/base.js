// Data of the page, elements, numbers and colours. All text is set as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const SHAPES = new Set(["svg", "g", "path", "line", "circle", "text", "rect"]);

// Make an element: attributes, listeners (onclick, ...) and children; null children are left out.
function make(tag, attributes = {}, ...children) {
  const made = SHAPES.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

function replace(place, ...children) {
  place.replaceChildren(...children.flat().filter(Boolean));
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

// Standard deviation over seeds (n - 1); null for one seed.
function deviation(values) {
  if (values.length < 2) return null;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, v) => sum + (v - middle) ** 2, 0) / (values.length - 1));
}
const sem = (values) => (values.length < 2 ? null : deviation(values) / Math.sqrt(values.length));

const isFraction = (name) => /accuracy|forgetting|transfer/.test(name);
const short = (value) =>
  typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);
const percent = (value, digits = 2) => (100 * value).toFixed(digits);

// A metric as tables show it: accuracies in percent.
function shown(name, value) {
  if (!isNumber(value)) return "–";
  return isFraction(name) ? `${percent(value)} %` : short(value);
}

function estimate(name, values) {
  if (!values.length) return "–";
  const scale = isFraction(name) ? 100 : 1;
  const unit = isFraction(name) ? " %" : "";
  const error = sem(values);
  const digits = scale === 100 ? (v) => v.toFixed(2) : short;
  const middle = digits(scale * mean(values));
  return error === null
    ? `${middle}${unit} (n = 1)`
    : `${middle} ± ${digits(scale * error)}${unit} (n = ${values.length})`;
}

const words = (name) => name.replace(/^(val|test)\//, (_, split) =>
  split === "val" ? "validation, " : "test, ").replace("/", " ").replaceAll("_", " ");

// Viridis in eleven steps, which people with any colour vision can order.
const VIRIDIS = [[68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142],
  [33, 145, 140], [34, 168, 132], [66, 190, 113], [122, 209, 81], [187, 223, 39], [253, 231, 37]];
const isDark = () => document.documentElement.dataset.theme === "dark";

function between(stops, share) {
  const at = Math.min(1, Math.max(0, share)) * (stops.length - 1);
  const low = Math.min(stops.length - 2, Math.floor(at));
  return stops[low].map((value, i) => Math.round(value + (at - low) * (stops[low + 1][i] - value)));
}
const sequential = (share) => between(VIRIDIS, share);

// Losses red, gains blue, no change in the colour of the card.
function diverging(share) {
  const middle = isDark() ? [38, 43, 51] : [245, 245, 244];
  return between([[190, 40, 30], middle, [31, 84, 192]], (share + 1) / 2);
}
const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

// Black or white, whichever contrasts more (relative luminance of WCAG 2).
function inkOn(colour) {
  const [r, g, b] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

const tip = make("div", { class: "tip", hidden: true, "aria-hidden": "true" });
const spoken = make("div", { class: "hidden", "aria-live": "polite" });
document.body.append(tip, spoken);

function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(6, Math.min(x + 14, innerWidth - box.width - 6))}px`;
  tip.style.top = `${y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18}px`;
}
const hideTip = () => { tip.hidden = true; };
addEventListener("scroll", hideTip, { passive: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });

// Everything of one configuration stands out together.
function highlight(config) {
  for (const one of document.querySelectorAll(".hot")) one.classList.remove("hot");
  if (config === null) return;
  for (const one of document.querySelectorAll(`[data-config="${config}"]`)) one.classList.add("hot");
}

// What answers to the pointer and to the keyboard, with words for both.
function answers(mark, text, config) {
  const show = (event) => {
    const box = mark.getBoundingClientRect();
    showTip(text, event.clientX ?? box.left + box.width / 2, event.clientY ?? box.bottom);
    highlight(config);
  };
  const hide = () => { hideTip(); highlight(null); };
  mark.addEventListener("pointermove", show);
  mark.addEventListener("pointerleave", hide);
  mark.dataset.config = config;
  return mark;
}

function selectOf(label, options, value, change) {
  const select = make("select", { onchange: (event) => change(event.target.value) },
    options.map(([key, text]) => make("option", { value: key, selected: key === value }, text)));
  return make("label", {}, label, select);
}

// Accuracy matrices come compressed: differences between rows, in steps of 1/scale.
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

function matrixOf(steps, scale) {
  const rows = [];
  for (let task = 0, at = 0; at < steps.length; task += 1, at += task) {
    const before = rows[task - 1] ?? [];
    const row = steps.slice(at, at + task + 1);
    rows.push(row.map((step, i) => (step === null ? null : (before[i] ?? 0) + step)));
  }
  return rows.map((row) => row.map((value) => (value === null ? null : value / scale)));
}
