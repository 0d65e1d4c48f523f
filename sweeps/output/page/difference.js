// Two matrices cell by cell, and the difference of the two.
function numbers(rows, colourOf, title, signed) {
  const format = (value) => {
    if (value === null) return "";
    const text = data.fraction ? percent(value, 1) : short(value);
    return signed && value > 0 ? `+${text}` : text;
  };
  if (rows.length > 12) {
    const canvas = make("canvas", { role: "img", "aria-label": title });
    paint(canvas, rows, colourOf);
    return canvas;
  }
  const head = make("tr", {}, make("th", { scope: "col" }, "after"),
    rows.map((_, i) => make("th", { scope: "col" }, `on ${i}`)));
  const body = rows.map((row, t) => make("tr", {}, make("th", { scope: "row" }, String(t)),
    rows.map((_, i) => {
      const cell = make("td", { class: "cell" }, i < row.length ? format(row[i]) : "");
      if (i < row.length && row[i] !== null) {
        const fill = colourOf(row[i]);
        [cell.style.background, cell.style.color] = [css(fill), inkOn(fill)];
      }
      return cell;
    })));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
    make("table", {}, make("thead", {}, head), make("tbody", {}, body)));
}

function panel(title, rows, colourOf, note, signed = false) {
  return make("figure", {}, make("h3", {}, title), make("p", { class: "soft" }, note),
    numbers(rows, colourOf, title, signed));
}

function drawDifference(place, all, render) {
  if (!all.length) return replace(place, make("p", { class: "soft" }, "There is nothing to compare."));
  const find = (key) => all.find((one) => one.key === key);
  const first = find(state.first) ?? all[0];
  const others = all.filter((one) => one.run.config !== first.run.config);
  const second = find(state.second)
    ?? others.find((one) => ["benchmark", "scenario"].every((key) => one.run[key] === first.run[key]))
    ?? others[0]
    ?? all.find((one) => one !== first) ?? first;
  const options = all.map((one) => [one.key, `${one.name} (${cellText(average(one.rows))})`]);
  const set = (key) => (value) => { state[key] = value; render(); };
  const tasks = Math.min(first.rows.length, second.rows.length);
  const gap = combine([first.rows, second.rows], ([a, b]) => (b === undefined ? null : a - b));
  const largest = Math.max(1e-9, ...gap.flat().filter(isNumber).map(Math.abs));
  const signed = (value) => diverging(value / largest);
  const total = average(first.rows.slice(0, tasks)) - average(second.rows.slice(0, tasks));
  const size = data.fraction ? `${percent(total)} points` : short(total);
  const [colourOf, unit] = [scaled(), data.fraction ? " (%)" : ""];
  replace(place,
    make("div", { class: "controls" }, selectOf("A", options, first.key, set("first")),
      selectOf("B", options, second.key, set("second")),
      make("button", { type: "button", onclick: () => {
        [state.first, state.second] = [second.key, first.key];
        render();
      } }, "swap")),
    make("div", { class: "pair" },
      panel(`A: ${first.name}`, first.rows, colourOf, `average ${cellText(average(first.rows))}`),
      panel(`B: ${second.name}`, second.rows, colourOf, `average ${cellText(average(second.rows))}`),
      panel(`A − B${unit}`, gap, signed, `average ${total > 0 ? "+" : ""}${size}`, true)));
}
