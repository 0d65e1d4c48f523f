"""A table's results as tables: the grid at a glance, every cell in full, tests between methods."""

from collections.abc import Sequence
from dataclasses import dataclass

from hcl.config.schema import added_later_at_default
from sweeps.output.metric_names import UNITS, mode_of
from sweeps.output.statistics.paired import paired_table
from sweeps.output.statistics.welch import CONFIDENCE, MIN_SEEDS, Difference, Verdict, difference
from sweeps.output.table import Entry, Estimate, Table, number
from sweeps.reproduction.results import CellResult, TableResults
from sweeps.reproduction.table_file import Cell, Paper, TableSpec

SIGNS: dict[Verdict, str] = {"matches": "=", "below": "<", "above": ">", "unknown": "?"}
OTHER_TASKS = "#"  # in a verdict's place where ours and the paper's had different kinds of tasks
DAGGER = "†"  # marks a number of the paper that no source confirms
# Settings that say how a number was measured. A cell names those that it has not at the default.
PROTOCOL = (
    "benchmark/class_order",
    "benchmark/order_seed",
    "benchmark/first_task_permuted",
    "method/distillation",
)


@dataclass(frozen=True)
class Origin:
    """Command and commit that made a table; every output names them."""

    command: str
    commit: str


@dataclass(frozen=True)
class Compared:
    """A cell's result beside the paper's number.

    Attributes:
        result: of the cell.
        ours: our estimate, None where nothing is trained yet.
        paper: the paper's number, None where it has none, or where the budget is not the paper's.
    """

    result: CellResult
    ours: Estimate | None
    paper: Paper | None

    @property
    def theirs(self) -> Estimate | None:
        """The paper's number as an estimate."""
        return Estimate(self.paper.mean, self.paper.sem, self.paper.n) if self.paper else None

    @property
    def difference(self) -> Difference | None:
        """Ours minus theirs, where both are known and had the same kind of tasks."""
        if not (self.ours and self.theirs and self.result.cell.has_papers_tasks):
            return None
        return difference(self.ours, self.theirs)


def compare(spec: TableSpec, result: CellResult) -> Compared:
    """Put a result beside the paper's number, if the two may be compared."""
    paper = result.cell.paper if spec.budget == "paper" else None
    return Compared(result, result.estimate(scale(spec)), paper)


def scale(spec: TableSpec) -> float:
    """Return the factor from a recorded number to the table's unit: accuracies are in percent."""
    return 100.0 if "accuracy" in spec.head.metric else 1.0


def title(spec: TableSpec) -> str:
    """Return the table's title, with its budget unless that is the paper's."""
    if spec.budget == "paper":
        return spec.head.title
    return f"{spec.head.title}, budget {spec.budget}: {spec.fraction:g} of the iterations"


def all_tables(
    spec: TableSpec, results: TableResults, origin: Origin, more: Sequence[str] = ()
) -> list[Table]:
    """Make every table that is printed or written, the short form first.

    Args:
        spec: the table.
        results: of its cells.
        origin: command and commit, which become notes.
        more: further notes.
    """
    notes = [
        *_legend(spec, results),
        *more,
        f"command: {origin.command}",
        f"commit: {origin.commit}",
    ]
    tables = [_grid(spec, results, notes), _every_cell(spec, results)]
    tests = _tests(spec, results)
    return [*tables, tests] if tests.rows else tables


def _grid(spec: TableSpec, results: TableResults, notes: Sequence[str]) -> Table:
    """The rows and columns of the table file, an abbreviated result in each."""
    columns: dict[str, list[Entry]] = {"": list(spec.rows)}
    for key, label in spec.columns.items():
        found = [results.cells.get((row, key)) for row in spec.rows]
        columns[label] = [_short(compare(spec, result)) if result else None for result in found]
    return Table.from_columns(title(spec), columns, notes)


def _short(compared: Compared) -> str:
    """`99.71 ± 0.04 (5) = 99.79†`: our number, the verdict's sign, the paper's mean."""
    result = compared.result
    if compared.ours is None:
        return f"missing ({len(result.seeds)} seeds)"
    text = str(compared.ours)
    if not result.is_complete:
        text += f" of {len(result.seeds)}"
    if compared.paper is None:
        return text
    mark = "" if compared.paper.mark == "CONFIRMED" else DAGGER
    gap = compared.difference
    sign = OTHER_TASKS if gap is None else SIGNS[gap.verdict]
    return f"{text} {sign} {number(compared.paper.mean)}{mark}"


def _legend(spec: TableSpec, results: TableResults) -> list[str]:
    """Notes that say what the numbers are, and what is missing or does not count."""
    cells = results.cells.values()
    missing = sum(not result.is_complete for result in cells)
    notes = [UNITS, *_legend_of_paper(spec, results), *_legend_of_protocols(spec, results)]
    if missing:
        notes.append(f"{missing} of {len(cells)} cells are missing or not complete")
    if spec.hidden:
        notes.append(f"left out by --only: {', '.join(spec.hidden)}")
    for count, what in (
        (results.num_other_version, "with another NUMERICS_VERSION"),
        (results.num_other_data, "on other data than the newest"),
    ):
        if count:
            notes.append(
                f"not counted: {count} finished runs of these settings {what}"
                " (--any-version counts them)"
            )
    runs = [run for result in cells for run in result.runs.values()]
    if others := sorted({run.commit for run in runs if run.is_other}):
        notes.append(f"counted by --any-version: runs of commits {', '.join(others)}")
    return [*notes, *spec.head.notes]


