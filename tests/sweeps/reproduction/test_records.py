"""The records in docs/records make the tables of docs/tables, without training."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sweeps.cli import app

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.timeout(120),  # the first one imports MLflow
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def show(table: str, records: Path, storage: Path, *more: str) -> tuple[int, str, str]:
    words = ["reproduce", table, "--seeds", "5", "--only", "S-CL3,online_ewc,si,dgr_distill"]
    words += ["--show", "--records", str(records), "--storage", str(storage), *more]
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.stdout, str(done.exception)


def test_a_table_is_made_from_records_alone(tmp_path: Path) -> None:
    status, out, _ = show("table1", ROOT / "docs" / "records", tmp_path)
    assert status == 0 and "table1.jsonl: 70 trainings" in out
    made = (tmp_path / "tables" / "table1" / "table1.md").read_text()
    kept = (ROOT / "docs" / "tables" / "table1-split-drawn.md").read_text()
    (row,) = [line for line in kept.splitlines() if line.startswith("| S-CL3 | ours |")]
    assert row in made.splitlines()
    status, out, _ = show("table1", ROOT / "docs" / "records", tmp_path, "--json")
    tables = json.loads(out)
    ours = next(row for row in tables[0]["rows"] if row["row"] == "S-CL3")
    assert status == 0 and ours["SI"]["n"] == 5
    assert "--json" not in (tmp_path / "tables" / "table1" / "table1.md").read_text()


def test_records_that_are_not_there_are_a_sentence(tmp_path: Path) -> None:
    _, _, error = show("table1", tmp_path, tmp_path / "storage")
    assert error == f"--records {tmp_path}: there is no table1.jsonl in that folder"
