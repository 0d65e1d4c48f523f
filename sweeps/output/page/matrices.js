// Accuracy matrices: a tile for each run or configuration, and the difference of any two.
const TILES = innerWidth < 560 ? 24 : 48; // shown at once; a button shows the others

// The lowest value shown, and the highest, of all matrices of this name: tiles compare by eye.
function rangeOf() {
  if (state.range === "full" && data.fraction) return [0, 1];
  let [low, high] = [Infinity, -Infinity];
  for (const rows of matrices[state.matrix] ?? []) {
    for (const value of (rows ?? []).flat()) {
      if (value === null) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) return [0, 1];
  if (data.fraction) return [Math.floor(low * 10) / 10, 1];
  return [low, high === low ? low + 1 : high];
}

function paint(canvas, rows, colourOf) {
  const tasks = Math.max(1, rows.length);
  [canvas.width, canvas.height] = [tasks, tasks];
  const context = canvas.getContext("2d");
  const image = context.createImageData(tasks, tasks);
  rows.forEach((row, t) => row.forEach((value, i) => {
    if (value !== null) image.data.set([...colourOf(value), 255], 4 * (t * tasks + i));
  }));
  context.putImageData(image, 0, 0);
}

function scaled() {
  const [low, high] = rangeOf();
  return (value) => sequential((value - low) / (high - low));
}

const cellText = (value, digits = 2) =>
  value === null ? "–" : data.fraction ? `${percent(value, digits)} %` : short(value);

// "after task 4, on task 1: 96.20 %, 1.30 less than when it was learned"
function describeCell(rows, t, i, spread) {
  const value = rows[t]?.[i];
  if (value === undefined || value === null) return "not measured";
  const first = rows[i]?.[i];
  let text = `after learning task ${t}, on task ${i}: ${cellText(value)}`;
  if (spread?.[t]?.[i]) text += ` (spread over seeds ${cellText(spread[t][i])})`;
  if (t > i && isNumber(first)) {
    const change = value - first;
    const size = data.fraction ? `${percent(Math.abs(change))} points` : short(Math.abs(change));
    text += change === 0 ? ", as when it was learned"
      : `, ${size} ${change < 0 ? "less" : "more"} than when it was learned`;
  }
  return text;
}

// Answer to the pointer and to the arrow keys, cell by cell.
function inspect(face, rows, describe, name, more) {
  const tasks = rows.length;
  let [t, i] = [tasks - 1, 0];
  const show = (x, y) => showTip([name, describe(t, i), more].filter(Boolean).join("\n"), x, y);
  face.addEventListener("pointermove", (event) => {
    const box = face.getBoundingClientRect();
    t = Math.min(tasks - 1, Math.floor(((event.clientY - box.top) / box.height) * tasks));
    i = Math.min(tasks - 1, Math.floor(((event.clientX - box.left) / box.width) * tasks));
    if (i > t) hideTip();
    else show(event.clientX, event.clientY);
  });
  face.addEventListener("pointerleave", hideTip);
  face.addEventListener("blur", hideTip);
  face.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    t = Math.min(tasks - 1, Math.max(0, t + step[0]));
    i = Math.min(t, Math.max(0, i + step[1]));
    const box = face.getBoundingClientRect();
    show(box.left + ((i + 0.5) / tasks) * box.width, box.top + ((t + 0.5) / tasks) * box.height);
    spoken.textContent = describe(t, i);
  });
}

// Cell by cell over several matrices of equal size.
function combine(many, reduce) {
  const tasks = Math.min(...many.map((rows) => rows.length));
  return Array.from({ length: tasks }, (_, t) => Array.from({ length: t + 1 }, (_, i) => {
    const values = many.map((rows) => rows[t][i]).filter(isNumber);
    return values.length ? reduce(values) : null;
  }));
}

const average = (rows) => {
  const last = (rows.at(-1) ?? []).filter(isNumber);
  return last.length ? mean(last) : null;
};

