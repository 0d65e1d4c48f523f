// Curves over tasks, the search over trials, the Pareto front, parallel coordinates.
const LINES = 8; // curves that can be told apart

// Mean over seeds of the average accuracy after each task, with a band of one SEM.
function curves() {
  const shown = configurations().map(({ runs: members }) => {
    const seeds = members.filter((run) => run.status === "done").map(matrix).filter(Boolean)
      .map((rows) => rows.map((row) => mean(row.filter(isNumber))));
    return { run: members[0], seeds };
  }).filter((one) => one.seeds.length && one.seeds[0].length > 1).slice(0, LINES);
  if (!shown.length) return null;
  const lines = shown.map(({ run, seeds }) => ({ run, seeds, points: seeds[0].map((_, t) => {
    const values = seeds.map((seed) => seed[t]).filter(isNumber);
    return { value: mean(values), error: sem(values) ?? 0 };
  }) }));
  const all = lines.flatMap((one) => one.points.flatMap((p) => [p.value - p.error, p.value + p.error]));
  const steps = Array.from({ length: Math.max(...lines.map((one) => one.points.length)) }, (_, t) => t + 1);
  const [x, y] = [xScale(steps), yScale(all)];
  x.ticks = steps.length <= 12 ? steps : x.ticks.filter(Number.isInteger);
  const name = data.fraction ? `${state.matrix}/average_accuracy` : state.matrix;
  const frame = chart("Average accuracy after each task; the table of matrices has the numbers", x, y,
    "tasks learned", name);
  lines.forEach(({ run, points, seeds }, index) => {
    const upper = points.map((p, t) => [x(t + 1), y(p.value + p.error)]);
    const lower = points.map((p, t) => [x(t + 1), y(p.value - p.error)]).reverse();
    const group = make("g", { class: `k${index}` });
    if (seeds.length > 1) group.append(make("path", { class: "band", d: `${path([...upper, ...lower])}Z` }));
    group.append(make("path", { class: "line", "data-config": run.config,
      d: path(points.map((p, t) => [x(t + 1), y(p.value)])) }));
    points.forEach((p, t) => group.append(answers(
      make("circle", { class: "dot", cx: x(t + 1), cy: y(p.value), r: 4 }),
      `${nameOf(run)}\nafter ${t + 1} task${t ? "s" : ""}: ${cellText(p.value)}`
        + (p.error ? ` ± ${cellText(p.error)}` : "") + ` (n = ${seeds.length})`, run.config)));
    frame.append(group);
  });
  const keys = make("ul", { class: "keys" }, lines.map(({ run, seeds }, index) =>
    make("li", { class: `k${index}` }, `${nameOf(run)} (n = ${seeds.length})`)));
  return figureOf("While it learns", `mean over seeds of ${axisName(name)}, band: one SEM; best ${lines.length} configurations`,
    frame, keys);
}

// The objective of every trial, and the best so far.
function history() {
  const trials = configurations().filter(({ runs: [run], value }) => isNumber(run.trial) && value !== null)
    .sort((a, b) => a.runs[0].trial - b.runs[0].trial);
  if (trials.length < 2) return null;
  const [x, y] = [xScale(trials.map((one) => one.runs[0].trial)), yScale(trials.map((one) => one.value))];
  x.ticks = x.ticks.filter((tick) => Number.isInteger(tick) && tick >= 0);
  const name = scoreName();
  const frame = chart(`${words(name)} of ${trials.length} trials; the table of runs has the numbers`, x, y,
    "trial", name);
  let best = null;
  const steps = [];
  for (const { runs: [run], value } of trials) {
    if (best !== null) steps.push([x(run.trial), y(best)]);
    best = best === null || better(value, best) < 0 ? value : best;
    steps.push([x(run.trial), y(best)]);
  }
  frame.append(make("path", { class: "best", d: path(steps) }));
  for (const one of trials) {
    const [run] = one.runs;
    frame.append(make("g", { class: colour(run) }, answers(
      make("circle", { class: "dot", cx: x(run.trial), cy: y(one.value), r: 5 }),
      `${nameOf(run)}: ${estimate(name, one.scores)}\n${paramsOf(run)}`, run.config)));
  }
  return figureOf("The search", `${axisName(name)} of each trial; line: best so far`, frame);
}

// Numbers that configurations can be compared by: objectives first, then size and time.
function measures() {
  const names = distinct([...data.objectives, "compression_ratio", "wall_seconds",
    ...Object.keys(data.runs.find((run) => run.status === "done")?.metrics ?? {})]);
  return names.filter((name) => data.runs.some((run) => isNumber(run.metrics[name])));
}
const lowerIsBetter = (name) => data.objectives.includes(name)
  ? data.modes[data.objectives.indexOf(name)] === "min"
  : /ratio|seconds|forgetting|mse|memory/.test(name);

