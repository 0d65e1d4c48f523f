"""LaTeX that compiles and fits the page."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.output.latex import as_latex
from sweeps.output.table import Estimate, Table, best_of_rows
from sweeps.reproduction.results import CellResult, Run, TableResults
from sweeps.reproduction.table_file import load_table, names
from sweeps.reproduction.tables import Origin, all_tables

ROWS = (("S_1", "ours", Estimate.of([97.0, 98.0, 99.0]), None), ("S_1", "paper", "50", "x ≥ β†"))
TABLE = Table("A & B (%)", ("", "", "100% |x|", "er"), ROWS, ("note_1", "a < b > c"),
              ("command: hcl reproduce table1",))  # fmt: skip
DOCUMENT = r"""
\documentclass{article}
\usepackage{booktabs, graphicx}
\begin{document}
%s
\end{document}
"""


def test_a_table_is_booktabs_labelled_escaped_and_its_best_is_bold() -> None:
    text = as_latex(replace(TABLE, bold=best_of_rows(ROWS, mode="max"), banner="1% only"))
    lines = [line.strip() for line in text.splitlines()]
    assert lines[:2] == ["% needs booktabs and graphicx", "% command: hcl reproduce table1"]
    assert r"\caption{A \& B (\%). \textbf{1\% only}}" in lines
    assert r"\label{tab:a-b}" in lines
    assert r"\begin{tabular}{llrl}" in lines
    assert r"S\_1 & ours & \textbf{\boldmath 98.00 $\pm$ 0.58 (3)} & -- \\" in lines
    assert r"& paper & 50 & x $\geq$ $\beta$\textdagger{} \\" in lines
    assert [line for line in lines if line.endswith("rule")] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ]


def results_of(name: str) -> Table:
    """The main table of a table file, with a number in every cell."""
    spec = load_table(name)
    run = Run("id", "sweep", "label", 0.98765, 0.1, 1.0, "abcdef0", is_other=False)
    cells = {
        (cell.row, cell.column): CellResult(
            cell, (1, 2, 3), {seed: replace(run, value=0.9 + seed / 100) for seed in (1, 2, 3)}
        )
        for cell in spec.cells
    }
    command = f"hcl reproduce {name} --seeds 3 --only " + ",".join(spec.rows)
    return all_tables(spec, TableResults(cells), Origin(command, "0" * 40))[0]


@pytest.mark.timeout(120)
def test_every_table_compiles_and_fits_the_page(tmp_path: Path) -> None:
    latex = shutil.which("pdflatex")
    if latex is None:
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-recommended)")
    wide = Table("Wide", tuple(f"column {i}" for i in range(30)),
                 (tuple(Estimate(99.0, 0.1, 3) for _ in range(30)),), ("word " * 80,))  # fmt: skip
    tables = [TABLE, wide, *map(results_of, names())]
    (tmp_path / "all.tex").write_text(DOCUMENT % "\n\\clearpage\n".join(map(as_latex, tables)))
    command = [latex, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "all.log").read_text(errors="replace")
    assert not re.findall(r"Overfull .*", log)
    assert not re.findall(r"LaTeX Warning: (?!Label|There were).*", log)
