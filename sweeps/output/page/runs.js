// Runs, the configurations that they belong to, and which of both the filters keep.
const FILTERS = [
  ["sweep", "sweep"], ["method", "method"], ["benchmark", "benchmark"], ["scenario", "scenario"],
  ["seed", "seed"], ["status", "status"],
];
const state = { kept: {}, matrix: "", range: "fit", show: "runs", first: null, second: null };
const maximize = data.modes[0] !== "min";
let matrices = {}; // name -> one matrix (or null) for each run, in the order of data.runs

const distinct = (values) => [...new Set(values)];
const runs = () => data.runs.filter((run) =>
  FILTERS.every(([key]) => !state.kept[key] || state.kept[key].has(String(run[key]))));

// The first objective, or where a run has none (the paper's protocol) its test accuracy.
const objective = data.objectives[0];
const score = (run) => run.metrics[objective] ?? run.metrics[`test/${run.scenario}/average_accuracy`];
const scoreName = () =>
  data.runs.some((run) => isNumber(run.metrics[objective])) ? objective : "test average_accuracy";
const better = (a, b) => (maximize ? b - a : a - b);
const matrix = (run) => (matrices[state.matrix] ?? [])[run.index] ?? null;

// Configurations of the runs that are kept, best mean objective first; those without one last.
function configurations() {
  const found = new Map();
  for (const run of runs()) {
    if (!found.has(run.config)) found.set(run.config, []);
    found.get(run.config).push(run);
  }
  const all = [...found].map(([config, members]) => {
    const scores = members.filter((run) => run.status === "done").map(score).filter(isNumber);
    return { config, runs: members, scores, value: scores.length ? mean(scores) : null };
  });
  const worst = maximize ? -Infinity : Infinity;
  return all.sort((a, b) => better(a.value ?? worst, b.value ?? worst));
}

// A configuration in words: its trial where there was a search, its method, what sets it apart.
function nameOf(run) {
  const place = isNumber(run.trial) ? `trial ${run.trial}` : "";
  const several = distinct(data.runs.map((one) => one.method)).length > 1;
  const where = distinct(data.runs.map((one) => one.benchmark)).length > 1 ? run.benchmark : "";
  const parts = [place, several || !place ? run.method : "", where].filter(Boolean);
  return parts.join(" · ");
}
const paramsOf = (run) => Object.entries(run.params)
  .map(([key, value]) => `${key} = ${short(value)}`).join("\n");
const runName = (run) => `${nameOf(run)} · seed ${run.seed}`;

// One colour for each method where there are several, else one for all.
const methods = distinct(data.runs.map((run) => run.method));
const colour = (run) => `k${methods.indexOf(run.method) % 8}`;

function filters(place, render) {
  for (const [key, label] of FILTERS) {
    const values = distinct(data.runs.map((run) => String(run[key])))
      .sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    if (values.length < 2) continue;
    if (values.length > 12) {
      const options = [["", "all"], ...values.map((value) => [value, value])];
      place.append(make("span", { class: "controls" }, selectOf(label, options, "", (value) => {
        state.kept[key] = value ? new Set([value]) : null;
        render();
      })));
      continue;
    }
    const buttons = values.map((value) => make("button", {
      type: "button", "aria-pressed": "true",
      onclick: (event) => { toggle(key, value, values, event.currentTarget.parentNode); render(); },
    }, value));
    place.append(make("fieldset", {}, make("legend", {}, label), buttons));
  }
  if (!place.childElementCount) place.remove();
}

// The first press keeps one value alone; further ones add and remove; none left keeps all.
function toggle(key, value, values, group) {
  let kept = state.kept[key];
  if (!kept) kept = new Set([value]);
  else if (kept.has(value)) kept.delete(value);
  else kept.add(value);
  state.kept[key] = kept.size && kept.size < values.length ? kept : null;
  for (const button of group.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(!state.kept[key] || kept.has(button.textContent)));
  }
}
