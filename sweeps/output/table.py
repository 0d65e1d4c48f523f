"""Tables of measured numbers: a number is always mean ± SEM (n).

One table has four forms: Markdown, LaTeX (booktabs), CSV with a column for each part of a number,
and a rich table for the terminal.
"""

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text


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
        return f"{number(self.mean)} ± {number(self.sem)} ({self.n})"


Entry = str | Estimate | None  # None: nothing was measured, shown as a dash


@dataclass(frozen=True)
class Table:
    """A titled table; `notes` are the lines below it that say what its numbers are."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()

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
        rules = ["---:" if self._is_measured(i) else "---" for i in range(len(columns))]
        body = [[_escape_markdown(_plain(entry)) for entry in row] for row in self.rows]
        lines = ["| " + " | ".join(line) + " |" for line in [columns, rules, *body]]
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([f"## {self.title}", "", *lines, *([""] if notes else []), *notes, ""])

    def latex(self) -> str:
        r"""Write a `table` for \usepackage{booktabs}, with the notes in its caption."""
        aligned = "".join("r" if self._is_measured(i) else "l" for i in range(len(self.columns)))
        body = [" & ".join(_latex_entry(entry) for entry in row) + r" \\" for row in self.rows]
        caption = _escape_latex(". ".join([self.title, *self.notes]))
        return "\n".join(
            [
                r"\begin{table}",
                r"  \centering",
                rf"  \caption{{{caption}}}",
                rf"  \begin{{tabular}}{{{aligned}}}",
                r"    \toprule",
                "    " + " & ".join(_escape_latex(name) for name in self.columns) + r" \\",
                r"    \midrule",
                *(f"    {line}" for line in body),
                r"    \bottomrule",
                r"  \end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def csv(self) -> str:
        """Write full precision; a measured column becomes NAME mean, NAME SEM and NAME n."""
        measured = [self._is_measured(i) for i in range(len(self.columns))]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        header: list[str] = []
        for name, is_measured in zip(self.columns, measured, strict=True):
            header += (
                [f"{name} {part}" for part in ("mean", "SEM", "n")] if is_measured else [name]
            )
        writer.writerow(header)
        for row in self.rows:
            line: list[object] = []
            for entry, is_measured in zip(row, measured, strict=True):
                line += _csv_parts(entry) if is_measured else [entry]
            writer.writerow(line)
        return buffer.getvalue()

    def rich(self) -> RichTable:
        """Make rich's table for the terminal, with the notes as its caption."""
        table = RichTable(title=self.title, caption="\n".join(self.notes), title_justify="left")
        table.caption_justify = "left"
        for index, name in enumerate(self.columns):
            # Text, not str: rich reads [brackets] in a string as markup.
            if self._is_measured(index):  # the heading breaks into lines, its numbers do not
                table.add_column(Text(name), justify="right", max_width=17)
            else:
                table.add_column(Text(name), overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(_plain(entry)) for entry in row))
        return table

    def terminal(self, width: int = 120) -> str:
        """Write the rich table as text without colours."""
        console = Console(file=io.StringIO(), width=width, color_system=None)
        console.print(self.rich())
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    def _is_measured(self, column: int) -> bool:
        return any(isinstance(row[column], Estimate) for row in self.rows)


def numbers_csv(tables: Iterable[Table]) -> str:
    """Write each number of several tables on its own line, in full precision, with its unit."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("table", "row", "column", "unit", "mean", "SEM", "n"))
    for table in tables:
        for row in table.rows:
            texts = [entry for entry in row if isinstance(entry, str)]
            for name, entry in zip(table.columns, row, strict=True):
                if isinstance(entry, Estimate):
                    unit = "%" if "(%)" in f"{table.title} {name}" else ""
                    plain = [text.replace(" (%)", "") for text in (table.title, name)]
                    place = (plain[0], " | ".join(texts), plain[1], unit)
                    writer.writerow([*place, *_csv_parts(entry)])
    return buffer.getvalue()


def number(value: float) -> str:
    """Write two decimals, or two significant digits where two decimals would show nothing."""
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.005 else f"{value:.2g}"


def _plain(entry: Entry) -> str:
    return "-" if entry is None else str(entry)


def _latex_entry(entry: Entry) -> str:
    return "--" if entry is None else _escape_latex(str(entry))


def _csv_parts(entry: Entry) -> list[object]:
    if isinstance(entry, Estimate):
        return [entry.mean, "" if entry.sem is None else entry.sem, entry.n]
    return [entry, "", ""]


def _escape_markdown(text: str) -> str:
    return text.replace("|", r"\|")


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}


def _escape_latex(text: str) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return escaped.replace("±", r"$\pm$").replace("β", r"$\beta$")