// What a tile can show: {key, name, config, rows, spread, note}.
function subjects() {
  if (state.show === "runs") {
    const order = new Map(configurations().map((one, rank) => [one.config, rank]));
    return runs().filter((run) => matrix(run)?.length)
      .sort((a, b) => order.get(a.config) - order.get(b.config) || a.seed - b.seed)
      .map((run) => ({ key: `run ${run.id}`, name: runName(run), run, rows: matrix(run),
        note: run.status === "done" ? "" : run.status }));
  }
  return configurations().flatMap(({ runs: members }) => {
    const many = members.filter((run) => run.status === "done").map(matrix)
      .filter((rows) => rows?.length);
    if (!many.length) return [];
    const spread = combine(many, (values) => deviation(values) ?? 0);
    const rows = state.show === "spread" ? spread : combine(many, mean);
    return [{ key: `configuration ${members[0].config}`, name: nameOf(members[0]), run: members[0],
      rows, spread: state.show === "spread" ? null : spread,
      note: `${many.length} seed${many.length > 1 ? "s" : ""}` }];
  });
}

function tile(subject, colourOf, choose) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  paint(canvas, subject.rows, colourOf);
  const value = average(subject.rows);
  const what = state.show === "spread" ? "average spread" : "average";
  const face = make("button", {
    class: "face", type: "button",
    "aria-pressed": String([state.first, state.second].includes(subject.key)),
    "aria-label": `${subject.name}, ${what} ${cellText(value)}. Arrow keys read the cells; press to compare`,
    onclick: () => choose(subject.key),
  }, canvas);
  inspect(face, subject.rows, (t, i) => describeCell(subject.rows, t, i, subject.spread),
    subject.name, paramsOf(subject.run));
  const caption = make("figcaption", {}, make("b", {}, cellText(value)), ` ${subject.name}`,
    subject.note ? make("span", { class: "soft" }, ` · ${subject.note}`) : null);
  return make("figure", { class: "tile", "data-config": subject.run.config }, face, caption);
}

function legend(colourOf, low, high, middle) {
  const canvas = make("canvas", { width: 100, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  for (let x = 0; x < 100; x += 1) {
    context.fillStyle = css(colourOf(low + (x / 99) * (high - low)));
    context.fillRect(x, 0, 1, 1);
  }
  return make("div", { class: "legend" }, make("span", {}, cellText(low, middle ? 1 : 0)), canvas,
    make("span", {}, cellText(high, middle ? 1 : 0)));
}

let shownTiles = TILES;
function drawMatrices(place, render) {
  const spread = state.show === "spread";
  const all = subjects();
  let [low, high] = rangeOf();
  if (spread) [low, high] = [0, Math.max(1e-9, ...all.flatMap((one) => one.rows.flat()))];
  const colourOf = spread ? (value) => sequential(value / high) : scaled();
  const names = Object.keys(matrices).map((name) => [name, words(name)]);
  const set = (key) => (value) => { state[key] = value; render(); };
  const choose = (key) => {
    if (state.first === key) state.first = null;
    else if (state.first && state.second === key) state.second = null;
    else if (!state.first) state.first = key;
    else state.second = key;
    render();
    [...place.querySelectorAll("button.face")][all.findIndex((one) => one.key === key)]?.focus();
  };
  replace(place,
    make("div", { class: "controls" },
      selectOf("accuracy on", names, state.matrix, set("matrix")),
      selectOf("show", [["runs", "every run"], ["mean", "mean over seeds"],
        ["spread", "spread over seeds (SD)"]], state.show, set("show")),
      data.fraction && !spread
        ? selectOf("colours", [["fit", "range of the values"], ["full", "0 to 100 %"]], state.range,
          set("range")) : null,
      legend(colourOf, low, high)),
    make("div", { class: "grid" }, all.slice(0, shownTiles).map((one) => tile(one, colourOf, choose))),
    all.length ? null : make("p", { class: "soft" }, "No run that is kept has a matrix of this name."),
    all.length > shownTiles
      ? make("p", {}, make("button", { type: "button",
        onclick: () => { shownTiles = all.length; render(); } }, `show all ${all.length}`)) : null);
  return all;
}
