// Accuracy on each task while the next ones are learned (train/eval_every): one run at a time.
let series = []; // steps and a line for each task, or null, of each run in the order of data.runs

// Draw the validation score of every task over all steps of a run, best configuration first.
function within(render) {
  const found = configurations().flatMap((one) => one.runs).filter((run) => series[run.index]);
  if (!found.length) return null;
  const run = found.find((one) => one.id === state.within) ?? found[0];
  const { steps, lines } = series[run.index];
  const real = (value) => (value === null ? null : value / data.scale);
  const values = lines.flat().filter(isNumber).map(real);
  if (steps.length < 2 || !values.length) return null;
  const name = data.fraction ? "val/accuracy" : "val/mse";
  const [x, y] = [xScale(steps), yScale(values)];
  const frame = chart("Validation score of every task at steps of the training", x, y, "training step", name);
  lines.forEach((line, task) => {
    const points = line.map((value, i) => [steps[i], real(value)]).filter(([, value]) => value !== null);
    const group = make("g", { class: `k${task % 8}` });
    group.append(make("path", { class: "line", d: path(points.map(([step, value]) => [x(step), y(value)])) }));
    for (const [step, value] of points) {
      group.append(answers(make("circle", { class: "dot", cx: x(step), cy: y(value), r: 3 }),
        `${lines.length > 1 ? `task ${task}, ` : ""}step ${step}: ${cellText(value)}`, run.config));
    }
    frame.append(group);
  });
  const keys = lines.length < 2 ? null : make("ul", { class: "keys" }, lines.map((_, task) =>
    make("li", { class: `k${task % 8}` }, `task ${task}`)));
  const choose = found.length < 2 ? null : make("div", { class: "controls" }, selectOf("run",
    found.map((one) => [one.id, runName(one)]), run.id,
    (value) => { state.within = value; render(); }));
  return figureOf("Within tasks", `${axisName(name)} of ${found.length > 1 ? "" : `${runName(run)}, `}`
    + `${lines.length > 1 ? "every task so far" : "all tasks so far, mean"}`, frame, keys, choose);
}