def _legend_of_paper(spec: TableSpec, results: TableResults) -> list[str]:
    if spec.budget != "paper":
        return [
            f"budget {spec.budget}: {spec.fraction:g} of the paper's iterations; these numbers are"
            " not compared with the paper's"
        ]
    papers = [result.cell.paper for result in results.cells.values() if result.cell.paper]
    if not papers:
        return []
    notes = [
        f"then a sign and the paper's mean: = no difference at {CONFIDENCE:.0%} (Welch),"
        f" < ours is lower, > ours is higher, ? no SEM or fewer than {MIN_SEEDS} seeds"
    ]
    if not all(result.cell.has_papers_tasks for result in results.cells.values()):
        notes.append(
            f"{OTHER_TASKS} not compared: every seed draws its own tasks here (order_seed trial)"
            " and not in the paper, or the reverse"
        )
    if any(paper.mark == "RECALLED" for paper in papers):
        notes.append(f"{DAGGER} recalled from memory and found in no source: confirms nothing")
    return notes


def _legend_of_protocols(spec: TableSpec, results: TableResults) -> list[str]:
    """Name the columns of every protocol but the default one."""
    columns: dict[str, dict[str, None]] = {}
    for result in results.cells.values():
        label = spec.columns[result.cell.column]
        columns.setdefault(protocol(result.cell), {})[label] = None
    return [
        f"protocol of {', '.join(labels)}: {settings}"
        for settings, labels in columns.items()
        if settings
    ]


def protocol(cell: Cell) -> str:
    """Write the settings that a cell was measured with and that differ from the defaults."""
    named = []
    for key in PROTOCOL:
        group, _, name = key.partition("/")
        settings = getattr(cell.config, group)
        if hasattr(settings, name) and name not in added_later_at_default(settings):
            named.append(f"{name} {getattr(settings, name)}")
    return ", ".join(named)


def _every_cell(spec: TableSpec, results: TableResults) -> Table:
    """A row for each cell: nothing abbreviated, numbers in columns. Add a column here."""
    every = [compare(spec, result) for result in results.cells.values()]
    columns: dict[str, list[Entry]] = {
        "row": [one.result.cell.row for one in every],
        "method": [spec.columns[one.result.cell.column] for one in every],
        "ours": [one.ours for one in every],
        "paper": [one.theirs for one in every],
        "mark": [_describe_mark(one.paper) for one in every],
        f"difference [{CONFIDENCE:.0%} CI]": [_describe_gap(one.difference) for one in every],
        "verdict": [_describe_verdict(one) for one in every],
        "protocol": [protocol(one.result.cell) for one in every],
        "seeds": [f"{len(one.result.runs)} of {len(one.result.seeds)}" for one in every],
        "compression ratio": [_ratio(one.result) for one in every],
        "core hours": [f"{_hours(one.result):.2f}" for one in every],
        "commits": [_commits(one.result) for one in every],
        "configuration": [one.result.cell.config.digest(without_seed=True) for one in every],
    }
    return Table.from_columns(f"{title(spec)}: every cell", columns)


def _describe_mark(paper: Paper | None) -> str:
    """Return whether the paper's number was seen in a source; the SEM where it differs."""
    if paper is None:
        return ""
    return paper.mark if paper.mark == paper.sem_mark else f"{paper.mark}, SEM {paper.sem_mark}"


def _describe_gap(gap: Difference | None) -> str:
    if gap is None:
        return ""
    bounds = "" if gap.interval is None else " [{:+.2f}, {:+.2f}]".format(*gap.interval)
    return f"{gap.mean:+.2f}{bounds}"


def _describe_verdict(compared: Compared) -> str:
    if compared.ours is None:
        return "missing"
    if compared.paper and not compared.result.cell.has_papers_tasks:
        return "other tasks"
    return compared.difference.verdict if compared.difference else ""


def _ratio(result: CellResult) -> str:
    ratios = [run.ratio for run in result.runs.values()]
    return f"{ratios[0]:.3f}" if ratios and ratios[0] == ratios[0] else ""


def _hours(result: CellResult) -> float:
    return sum(run.hours for run in result.runs.values())


def _commits(result: CellResult) -> str:
    return ", ".join(sorted({run.commit for run in result.runs.values()}))


def _tests(spec: TableSpec, results: TableResults) -> Table:
    """Tests of every pair of complete methods in a row, if their seeds share tasks."""
    groups: dict[str, dict[str, dict[int, float]]] = {row: {} for row in spec.rows}
    for (row, column), result in results.cells.items():
        if result.is_complete:  # others have fewer seeds, which are never compared
            name = f"{row}, order_seed trial" if result.cell.draws_tasks else row
            groups.setdefault(name, {})[spec.columns[column]] = result.values(scale(spec))
    mode = mode_of(spec.head.metric)
    return paired_table(f"{title(spec)}: methods against each other", groups, mode)
