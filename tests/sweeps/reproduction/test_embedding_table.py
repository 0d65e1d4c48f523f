"""The picture of an embedding space, from a real training's checkpoint."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from made import request, table, train_all

from hcl.config import ConfigError
from sweeps.reproduction.results import read_results
from sweeps.reproduction.tables import Origin
from sweeps.reproduction.write import write_all

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TABLE = """
title: A small plane
figure: embedding_space
grid_points: 5
grid_samples: 50
seeds: 1
columns: {hnet: HNET}
rows:
  digits in 2-d:
    trial:
      benchmark: {name: permuted_digits, num_tasks: 2}
      target: {hidden_sizes: [8]}
      train: {iterations: 400, batch_size: 16}
    cells:
      hnet:
        trial:
          method: {name: hnet, embedding_size: 2, chunk_embedding_size: 4, chunk_size: 100}
"""
ORIGIN = Origin("hcl reproduce plane", "abc")


def test_a_smoke_budget_gives_picture_values_and_cache(storage: Path) -> None:
    made = request(storage, table(TABLE, "plane").at_budget("smoke"), (1,))
    write_all(made, read_results(made), ORIGIN)
    assert not list(made.output.glob("*.png")), "nothing is trained yet"
    train_all(made)
    write_all(made, read_results(made), ORIGIN)
    name = "plane-smoke-digits_in_2-d-hnet"
    assert (made.output / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "1% of the iterations" in (made.output / f"{name}.svg").read_text()
    assert f"{name}.png" in (made.output / "plane-smoke.md").read_text()
    rows = list(csv.DictReader((made.output / f"{name}.csv").read_text().splitlines()))
    assert len(rows) == 2 + 25
    assert 0 <= float(rows[-1]["accuracy on task 1"]) <= 1
    (grid,) = (made.output / "grids").iterdir()
    with np.load(grid) as values:
        assert values["accuracy"].shape == (2, 5, 5) and values["learned"].shape == (2, 2)
    # Measured once: without the data it could not be done again.
    stamp = grid.stat().st_mtime_ns
    picture = (made.output / f"{name}.png").read_bytes()
    write_all(made, read_results(made), ORIGIN)
    assert grid.stat().st_mtime_ns == stamp
    assert (made.output / f"{name}.png").read_bytes() == picture


def test_without_its_checkpoint_there_is_no_picture(storage: Path) -> None:
    made = request(storage, table(TABLE, "lost").at_budget("smoke"), (1,))
    train_all(made)
    for folder in made.folder.path.rglob("checkpoints"):
        shutil.rmtree(folder)
    tables = write_all(made, read_results(made), ORIGIN)
    assert not list(made.output.glob("*.png"))
    assert any("no final checkpoint" in note for note in tables[0].notes)


def test_only_planes_are_drawn() -> None:
    with pytest.raises(ConfigError, match="embedding_space needs method/embedding_size 2 but"):
        table(TABLE.replace("embedding_size: 2,", "embedding_size: 3,"))
    with pytest.raises(ConfigError, match="can only draw accuracies of hnet"):
        table(
            TABLE.replace(
                "{name: hnet, embedding_size: 2, chunk_embedding_size: 4, chunk_size: 100}",
                "{name: si}",
            )
        )
    with pytest.raises(ConfigError, match="grid_tasks: there is no task 2"):
        table(TABLE.replace("grid_points: 5", "grid_tasks: [2]"))
