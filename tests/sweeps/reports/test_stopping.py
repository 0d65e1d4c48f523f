"""From which task on trials could have been stopped, over trials whose ranks are known."""

import shutil
from pathlib import Path

import numpy as np
from journals import write_journal

from sweeps.commands.records import _read_journals
from sweeps.records.entries import read_recorded
from sweeps.records.folder import SweepFolder
from sweeps.reports.stopping import (
    ENOUGH,
    find_early_ranks,
    rank_trials,
    stopping_tables,
)
from sweeps.reports.summary import read_results, stopping_pictures, sweep_page


def test_ranks_that_never_change_are_safe_from_the_first_task() -> None:
    trials = [[value, value - 0.1, value - 0.2] for value in np.linspace(0.5, 1, 30)]
    first, second = rank_trials("hnet", trials, "max")
    assert (first.tasks, first.tau, first.place, first.is_enough) == (1, 1.0, 1, True)
    (table,) = stopping_tables([first, second])
    assert table.rows[0][2:4] == ("1", "1.00") and table.rows[0][-1] == "1 of 30"
    safe = f"hnet: early stopping is safe from sweep.grace_tasks 1 on (tau > {ENOUGH})"
    assert table.notes[-1] == safe


def test_what_is_quick_on_early_tasks_and_forgets_is_not_safe() -> None:
    trials = [[value, 0.5, 1 - value] for value in np.linspace(0.1, 0.9, 12)]
    first, second = rank_trials("si", trials, "max")
    assert (first.tau, first.place) == (-1.0, 12) and second.tau != second.tau
    assert "is not shown to be safe" in stopping_tables([first, second])[0].notes[-1]
    assert rank_trials("si", trials, "min")[0].place == 12


def test_a_late_safe_task_is_found() -> None:
    values = np.linspace(0.1, 0.9, 30)
    trials = [[1 - value, value, value] for value in values]
    ranks = rank_trials("er", trials, "max")
    assert "from sweep.grace_tasks 2 on" in stopping_tables(ranks)[0].notes[-1]


def test_too_few_trials_or_tasks_say_nothing() -> None:
    assert rank_trials("si", [[0.1, 0.2]] * 4, "max") == []
    assert rank_trials("si", [[0.1]] * 9, "max") == []
    assert stopping_tables([]) == [] and stopping_pictures([]) == {}


def test_long_sequences_show_ten_rows() -> None:
    trials = [[value] * 100 for value in np.linspace(0.1, 0.9, 6)]
    ranks = rank_trials("si", trials, "max")
    assert len(ranks) == 10 and ranks[0].tasks == 1 and ranks[-1].tasks < 100


def test_every_report_of_a_sweep_has_table_and_picture(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "digits")
    for trial in range(6):
        key = f"digits/{trial:04d}/seed_1"
        made = write_journal(tmp_path / "made", key, offset=-0.02 * trial)
        shutil.move(made, folder.seed_folder(trial, 1))
    shutil.move(
        write_journal(tmp_path / "made", "digits/0006/seed_1", tasks=1), folder.seed_folder(6, 1)
    )
    ranks = find_early_ranks(read_recorded([folder]))
    assert [(r.method, r.trials, r.tasks, r.tau, r.place) for r in ranks] == [
        ("HNET", 6, 1, 1.0, 1), ("HNET", 6, 2, 1.0, 1),
    ]  # fmt: skip
    for form in ("terminal", "markdown", "latex"):
        assert "Early stopping" in _read_journals(folder, form)
    page = sweep_page(read_results(folder), {})
    assert "<h2>Early stopping</h2>" in page and 'alt="Figure: Early stopping"' in page
