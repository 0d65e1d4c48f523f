"""Numbers as mean ± SEM (n) in four forms."""

import csv
import io
import math

import pytest

from sweeps.output.table import Estimate, Table, best_of_rows, numbers_csv, ties

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
    assert str(Estimate(0.0012345, 0.00004, 2)) == "0.001234 ± 0.000040 (2)"
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


def test_several_tables_are_one_csv_with_units() -> None:
    percent = Table("accuracy (%)", ("method", "task"), (("hnet", Estimate(97.5, None, 1)),))
    rows = list(csv.DictReader(io.StringIO(numbers_csv([TABLE, percent]))))
    assert [row["table"] for row in rows] == [TABLE.title, TABLE.title, "accuracy"]
    assert [row["method_name"] for row in rows] == ["hnet", "si", ""]
    assert [row["unit"] for row in rows] == ["", "", "%"]
    assert rows[2] == {
        **{"table": "accuracy", "method_name": "", "method": "hnet", "column": "task"},
        **{"unit": "%", "mean": "97.5", "SEM": "", "n": "1"},
    }
    assert float(rows[0]["SEM"]) == 1 / math.sqrt(3)


def test_a_table_of_ties_marks_what_is_within_one_sem_of_the_best() -> None:
    best, close, far = Estimate(99.0, 0.5, 3), Estimate(98.6, 0.1, 3), Estimate(98.4, 0.1, 3)
    assert ties([far, best, None, close, "text"]) == {1, 3}
    assert ties([Estimate(99.0, None, 1), Estimate(98.9, None, 1)]) == {0}
    assert ties([best, close, far], mode="min") == {2}
    assert ties([None, "text"]) == set()
    assert best_of_rows([(best, close), (None, far)], mode="max") == {(0, 0), (0, 1), (1, 1)}
