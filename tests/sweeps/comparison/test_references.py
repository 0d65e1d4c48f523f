"""Metrics of a study against another method's runs: by hand, and in MLflow after a real study."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tiny_study import document, outcomes, request, study
from typer.testing import CliRunner

from hcl import metrics
from sweeps.cli import app
from sweeps.commands.study import _record
from sweeps.comparison.references import metrics_tables, with_references
from sweeps.comparison.run import Outcome
from sweeps.launch.request import store_of
from sweeps.output.table import Estimate
from sweeps.records.folder import SweepFolder
from sweeps.tracking import accuracy_matrices, runs_frame

METHODS = {
    name: {
        "trial": {"method/name": name},
        "search": {"train/lr": {"type": "float", "low": 1e-3, "high": 2e-3}},
    }
    for name in ("finetune", "joint", "from_scratch")
}
MATRICES = {
    "finetune": [[0.9], [0.5, 0.8], [0.4, 0.6, 0.7]],
    "joint": [[0.9], [0.9, 0.9], [0.9, 0.9, 0.95]],
    "from_scratch": [[0.9], [0.9, 0.7], [0.9, 0.7, 0.8]],
}


def known(*methods: str) -> list[Outcome]:
    """Make outcomes of one pair whose matrices are those above."""
    spec = study(methods={name: METHODS[name] for name in methods}, confirmation={"pairs": 2})
    seed = spec.confirmation.first_seed
    found = []
    for one in outcomes(spec, {name: {seed: 0.5} for name in methods}):
        matrix = MATRICES[one.part.method]
        more = {f"test/task/{name}": value for name, value in metrics.summary(matrix).items()}
        result = one.results[seed]
        more |= result.metrics | {"num_weights": 1234.0, "flops/training": 5e6}
        filled = replace(result, accuracy={"test/task": matrix}, metrics=more)
        found.append(replace(one, results={seed: filled}))
    return found


def test_both_are_computed_against_the_diagonals_of_their_references() -> None:
    compared = with_references(known("finetune", "joint", "from_scratch"))
    finetune, joint, scratch = (next(iter(one.values())) for one in compared)
    assert finetune["test/task/forward_transfer"] == pytest.approx((0.1 - 0.1) / 2)
    assert finetune["test/task/intransigence"] == pytest.approx((0.0 + 0.1 + 0.25) / 3)
    assert joint.keys() == {"test/task/forward_transfer"}
    assert scratch.keys() == {"test/task/intransigence"}


def test_without_references_there_is_nothing_to_compare() -> None:
    compared = with_references(known("finetune", "joint"))
    assert list(compared[1].values()) == [{}]


def test_the_table_shows_metrics_in_percent_and_costs_as_counts() -> None:
    tables = metrics_tables("tiny", known("finetune", "joint"))
    said, costs = (dict(zip(table.columns, table.rows[0], strict=True)) for table in tables)
    assert tables[0].notes == ("intransigence: against joint training",), "of what is shown alone"
    assert said["method"] == costs["method"] == "finetune"
    assert said["intransigence (%)"] == Estimate(pytest.approx(100 * 0.35 / 3), None, 1)
    assert costs["stored numbers"] == "1,234" and costs["flops/training"] == "5,000,000"
    assert "forward transfer (%)" not in said, "no run from scratch"


def test_an_outage_of_mlflow_costs_the_verdict_nothing(tmp_path: Path, capsys) -> None:
    """The tables are printed already; the same command sends the metrics again."""
    (tmp_path / "damaged.db").write_text("no database")
    spec = study(confirmation={"pairs": 2})
    asked = replace(request(spec, tmp_path), tracking_uri=f"sqlite:///{tmp_path / 'damaged.db'}")
    _record(asked, known("finetune", "joint"))
    said = capsys.readouterr().err
    assert said.startswith("forward transfer and intransigence: ") and "the same command" in said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_study_adds_them_to_its_runs_in_mlflow(tmp_path: Path) -> None:
    path = tmp_path / "three.yaml"
    path.write_text(yaml.safe_dump(document(methods=METHODS, confirmation={"pairs": 2})))
    said = CliRunner().invoke(app, ["study", str(path), "--storage", str(tmp_path)])
    assert said.exit_code == 0, said.output
    assert (
        "three: metrics" in said.output
        and "three: costs" in said.output
        and "intransigence" in said.output
    )
    store = store_of(SweepFolder(tmp_path, "three"), None)
    runs = runs_frame(store)
    runs = runs[runs["tags.phase"] == "confirm"].set_index(["method/name", "seed"])
    assert len(runs) == 6
    for seed in (101, 102):
        matrix = {
            name: accuracy_matrices(store, runs.loc[(name, seed), "run_id"])["test/task"]
            for name in METHODS
        }
        for name, formula, reference in (
            ("forward_transfer", metrics.forward_transfer, "from_scratch"),
            ("intransigence", metrics.intransigence, "joint"),
        ):
            expected = formula(matrix["finetune"], metrics.accuracy_during(matrix[reference]))
            shown = runs.loc[("finetune", seed), f"test/task/{name}"]
            assert shown == pytest.approx(expected)
        assert runs.loc[("finetune", seed), "flops/training"] > 0
