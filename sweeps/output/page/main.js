// The page: sections that are drawn again when a filter or a choice changes; the table of runs.
function runTable() {
  const names = distinct([...data.objectives, ...distinct(data.runs.map((run) =>
    `test/${run.scenario}/average_accuracy`))]).filter((name) =>
    data.runs.some((run) => isNumber(run.metrics[name])));
  const keys = data.searched.map((one) => one.key)
    .filter((key) => data.runs.some((run) => run.params[key] !== undefined));
  const head = ["run", ...names.map(axisName), ...keys, "state", "minutes", "commit", "again"];
  const link = (run) => (run.url ? make("a", { href: run.url }, runName(run)) : runName(run));
  const order = new Map(configurations().map((one, rank) => [one.config, rank]));
  const body = runs().sort((a, b) => order.get(a.config) - order.get(b.config) || a.seed - b.seed)
    .map((run) => make("tr", { "data-config": run.config },
      make("th", { scope: "row" }, link(run)),
      names.map((name) => make("td", { class: "number" }, shown(name, run.metrics[name]).replace(" %", ""))),
      keys.map((key) => make("td", {}, run.params[key] === undefined ? "" : short(run.params[key]))),
      make("td", {}, run.status, run.reason ? make("div", { class: "soft" }, run.reason) : null),
      make("td", { class: "number" }, isNumber(run.metrics.wall_seconds) ? short(run.metrics.wall_seconds / 60) : ""),
      make("td", {}, run.commit ? make("code", {}, run.commit) : ""),
      make("td", {}, copyButton(run.command, `copy the command that trains ${runName(run)} again`))));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "All runs" },
    make("table", {}, make("thead", {}, make("tr", {}, head.map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, body)));
}

function copyButton(command, label) {
  const button = make("button", { type: "button", class: "copy", title: command, "aria-label": label,
    onclick: async () => {
      await navigator.clipboard?.writeText(command).catch(() => null);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    } }, "copy");
  return button;
}

function section(id) {
  return document.querySelector(`#${id} .body`);
}

function render() {
  hideTip();
  const all = drawMatrices(section("matrices"), render);
  drawDifference(section("difference"), all, render);
  fitCharts(section("charts"));
  const figures = [curves(), within(render), history(), pareto(render), parallel()].filter(Boolean);
  document.getElementById("charts").hidden = !figures.length;
  replace(section("charts"), make("div", { class: "charts" }, figures));
  replace(section("runs"), runTable());
  spoken.textContent = `${runs().length} of ${data.runs.length} runs`;
}

function themes() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.querySelector(".theme");
  const set = (theme) => {
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "light" : "dark";
    button.setAttribute("aria-label", `show the page in ${button.textContent} colours`);
    button.hidden = false;
    if (data.runs.length) render();
  };
  button.addEventListener("click", () => set(isDark() ? "light" : "dark"));
  dark.addEventListener("change", () => set(dark.matches ? "dark" : "light"));
  let before = "";
  addEventListener("beforeprint", () => { before = root.dataset.theme; set("light"); });
  addEventListener("afterprint", () => set(before));
  set(dark.matches ? "dark" : "light");
}

let last = innerWidth;
function resized() {
  if (Math.abs(innerWidth - last) < 40) return; // a scroll bar that comes or goes
  last = innerWidth;
  render();
}

async function start() {
  data.runs.forEach((run, index) => { run.index = index; });
  if (data.runs.length) {
    const steps = await unpack(data.matrices);
    matrices = Object.fromEntries(Object.entries(steps).map(([name, each]) =>
      [name, each.map((one) => (one ? matrixOf(one, data.scale) : null))]));
    series = data.within ? await unpack(data.within) : [];
    const own = `test/${data.runs[0].scenario}`;
    state.matrix = own in matrices ? own : Object.keys(matrices)[0] ?? "";
    filters(document.querySelector(".bar"), render);
    for (const one of document.querySelectorAll("[data-needs-script]")) one.hidden = false;
    addEventListener("resize", resized);
  }
  for (const place of document.querySelectorAll(".command")) {
    place.append(copyButton(place.querySelector("pre").textContent, "copy the command"));
  }
  themes();
}
await start();
