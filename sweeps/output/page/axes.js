// Scales and axes of the charts.
const HEIGHT = 300;
let WIDTH = 560;
const EDGE = { left: 56, right: 16, top: 14, bottom: 42 };

// Round steps that a person would choose.
function ticksOf(low, high, count = 5) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => rough <= factor * power * 1.0001);
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + 1e-9 * step; at += step) {
    ticks.push(Number(at.toPrecision(12)));
  }
  return ticks;
}

function scaleOf(values, from, to, log = false) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 20, high + (Math.abs(high) || 1) / 20];
  else if (!log) [low, high] = [low - (high - low) / 25, high + (high - low) / 25];
  const map = log ? Math.log10 : (value) => value;
  const scale = (value) => from + ((map(value) - map(low)) / (map(high) - map(low))) * (to - from);
  scale.ticks = ticksOf(low, high);
  if (log) {
    scale.ticks = ticksOf(Math.floor(map(low)), Math.ceil(map(high)), 4)
      .filter(Number.isInteger).map((power) => 10 ** power).filter((v) => v >= low * 0.999 && v <= high * 1.001);
    if (scale.ticks.length < 2) scale.ticks = [low, high].map((v) => Number(v.toPrecision(2)));
  }
  return scale;
}

const text = (x, y, words, anchor = "middle", more = {}) =>
  make("text", { x, y, "text-anchor": anchor, ...more }, words);

function tickText(value, name) {
  if (isFraction(name)) return short(100 * value);
  return Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3)
    ? value.toExponential(0) : short(value);
}
const axisName = (name) => (isFraction(name) ? `${words(name)} (%)` : words(name));

// As wide as it will be shown, so that its letters keep their size.
function fitCharts(place) {
  const room = place.clientWidth || 560;
  WIDTH = Math.round(Math.max(300, room >= 900 ? (room - 24) / 2 : room));
}

// A frame with both axes; `label` says to a screen reader what can be seen.
function chart(label, x, y, xName, yName) {
  const [right, bottom] = [WIDTH - EDGE.right, HEIGHT - EDGE.bottom];
  const frame = make("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
    "aria-label": label });
  for (const tick of y.ticks) {
    const at = y(tick);
    frame.append(make("line", { class: "axis", x1: EDGE.left, x2: right, y1: at, y2: at }),
      text(EDGE.left - 8, at + 4, tickText(tick, yName), "end"));
  }
  for (const tick of x.ticks) {
    frame.append(text(x(tick), bottom + 18, tickText(tick, xName)),
      make("line", { class: "axis", x1: x(tick), x2: x(tick), y1: bottom, y2: bottom + 4 }));
  }
  frame.append(make("line", { class: "axis", x1: EDGE.left, x2: right, y1: bottom, y2: bottom }),
    text((EDGE.left + right) / 2, HEIGHT - 6, axisName(xName)));
  return frame;
}
const xScale = (values, log) => scaleOf(values, EDGE.left, WIDTH - EDGE.right, log);
const yScale = (values) => scaleOf(values, HEIGHT - EDGE.bottom, EDGE.top);
const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

// A chart with its heading, its axis in words and what else belongs to it.
function figureOf(title, yName, frame, ...more) {
  return make("div", {}, make("h3", {}, title), make("p", { class: "soft" }, yName), frame, more);
}
