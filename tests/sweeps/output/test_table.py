"""Numbers as mean ± SEM (n) in four forms."""

import csv
import io
import math

import pytest

from sweeps.output.table import Estimate, Table, numbers_csv

TABLE = Table(
    "A & B",
    ("method_name", "100% |x|"),
    (("hnet", Estimate.of([97.0, 98.0, 99.0])), ("si", Estimate.of([50.0])), ("er", None)),
    ("note_1",),
)


def test_estimate_is_mean_and_sem_over_n() -> None:
    estimate = Estimate.of([97.0, 98.0, 99.0])
    assert (estimate.mean, estimate.n) == (98.0, 3)
    assert estimate.sem == pytest.approx(1 / math.sqrt(3))
    assert str(estimate) == "98.00 ± 0.58 (3)"


def test_a_single_seed_has_no_sem() -> None:
    assert Estimate.of([50.0]).sem is None
    assert str(Estimate.of([50.0])) == "50.00 (n = 1)"
    with pytest.raises(ValueError, match="at least one"):
        Estimate.of([])


def test_small_numbers_keep_their_digits() -> None:
    assert str(Estimate(0.0012345, 0.00004, 2)) == "0.0012 ± 4e-05 (2)"
    assert str(Estimate(0.0, 0.0, 2)) == "0.00 ± 0.00 (2)"


def test_columns_make_the_same_table() -> None:
    columns = {name: [row[i] for row in TABLE.rows] for i, name in enumerate(TABLE.columns)}
    assert Table.from_columns(TABLE.title, columns, TABLE.notes) == TABLE
    assert Table.from_columns("", {"a": [], "b": []}) == Table("", ("a", "b"), ())
    with pytest.raises(ValueError, match="shorter"):
        Table.from_columns("", {"a": ["1", "2"], "b": ["1"]})


def test_markdown() -> None:
    assert TABLE.markdown().splitlines() == [
        "## A & B",
        "",
        r"| method_name | 100% \|x\| |",
        "| --- | ---: |",
        "| hnet | 98.00 ± 0.58 (3) |",
        "| si | 50.00 (n = 1) |",
        "| er | - |",
        "",
        "- note_1",
    ]


def test_latex_is_booktabs_and_escaped() -> None:
    lines = [line.strip() for line in TABLE.latex().splitlines()]
    assert r"\caption{A \& B. note\_1}" in lines
    assert r"\begin{tabular}{lr}" in lines
    assert r"method\_name & 100\% |x| \\" in lines
    assert r"hnet & 98.00 $\pm$ 0.58 (3) \\" in lines
    assert r"er & -- \\" in lines
    assert [line for line in lines if line.endswith("rule")] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ]


def test_csv_keeps_full_precision() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.csv())))
    assert float(rows[0]["100% |x| SEM"]) == 1 / math.sqrt(3)
    assert [row["100% |x| n"] for row in rows] == ["3", "1", ""]
    assert [row["100% |x| SEM"] for row in rows][1:] == ["", ""]


def test_several_tables_are_one_csv_with_units() -> None:
    percent = Table("accuracy (%)", ("method", "task"), (("hnet", Estimate(97.5, None, 1)),))
    rows = list(csv.DictReader(io.StringIO(numbers_csv([TABLE, percent]))))
    assert [row["table"] for row in rows] == [TABLE.title, TABLE.title, "accuracy"]
    assert [row["row"] for row in rows] == ["hnet", rows[1]["row"], "hnet"]
    assert [row["unit"] for row in rows] == ["", "", "%"]
    assert rows[2] == {
        **{"table": "accuracy", "row": "hnet", "column": "task", "unit": "%"},
        **{"mean": "97.5", "SEM": "", "n": "1"},
    }
    assert float(rows[0]["SEM"]) == 1 / math.sqrt(3)


def test_terminal_shows_every_cell_and_note() -> None:
    shown = TABLE.terminal(width=60)
    for part in ("A & B", "98.00 ± 0.58 (3)", "50.00 (n = 1)", "note_1", "100% |x|"):
        assert part in shown
    assert max(map(len, shown.splitlines())) <= 60
