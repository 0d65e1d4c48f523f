"""Tables on terminals of 60 to 200 columns, in a pipe and without colours."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from sweeps.output.table import Estimate, Table
from sweeps.output.terminal import UNKNOWN, as_text

WIDTHS = (60, 80, 120, 200)
SETTINGS = ("beta", "embedding size", "chunk embedding size", "chunk size", "hidden sizes", "lr")
BEST = Table(
    "Best 2 of 6 configurations",
    ("rank", "trial", *(f"{split}/task average accuracy (%)" for split in ("val", "test")),
     *SETTINGS),
    (
        ("1", "3", Estimate(99.77, 0.12, 3), Estimate(99.53, 0.19, 3),
         "0.008255", "32", "12", "1272", "25,25", "0.0004209"),
        ("2 (tie)", "12", Estimate(99.7, None, 1), None, "0.01", "4", "32", "907", "", "0.003"),
    ),
    ("mean ± SEM (n seeds); a single seed has no SEM",),
    ("command: hcl sweep split_digits-hnet",),
)  # fmt: skip
TEXTS = Table(
    "Pairs",
    ("row", "pair", "p", "at 5%"),
    (("split_digits, 2 tasks, task", "ER - SI", "1", "no difference shown"),
     ("split_digits, 2 tasks, task", "ER - HNET", "0.01", "differ")),
)  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("table", [BEST, TEXTS], ids=["numbers", "texts"])
def test_every_entry_is_shown_and_no_line_is_too_wide(table: Table, width: int) -> None:
    text = as_text(table, width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    for entry in {entry for row in table.rows for entry in row if entry}:
        assert isinstance(entry, str) or str(entry) in text  # a number is never broken
        assert all(word in words for word in str(entry).split())
    for part in (table.title, *table.notes, *table.origin):
        assert part in words


def test_columns_where_they_fit_and_blocks_where_not() -> None:
    wide, narrow = (as_text(BEST, width).splitlines() for width in (200, 80))
    assert wide[2].split()[:3] == ["rank", "trial", "val/task"] and wide[2].endswith("lr")
    assert set(wide[3]) == {"─"} and len(wide[4].split("  ")) > 5
    assert narrow[2:7] == [
        "rank 1, trial 3",
        "  val/task average accuracy (%)   99.77 ± 0.12 (3)",
        "  test/task average accuracy (%)  99.53 ± 0.19 (3)",
        "  beta 0.008255, embedding size 32, chunk embedding size 12, chunk size 1272,",
        "  hidden sizes 25,25, lr 0.0004209",
    ]
    assert "  chunk size 1272, hidden sizes 25,25, lr 0.0004209" in as_text(BEST, 60)
    assert "rank 2 (tie), trial 12" in narrow and "hidden sizes ," not in "\n".join(narrow)


def test_a_label_is_not_repeated_below_itself() -> None:
    assert as_text(TEXTS, 120).count("split_digits, 2 tasks, task") == 1


def test_a_narrow_form_stands_in_where_the_columns_do_not_fit() -> None:
    form = Table("the same", ("method", "ours"), (("SI", Estimate(1.0, None, 1)),))
    table = replace(BEST, narrow=form, banner="1% of the iterations")
    assert as_text(table, 200).startswith("Best 2 of 6 configurations\n1% of the iterations\n")
    shown = as_text(table, 80)
    assert "the same" in shown and "rank" not in shown and BEST.origin[0] in shown


def test_the_terminal_says_how_wide_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert as_text(BEST) == as_text(BEST, 80)
    monkeypatch.setenv("COLUMNS", "3")
    assert as_text(BEST) == as_text(BEST, 30)


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}])
def test_a_pipe_gets_a_fixed_width_and_no_colours(variables: dict[str, str]) -> None:
    code = (
        "from sweeps.output.table import Table; from sweeps.output.terminal import as_text;"
        "print(as_text(Table('t', ('word',), (('x ' * 90,),), ('note ' * 60,))))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in done.stdout
    assert 100 < max(map(len, done.stdout.splitlines())) <= UNKNOWN
