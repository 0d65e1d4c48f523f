"""Tables of runs: which runs are averaged, which values select, which are only shown."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from journals import write_journal

from hcl.config import ConfigError
from hcl.methods import METHODS
from sweeps.output.metric_names import describe_metric, label, labels
from sweeps.output.table import Estimate, Table
from sweeps.records.folder import SweepFolder
from sweeps.reports.report import report
from sweeps.reports.runs import choose_runs
from sweeps.reports.sweep_tables import FORMS, best_configurations, method_table, sweep_tables
from sweeps.tracking import deliver, end_sweep, local_store, prepare, start_sweep

OBJECTIVE = "val/task/average_accuracy"
VALIDATION = "val/task average accuracy (%)"  # its column


def run(method: str = "hnet", seed: int = 1, **values: Any) -> dict[str, Any]:
    """One complete run with accuracy 0.9 everywhere; `values` override."""
    row = {
        "run_id": f"{method}-{seed}-{sorted(values.items())}",
        "status": "FINISHED",
        "tasks_learned": 5,
        "num_tasks": 5,
        "benchmark/name": "split_digits",
        "method/name": method,
        "method/beta": 0.01,
        "scenario": "task",
        "seed": seed,
        "tags.phase": "search",
        "tags.trial": 0,
        OBJECTIVE: 0.9,
        "test/task/average_accuracy": 0.9,
    } | values
    row.setdefault("tags.config_id", f"{method}-{row['method/beta']}")
    return row


def column(table: Table, name: str) -> list:
    return [row[table.columns.index(name)] for row in table.rows]


def test_values_as_a_person_writes_them() -> None:
    values = {"val/task/average_accuracy": 0.99, "num_weights": 3760.0, "compression_ratio": 1.5}
    said = [describe_metric(name, value) for name, value in values.items()]
    assert said == ["99.00 %", "3760", "1.5000"]


def test_every_method_has_a_label() -> None:
    assert all(label(method, "class") in labels() for method in METHODS)
    assert label("hnet", "task") == "HNET"
    assert label("hnet", "domain") == label("hnet", "class") == "HNET+ENT"
    assert label("online_ewc", "class") == "Online EWC"


def test_best_configurations_rank_by_the_mean_objective() -> None:
    beta = "method/beta"
    frame = pd.DataFrame(
        [
            run(seed=1, **{beta: 0.1, OBJECTIVE: 0.99}),
            run(seed=2, **{beta: 0.1, OBJECTIVE: 0.71}),
            run(seed=1, **{beta: 0.2, OBJECTIVE: 0.86, "tags.trial": 1}),
            run(seed=2, **{beta: 0.2, OBJECTIVE: 0.88, "tags.trial": 1}),
        ]
    )
    table = best_configurations(frame, OBJECTIVE)
    assert column(table, "beta") == ["0.2", "0.1"]
    assert column(table, "rank") == ["1", "2 (tie)"]  # 85 ± 14 may be as good as 87 ± 1
    assert column(table, "trial") == ["1", "0"]
    first = column(table, VALIDATION)[0]
    assert (first.mean, first.sem, first.n) == (pytest.approx(87), pytest.approx(1), 2)
    lowest = best_configurations(frame, OBJECTIVE, top=1, mode="min")
    assert column(lowest, "beta") == ["0.1"]


def test_without_a_search_each_benchmark_is_ranked_by_itself() -> None:
    """Accuracies on different data rank nothing; a search has one benchmark."""
    name = "val/task/average_accuracy"
    easy = run(**{"benchmark/name": "easy", name: 0.99, "tags.config_id": "a"})
    hard = [run(**{"benchmark/name": "hard", name: v, "tags.config_id": c}) for v, c in
            ((0.5, "b"), (0.6, "c"))]  # fmt: skip
    frame = pd.DataFrame([easy, *hard])
    titles = [table.title for table in sweep_tables(frame, {})]
    assert titles[:2] == [
        "Best 1 of 1 configurations on easy",
        "Best 2 of 2 configurations on hard",
    ]
    searched = [table.title for table in sweep_tables(frame, {"objective": name})]
    assert searched[0] == "Best 3 of 3 configurations"


def test_only_complete_runs_count_whatever_their_status() -> None:
    frame = pd.DataFrame(
        [
            run(seed=1),
            run(seed=2, status="KILLED"),  # learned all its tasks before the kill
            run(seed=3, tasks_learned=4, **{OBJECTIVE: 1.0}),  # "FINISHED", but stopped early
            run(seed=4, tasks_learned=1, status="FAILED"),
        ]
    )
    for table in (best_configurations(frame, OBJECTIVE), method_table(frame)):
        assert table.rows[0][-1] == Estimate(90.0, 0.0, 2)
        assert "left out because they did not learn all tasks: 1 FAILED, 1 FINISHED" in table.notes


def test_a_frame_without_complete_runs_gives_an_empty_table() -> None:
    frame = pd.DataFrame([run(tasks_learned=0, status="FAILED")])
    assert best_configurations(frame, OBJECTIVE).rows == ()
    assert method_table(frame).rows == ()
    assert "did not learn all tasks: 1 FAILED" in method_table(frame).markdown()


def test_validation_selects_and_test_does_not() -> None:
    test = "test/task/average_accuracy"
    frame = pd.DataFrame(
        [
            run(**{"method/beta": 0.1, OBJECTIVE: 0.8, test: 0.99}),
            run(**{"method/beta": 0.2, OBJECTIVE: 0.9, test: 0.70}),
        ]
    )
    assert column(method_table(frame), "HNET") == [Estimate(70.0, None, 1)]
    blind = frame.drop(columns=OBJECTIVE)
    assert column(method_table(blind), "HNET") == [Estimate(99.0, None, 1)]  # the first, not best
    assert (
        "first configuration, because there are no validation data: 1 entries"
        in method_table(blind).notes
    )


def test_a_note_on_selection_appears_only_where_something_was_selected() -> None:
    several = pd.DataFrame([run(**{"method/beta": 0.1}), run(**{"method/beta": 0.2})])
    assert any("validation" in note for note in method_table(several).notes)
    assert not any("validation" in note for note in method_table(several.iloc[:1]).notes)


def test_more_seeds_beat_a_lucky_single_one() -> None:
    frame = pd.DataFrame(
        [run(seed=1), run(seed=2), run(seed=1, **{"method/beta": 0.5, OBJECTIVE: 1.0})]
    )
    assert column(method_table(frame), "HNET") == [Estimate(90.0, 0.0, 2)]


def test_confirmed_runs_replace_those_of_the_search() -> None:
    test = "test/task/average_accuracy"
    confirm = {"tags.phase": "confirm", test: 0.8}
    frame = pd.DataFrame([run(seed=1), run(seed=1, **confirm), run(seed=2, **confirm)])
    assert column(method_table(frame), "HNET") == [Estimate(80.0, 0.0, 2)]


def test_a_seed_trained_twice_counts_once() -> None:
    frame = pd.DataFrame([run(seed=1, run_id="a"), run(seed=1, run_id="b"), run(seed=2)])
    assert column(method_table(frame), "HNET")[0].n == 2


def test_methods_are_columns_and_scenarios_rows() -> None:
    inferred = {"test/class/average_accuracy": 0.6, "val/class/average_accuracy": 0.6}
    frame = pd.DataFrame(
        [
            run("hnet", **inferred),
            run("si"),
            run(
                "online_ewc", scenario="class", **{"test/task/average_accuracy": None}, **inferred
            ),
            run("brand_new"),
            run("si", **{"benchmark/name": "permuted_digits"}),
        ]
    )
    table = method_table(frame)
    assert table.columns[2:] == ("HNET", "HNET+ENT", "Online EWC", "SI", "brand_new")
    assert [row[:2] for row in table.rows] == [
        ("permuted_digits (5 tasks)", "task"),
        ("split_digits (5 tasks)", "task"),
        ("split_digits (5 tasks)", "class"),
    ]
    assert column(table, "HNET") == [None, Estimate(90.0, None, 1), None]
    assert column(table, "HNET+ENT") == [None, None, Estimate(60.0, None, 1)]
    assert column(table, "Online EWC") == [None, None, Estimate(60.0, None, 1)]


def test_configurations_without_a_config_id_are_distinguished_by_their_params() -> None:
    frame = pd.DataFrame(
        [
            run(seed=1),
            run(seed=2),
            run(seed=1, **{"method/beta": 0.3}),
            run("si", **{"method/beta": None, "method/c": 50.0}),
        ]
    )
    table = best_configurations(frame.drop(columns="tags.config_id"), OBJECTIVE)
    assert [cell.n for cell in column(table, VALIDATION)] == [2, 1, 1]
    assert column(table, "name") == ["hnet", "hnet", "si"]
    assert column(table, "beta") == ["0.01", "0.3", ""]
    assert "c" not in table.columns  # the same in every run that has it


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore:.*noload.*")
def test_report_of_a_real_store(tmp_path: Path) -> None:
    store = local_store(tmp_path, "demo")
    prepare(store)
    settings = {"objective": OBJECTIVE, "mode": "max"}
    parent = start_sweep(store, "demo", settings, {"command": "hcl sweep demo.yaml"})
    for trial, offset in enumerate((-0.02, 0.01)):
        for seed in (1, 2):
            key = f"demo/{trial:04d}/seed_{seed}"
            shift = offset + 0.001 * seed
            folder = write_journal(tmp_path, key, offset=shift, **{"method/beta": 0.1 + trial})
            assert deliver(store, folder, parent)
    assert deliver(store, write_journal(tmp_path, "demo/0002/seed_1", tasks=1), parent)
    end_sweep(store, parent, "FINISHED", {}, [])
    text = report("demo", store)
    assert text.startswith("Sweep demo\ncommand: hcl sweep demo.yaml\n")
    # Average accuracies 0.97 + offset: 98.10 and 98.20 for the better configuration.
    assert "| 1 | 1 | 98.15 ± 0.05 (2) | 98.15 ± 0.05 (2) | 94.15 ± 0.05 (2) | 1.1 |" in text
    assert "| split_digits (3 tasks) | class | - | 94.15 ± 0.05 (2) |" in text
    assert "left out because they did not learn all tasks: 1 RUNNING" in text
    for form in FORMS:
        assert "98.1" in report("demo", store, form)
    best, methods = json.loads(report("demo", store, "json"))
    assert best["rows"][0]["beta"] == "1.1" and best["rows"][0][VALIDATION]["n"] == 2
    assert best["rows"][0][VALIDATION]["mean"] == pytest.approx(98.15)
    assert methods["rows"][0]["HNET+ENT"] is None
    with pytest.raises(ConfigError, match="no runs of a sweep 'dmo' in .*; sweeps there: demo"):
        report("dmo", store)
    with pytest.raises(ConfigError, match="--format 'pdf': use one of markdown"):
        report("demo", store, "pdf")


@pytest.mark.timeout(60)
def test_the_command_reads_the_journals_and_imports_no_mlflow(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "demo")
    for seed in (1, 2):
        made = write_journal(tmp_path, f"demo/0000/seed_{seed}", offset=0.001 * seed)
        shutil.move(made, folder.seed_folder(0, seed))
    code = (
        "import sys; from sweeps.cli import answer; status = answer();"
        "slow = {'mlflow', 'torch', 'ray', 'matplotlib', 'scipy.stats'} & set(sys.modules);"
        "assert not slow, slow; sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "report", "demo", "--storage", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "97.15 ± 0.05 (2)" in done.stdout


def test_less_forgetting_and_smaller_errors_are_better() -> None:
    for name in ("val/task/forgetting", "val/task/average_mse"):
        frame = pd.DataFrame({"config": ["a", "b"], "seed": [1, 1], name: [0.4, 0.2]})
        assert list(choose_runs(frame, name)[0]["config"]) == ["b"]
    frame = frame.rename(columns={name: "val/task/average_accuracy"})
    assert list(choose_runs(frame, "val/task/average_accuracy")[0]["config"]) == ["a"]
