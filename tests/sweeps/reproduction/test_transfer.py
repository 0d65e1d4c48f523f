"""During, after and forward transfer, from the records of real tiny trainings."""

import csv
from pathlib import Path

import numpy as np
import pytest
from made import request, table, train, train_all

from hcl.config import ConfigError
from sweeps.output.table import Estimate
from sweeps.reproduction.results import matrices, read_results
from sweeps.reproduction.tables import Origin
from sweeps.reproduction.trainings import missing_trainings
from sweeps.reproduction.transfer import transfer_figures, transfer_tables
from sweeps.reproduction.write import write_all

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TABLE = """
title: Transfer
figure: transfer
reference: from_scratch
seeds: 2
columns: {hnet: HNET, finetune: Fine-tuning, from_scratch: From scratch}
bases:
  digits:
    benchmark: {name: split_digits, num_tasks: 3}
    target: {hidden_sizes: [8]}
    train: {iterations: 30, batch_size: 16}
rows:
  MLP:
    base: digits
    cells:
      hnet:
        trial:
          method: {name: hnet, embedding_size: 4, chunk_embedding_size: 4, chunk_size: 100}
      finetune: {trial: {method/name: finetune}}
      from_scratch: {trial: {method/name: from_scratch}}
"""
ORIGIN = Origin("hcl reproduce transfer", "abc")


def test_tables_figures_and_files(storage: Path) -> None:
    made = request(storage, table(TABLE, "transfer"), (1, 2))
    assert transfer_tables(made, read_results(made)) == []
    train_all(made)
    found = read_results(made)
    transfer, each = transfer_tables(made, found)

    ours = {s: np.array([r + [0] * (3 - len(r)) for r in m])
            for s, m in matrices(made.store, found.cells["MLP", "hnet"]).items()}  # fmt: skip
    alone = matrices(made.store, found.cells["MLP", "from_scratch"])
    by_hand = [
        100 * np.mean([ours[s][t, t] - alone[s][t][t] for t in (1, 2)]) for s in (1, 2)
    ]  # fmt: skip
    row = transfer.rows[0]
    assert row[:2] == ("MLP", "HNET")
    assert isinstance(row[4], Estimate) and row[4].n == 2
    assert row[4].mean == pytest.approx(np.mean(by_hand))
    assert row[4].sem == pytest.approx(np.std(by_hand, ddof=1) / np.sqrt(2))
    during, after = row[2], row[3]
    assert isinstance(during, Estimate) and isinstance(after, Estimate)
    assert during.mean == pytest.approx(100 * np.mean([np.diag(m) for m in ours.values()]))
    assert after.mean == pytest.approx(100 * np.mean([m[-1] for m in ours.values()]))
    assert transfer.rows[2][4] is None, "the reference has no transfer from itself"
    assert [line[2] for line in each.rows] == ["during", "after"] * 3
    assert len(each.columns) == 3 + 3

    write_all(made, found, ORIGIN)
    files = {path.name for path in made.output.iterdir()}
    assert {"transfer-MLP.png", "transfer-MLP.svg", "transfer.csv"} <= files
    assert "forward transfer" in (made.output / "transfer.md").read_text()
    rows = list(csv.DictReader((made.output / "transfer.csv").read_text().splitlines()))
    (mine,) = (r for r in rows if (r["method"], r["column"]) == ("HNET", "forward transfer"))
    assert mine["row"] == "MLP"
    assert float(mine["mean"]) == pytest.approx(np.mean(by_hand)) and mine["unit"] == "%"


def test_seeds_that_the_reference_misses_give_no_forward_transfer(storage: Path) -> None:
    made = request(storage, table(TABLE, "partial"), (1, 2))
    for config in missing_trainings(made, read_results(made)):
        if config.method_name == "hnet" or (config.method_name, config.seed) == (
            "from_scratch",
            2,
        ):
            train(made, config)
    (row, _) = transfer_tables(made, read_results(made))[0].rows
    assert isinstance(row[2], Estimate) and row[2].n == 2
    assert isinstance(row[4], Estimate) and row[4].n == 1
    (figure,) = transfer_figures(made, read_results(made)).values()
    assert [t.get_text() for t in figure.axes[1].get_legend().get_texts()] == [
        "HNET (n=2)", "From scratch (n=1)"]  # fmt: skip


def test_the_reference_must_be_a_column() -> None:
    with pytest.raises(ConfigError, match="reference: 'scratch' is not a column; did you mean"):
        table(TABLE.replace("reference: from_scratch", "reference: scratch"))