function pareto(render) {
  const names = measures();
  if (names.length < 2) return null;
  const several = data.objectives.length > 1;
  state.across ??= several ? data.objectives[1] : names.find((name) => name === "compression_ratio") ?? names[1];
  state.up ??= data.objectives.find((name) => names.includes(name)) ?? names[0];
  const points = configurations().map(({ runs: members }) => {
    const done = members.filter((run) => run.status === "done");
    const [a, b] = [state.across, state.up].map((name) =>
      done.map((run) => run.metrics[name]).filter(isNumber));
    return a.length && b.length ? { run: members[0], a, b, at: [mean(a), mean(b)] } : null;
  }).filter(Boolean);
  if (points.length < 2) return null;
  const signs = [state.across, state.up].map((name) => (lowerIsBetter(name) ? -1 : 1));
  const beats = (p, q) => signs.every((s, i) => s * p.at[i] >= s * q.at[i])
    && signs.some((s, i) => s * p.at[i] > s * q.at[i]);
  const front = points.filter((p) => !points.some((q) => beats(q, p))).sort((p, q) => p.at[0] - q.at[0]);
  const [x, y] = [xScale(points.map((p) => p.at[0])), yScale(points.map((p) => p.at[1]))];
  const frame = chart(`${front.length} of ${points.length} configurations on the Pareto front`, x, y,
    state.across, state.up);
  frame.append(make("path", { class: "best", d: path(front.map((p) => [x(p.at[0]), y(p.at[1])])) }));
  for (const point of points) {
    const where = { cx: x(point.at[0]), cy: y(point.at[1]) };
    const words = `${nameOf(point.run)}\n${axisName(state.up)}: ${estimate(state.up, point.b)}\n`
      + `${axisName(state.across)}: ${estimate(state.across, point.a)}\n${paramsOf(point.run)}`;
    frame.append(make("g", { class: colour(point.run) },
      answers(make("circle", { class: "dot", ...where, r: 5 }), words, point.run.config),
      front.includes(point) ? make("circle", { class: "ring", ...where, r: 8, "pointer-events": "none" }) : null));
  }
  const options = names.map((name) => [name, axisName(name)]);
  const set = (key) => (value) => { state[key] = value; render(); };
  return figureOf("Pareto front", "ringed: no other is as good in both and better in one", frame,
    make("div", { class: "controls" }, selectOf("up", options, state.up, set("up")),
      selectOf("across", options, state.across, set("across"))));
}

// A line for each configuration through its searched values and its objective.
function parallel() {
  const all = configurations().filter((one) => one.value !== null);
  // Settings that most configurations have: the others' lines would skip an axis.
  const keys = data.searched.filter(({ key }) =>
    2 * all.filter(({ runs: [run] }) => run.params[key] !== undefined).length > all.length);
  if (keys.length < 2 || all.length < 2) return null;
  const [top, bottom, width] = [46, HEIGHT - 14, Math.max(WIDTH, 120 * (keys.length + 1))];
  const axes = [...keys.map(({ key, log, choice }) => {
    const values = all.map(({ runs: [run] }) => run.params[key]).filter((v) => v !== undefined);
    if (!choice && values.every(isNumber) && distinct(values).length > 2) {
      return { key, scale: scaleOf(values, bottom, top, log && values.every((v) => v > 0)), ends: true };
    }
    const places = distinct(values.map(short)).sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    const scale = (value) => bottom - ((places.indexOf(short(value)) + 0.5) / places.length) * (bottom - top);
    return { key, scale, places };
  }), { key: scoreName(), scale: scaleOf(all.map((one) => one.value), bottom, top), ends: true }];
  const at = (index) => 60 + (index * (width - 130)) / (axes.length - 1);
  const frame = make("svg", { class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img",
    "aria-label": `Searched values and objective of ${all.length} configurations; the table of runs has them` });
  frame.style.minWidth = `${width}px`; // where it is wider than its place, that scrolls
  const scores = all.map((one) => one.value);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  for (const one of [...all].reverse()) {
    const [run] = one.runs;
    const points = axes.map((axis, index) => {
      const value = index === axes.length - 1 ? one.value : run.params[axis.key];
      return value === undefined ? null : [at(index), axis.scale(value)];
    }).filter(Boolean);
    const line = make("path", { class: "thread", d: path(points) });
    const share = high > low ? (one.value - low) / (high - low) : 1;
    line.style.stroke = css(sequential(isDark() ? 0.3 + 0.7 * share : 0.85 * share));
    frame.append(answers(line, `${nameOf(run)}: ${estimate(scoreName(), one.scores)}\n${paramsOf(run)}`, run.config));
  }
  axes.forEach((axis, index) => {
    const [group, , last] = axis.key.includes("/") ? axis.key.split(/(\/)/) : ["", "", axis.key];
    frame.append(make("line", { class: "axis", x1: at(index), x2: at(index), y1: top, y2: bottom }),
      text(at(index), 14, index === axes.length - 1 ? "" : group), text(at(index), 30,
        index === axes.length - 1 ? "objective" : last));
    for (const tick of axis.places ?? axis.scale.ticks) {
      frame.append(text(at(index) + 6, axis.scale(tick) + 4,
        axis.places ? tick : tickText(tick, axis.key), "start"));
    }
  });
  return figureOf("Every setting at once", `yellow and green lines: better ${words(scoreName())}`,
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Parallel coordinates" }, frame));
}
