"""Tables of measured numbers: a number is always mean ± SEM (n).

One table has several forms: here Markdown and tidy CSV, in `latex.py` LaTeX, in `terminal.py`
text for a terminal.
"""

import csv
import io
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """Mean over n seeds; `sem`, the standard error of the mean, is None for a single seed."""

    mean: float
    sem: float | None
    n: int

    @staticmethod
    def of(values: Iterable[float]) -> "Estimate":
        """Estimate from one value per seed; SEM = sample standard deviation (n - 1) / sqrt(n).

        Raises:
            ValueError: there is no value.
        """
        sample = [float(value) for value in values]
        if not sample:
            raise ValueError("an estimate needs at least one value")
        sem = statistics.stdev(sample) / math.sqrt(len(sample)) if len(sample) > 1 else None
        return Estimate(statistics.fmean(sample), sem, len(sample))

    def __str__(self) -> str:
        if self.sem is None:
            return f"{number(self.mean)} (n = {self.n})"
        sem = number(self.sem)
        decimals = len(sem.partition(".")[2])
        mean = f"{self.mean:.{decimals}f}" if decimals > 2 else number(self.mean)
        return f"{mean} ± {sem} ({self.n})"


Entry = str | Estimate | None  # None: nothing was measured, shown as a dash


@dataclass(frozen=True)
class Table:
    """A titled table.

    Attributes:
        title: what it shows, with the unit of its numbers.
        columns: headings.
        rows: entries, one for each column.
        notes: lines below it that say what its numbers are.
        origin: command and commit that made it, shown below the notes.
        banner: what a reader must know before any number.
        narrow: the same in fewer columns, where a terminal has no room for all.
        bold: (row, column) of the entries to print in bold.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()
    banner: str = ""
    narrow: "Table | None" = None
    bold: frozenset[tuple[int, int]] = frozenset()

    @classmethod
    def from_columns(
        cls, title: str, columns: Mapping[str, Iterable[Entry]], notes: Iterable[str] = ()
    ) -> "Table":
        """Make a table of its columns, each a heading and one entry for every row.

        Raises:
            ValueError: the columns differ in length.
        """
        return cls(title, tuple(columns), tuple(zip(*columns.values(), strict=True)), tuple(notes))

    def markdown(self) -> str:
        """Write GitHub's pipe table, with the notes as a list below."""
        columns = [_escape_markdown(name) for name in self.columns]
        rules = ["---:" if self.is_measured(i) else "---" for i in range(len(columns))]
        body = [[_escape_markdown(self.shown(entry)) for entry in row] for row in self.rows]
        lines = ["| " + " | ".join(line) + " |" for line in [columns, rules, *body]]
        notes = [f"- {note}" for note in (*self.notes, *self.origin)]
        top = [f"> **{self.banner}**", ""] if self.banner else []
        return "\n".join([f"## {self.title}", "", *top, *lines, *[""][: len(notes)], *notes, ""])

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON takes it: a row is a mapping, a number is its mean, SEM and n."""
        blank = iter(("row", "kind"))
        names = [name or next(blank) for name in self.columns]
        rows = [
            {
                name: asdict(entry) if isinstance(entry, Estimate) else entry
                for name, entry in zip(names, row, strict=True)
            }
            for row in self.rows
        ]
        notes = [*self.notes, *self.origin]
        return {"title": self.title, "banner": self.banner, "rows": rows, "notes": notes}

    @staticmethod
    def shown(entry: Entry) -> str:
        """Write an entry; one that was not measured is a dash."""
        return "-" if entry is None else str(entry)

    def repeats(self, row: int) -> bool:
        """Say whether a row has the label of the row above, which need not be read twice."""
        is_label = self.columns[0] in ("", "row") and row > 0
        return is_label and self.rows[row][0] == self.rows[row - 1][0]

    def is_measured(self, column: int) -> bool:
        """Say whether a column holds numbers."""
        return any(isinstance(row[column], Estimate) for row in self.rows)


def ties(entries: Sequence[Entry], mode: str = "max") -> set[int]:
    """Find the best number and those within one SEM of it, whose order says nothing.

    Args:
        entries: those that are no numbers are not looked at.
        mode: "max", or "min" for errors and sizes.

    Returns:
        Their indices; the larger of the two SEMs decides, and a number without one ties with none.
    """
    found = {i: entry for i, entry in enumerate(entries) if isinstance(entry, Estimate)}
    if not found:
        return set()
    sign = -1 if mode == "min" else 1
    best = max(found.values(), key=lambda one: sign * one.mean)
    return {
        i
        for i, one in found.items()
        if one is best or abs(best.mean - one.mean) <= max(best.sem or 0.0, one.sem or 0.0)
    }


def best_of_rows(rows: Sequence[Sequence[Entry]], mode: str) -> frozenset[tuple[int, int]]:
    """Find what a table of methods sets in bold: in each row the best number and its ties."""
    return frozenset((i, j) for i, row in enumerate(rows) for j in ties(row, mode))


def numbers_csv(tables: Iterable[Table]) -> str:
    """Write each number of several tables on its own line, in full precision.

    The fields are the table's title, the texts of its row under their headings, the number's own
    heading (`column`), its unit, mean, SEM and n: one value in each.
    """
    lines = [line for table in tables for line in _number_lines(table)]
    last = ("column", "unit", "mean", "SEM", "n")
    texts = dict.fromkeys(name for line in lines for name in line if name not in ("table", *last))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["table", *texts, *last], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def _number_lines(table: Table) -> Iterator[dict[str, object]]:
    for row in table.rows:
        named = list(zip(table.columns, row, strict=True))
        texts = {name or "row": entry for name, entry in named if isinstance(entry, str)}
        for name, entry in named:
            if isinstance(entry, Estimate):
                yield {
                    "table": table.title.replace(" (%)", ""),
                    **texts,
                    "column": name.replace(" (%)", ""),
                    "unit": "%" if "(%)" in f"{table.title} {name}" else "",
                    "mean": entry.mean,
                    "SEM": entry.sem,
                    "n": entry.n,
                }


def number(value: float) -> str:
    """Write two decimals, or two significant digits where two decimals would show nothing."""
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.2f}"
    return f"{value:.{1 - math.floor(math.log10(abs(value)))}f}" if abs(value) > 1e-9 else "0.00"


def _escape_markdown(text: str) -> str:
    return text.replace("|", r"\|")
