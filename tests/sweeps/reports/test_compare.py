"""`hcl compare` over real records: the chosen runs, the tests, the files."""

import json
from pathlib import Path

import optuna
import pytest
from made import train_seed
from typer.testing import CliRunner

import sweeps
from hcl.config import ConfigError, TrialConfig
from sweeps.cli import app
from sweeps.launch.request import store_of
from sweeps.output.table import Estimate
from sweeps.records.folder import SweepFolder
from sweeps.reports.compare import (
    Compared,
    ablation_table,
    comparison_tables,
    pairs_table,
    runs_to_compare,
)
from sweeps.reports.pictures import describe_study
from sweeps.tracking import Store, prepare, runs_frame
from sweeps.workers.context import RunContext

pytestmark = [
    pytest.mark.timeout(60),  # the first test to record pays for the database
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TINY = {
    "benchmark/name": "split_digits",
    "benchmark/num_tasks": 2,
    "benchmark/val_fraction": 0.2,
    "target/hidden_sizes": [8],
    "train/iterations": 10,
    "train/batch_size": 16,
}


@pytest.fixture(scope="module")
def folder(storage: Path) -> Path:
    """SI at two strengths in one sweep, fine-tuning in another, two seeds each."""
    for sweep, method in (
        ("one", {"method/name": "si"}),
        ("two", {"method/name": "finetune", "train/iterations": 40}),
    ):
        for more in ({}, {"method/c": 1e6}) if sweep == "one" else ({},):
            for seed in (1, 2):
                _train(storage, sweep, {**TINY, **method, **more, "seed": seed})
    drawn = {"benchmark/class_order": "shuffled", "benchmark/order_seed": "trial"}
    _train(storage, "drawn", {**TINY, **drawn, "method/name": "finetune", "seed": 1})
    return storage


def _train(root: Path, sweep: str, values: dict, **tags: str) -> None:
    place_folder = SweepFolder(root, sweep)
    store = store_of(place_folder, None)
    prepare(store)
    config = TrialConfig.from_dict(values)
    name = config.digest(without_seed=True)
    context = RunContext(sweep, store, phase="single", threads=1, tags=tags)
    train_seed(config, context, place_folder.seed_folder(name, config.seed), name)


@pytest.fixture
def store(folder: Path) -> Store:
    return store_of(SweepFolder(folder, "one"), None)


def compared_of(store: Store, sweeps: list[str], methods: list[str]) -> Compared:
    return runs_to_compare(runs_frame(store), store.shown_uri, sweeps, methods)


def test_methods_of_several_sweeps_stand_side_by_side(store: Store) -> None:
    table = ablation_table(compared_of(store, ["one", "two"], []))
    assert table.columns == ("", "SI", "Fine-tuning") or table.columns == ("", "Fine-tuning", "SI")
    ((name, *cells),) = table.rows
    assert name == "split_digits, 2 tasks, task"
    assert all(isinstance(cell, Estimate) and cell.n == 2 for cell in cells)


def test_seeds_with_tasks_of_their_own_stand_in_another_row(store: Store) -> None:
    compared = compared_of(store, ["one", "two", "drawn"], [])
    names = {str(row): set(methods) for row, methods in compared.items()}
    assert names == {
        "split_digits, 2 tasks, task": {"SI", "Fine-tuning (two)"},
        "split_digits, 2 tasks, task, class_order shuffled order_seed trial": {
            "Fine-tuning (drawn)"
        },
    }


def test_validation_data_choose_the_configuration(store: Store) -> None:
    (row, found), *_ = compared_of(store, ["one"], []).items()
    assert set(found) == {"SI"} and len(found["SI"]) == 2
    frame = runs_frame(store, "one")
    means = frame.groupby("tags.config_id")[row.metric_name("val", "average_accuracy")].mean()
    assert set(found["SI"]["config"]) == {means.idxmax()}


def test_pairs_are_tested_over_shared_seeds(store: Store) -> None:
    (line,) = pairs_table(compared_of(store, ["one", "two"], [])).rows
    assert line[4:6] == ("2", "0.5") and line[-1] == "too few pairs"


def test_unequal_seeds_and_protocols_are_refused_unless_mixed(folder: Path, store: Store) -> None:
    _train(folder, "unequal", {**TINY, "method/name": "lwf", "seed": 1})
    _train(folder, "unequal", {**TINY, "method/name": "lwf", "seed": 2}, protocol="first_tasks 1")
    _train(folder, "alone", {**TINY, "method/name": "er", "seed": 1})
    for sweeps_, what in (
        (["one", "unequal"], "different protocols: LwF full, first_tasks 1, SI full"),
        (["one", "alone"], "same seeds, orders and data, but ER lacks seed 2"),
    ):
        compared = compared_of(store, sweeps_, [])
        with pytest.raises(ConfigError, match=what):
            comparison_tables(compared)
        (table,) = comparison_tables(compared, mixed=True)
        assert any(note.startswith("not comparable: ") for note in table.notes)


def test_a_missing_sweep_or_method_is_reported(store: Store) -> None:
    with pytest.raises(ConfigError, match="no runs of a sweep 'three'.*there: .*one, .*two"):
        compared_of(store, ["three"], [])
    with pytest.raises(ConfigError, match="--methods hnet: it has no finished run; there: fine"):
        compared_of(store, ["one", "two"], ["hnet"])


def test_the_command_writes_every_form(folder: Path, tmp_path: Path) -> None:
    arguments = ["compare", "one", "two", "--storage", str(folder), "--out", str(tmp_path)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and "Fine-tuning" in done.output
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"compare.md", "compare.tex", "compare.csv", "compare.html"}
    CliRunner().invoke(app, [*arguments, "--plots"], catch_exceptions=False)
    assert (tmp_path / "split_digits-2-task.png").stat().st_size > 1000


def test_records_and_mlflow_give_the_same_comparison(folder: Path, store: Store) -> None:
    """The records need no MLflow; --tracking-uri asks it, and the pictures are of either."""
    outputs, pictures = [], []
    for more in ([], ["--tracking-uri", store.tracking_uri]):
        out = folder / f"out{len(outputs)}"
        arguments = ["compare", "one", "two", "--json", "--plots", "--out", str(out)]
        arguments += ["--storage", str(folder), *more]
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        outputs.append(json.loads(done.output))
        pictures.append((out / "split_digits-2-task.png").read_bytes())
    assert outputs[0] == outputs[1] and pictures[0] == pictures[1]


def test_importances_are_optunas_own(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "studied")
    folder.path.mkdir(parents=True)
    sampler = optuna.samplers.RandomSampler(seed=0)  # of 12 values any, n may seem important
    study = optuna.create_study(study_name="studied", storage=folder.study_url, sampler=sampler)
    study.optimize(
        lambda trial: trial.suggest_float("method/beta", 0, 1) + 0 * trial.suggest_int("n", 1, 9),
        n_trials=12,
    )
    table = describe_study(folder, tmp_path / "out")
    assert table is not None and table.rows[0][0] == "method/beta"
    assert float(str(table.rows[0][1])) > 0.8
    assert (tmp_path / "out" / "studied-importance.png").exists()
    assert describe_study(SweepFolder(tmp_path, "nothing"), tmp_path) is None


def test_from_python(folder: Path) -> None:
    frame = sweeps.runs("one", folder)
    assert len(frame) == 4 and set(frame["method/c"]) == {50.0, 1e6}
    assert set(sweeps.runs(storage=folder)["tags.sweep"]) >= {"one", "two"}
    assert "Fine-tuning" in sweeps.report("two", storage=folder)
    compared = sweeps.compare(["one", "two"], storage=folder)
    assert "| SI" in compared and "Fine-tuning" in compared
    assert "\\begin{tabular}" in sweeps.compare(["one"], form="latex", storage=folder)
    with pytest.raises(ConfigError, match="no runs of a sweep 'three'"):
        sweeps.compare(["three"], storage=folder)
    with pytest.raises(ConfigError, match="use one of markdown, latex"):
        sweeps.report("one", "html", folder)
