"""Every table file is trained with tiny networks and written as a table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import request, train_all

from hcl.config import TrialConfig
from sweeps.reproduction.results import read_results
from sweeps.reproduction.table_file import TableSpec, load_table, names
from sweeps.reproduction.tables import Origin
from sweeps.reproduction.write import write_all

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # on a busy machine
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
BENCHMARKS = {
    "permuted_mnist": {"benchmark/name": "permuted_digits", "benchmark/num_tasks": 3},
    "split_mnist": {"benchmark/name": "split_digits", "benchmark/num_tasks": 3},
    "cifar_6": {"benchmark/num_tasks": 2, "train/epochs": 1, "train/batch_size": 40},
}
SMALL = {
    "hidden_sizes": [6],
    "encoder_sizes": [6],
    "decoder_sizes": [6],
    "hypernet_sizes": [6],
    "latent_size": 3,
    "fisher_samples": 20,
}
PER_ROW = ("curves", "embedding_space", "samples", "transfer")  # kinds with a figure for each row


def tiny(config: TrialConfig) -> TrialConfig:
    """Give the same cell small data, few steps and few units; different cells stay different."""
    flat = config.to_dict() | {"train/iterations": 3, "train/batch_size": 8}
    flat |= BENCHMARKS.get(config.benchmark.name, {})
    for key, value in flat.items():
        for ending, small in SMALL.items():
            if key.endswith(ending) and value not in ([], ()):
                flat[key] = small
        if key.endswith("chunk_size") and value:
            flat[key] = max(20, value // 200)
    if config.benchmark.name.startswith("permuted") and "method/reg_tasks" in flat:
        flat["method/reg_tasks"] = min(1, flat["method/reg_tasks"])
    return TrialConfig.from_dict(flat)


def small_cifar(folder: Path) -> str:
    """Write prepared arrays of noise: twelve training and three test images of each class."""
    draws = np.random.RandomState(0)
    for name, classes in (("cifar10", 10), ("cifar100_first50", 50)):
        arrays = {}
        for split, each in (("train", 12), ("test", 3)):
            arrays[f"x_{split}"] = draws.randint(0, 256, (each * classes, 32, 32, 3)).astype(
                "uint8"
            )
            arrays[f"y_{split}"] = np.arange(each * classes) % classes
        labels = np.array([f"c{i}" for i in range(classes)])
        np.savez(folder / f"{name}.npz", **arrays, classes=labels)
    return str(folder)


def shrunk(name: str) -> TableSpec:
    spec = load_table(name).at_budget("smoke")
    return replace(spec, cells=tuple(replace(c, config=tiny(c.config)) for c in spec.cells))


@pytest.mark.parametrize("name", names())
def test_a_table_is_complete(name: str, storage: Path, tmp_path: Path) -> None:
    spec = shrunk(name)
    if spec.head.figure == "embedding_space":
        spec = replace(spec, head=replace(spec.head, grid_points=3))
    made = replace(request(storage, spec, (1, 2)), data_root=small_cifar(tmp_path))
    train_all(made, data_root=made.data_root)
    found = read_results(made)
    assert all(result.is_complete for result in found.cells.values())
    tables = write_all(made, found, Origin(f"hcl reproduce {name}", "abc"))
    text = (made.output / f"{made.folder.name}.md").read_text()
    assert "missing" not in text and "1% of the iterations" in text
    ours = [row[2:] for row in tables[0].rows if row[1] == "ours"]
    assert len(ours) == len(spec.rows)
    assert all("±" in str(cell) for row in ours for cell in row if cell is not None)
    kind = spec.head.figure
    drawn = {form: len(list(made.output.glob(f"*.{form}"))) for form in ("png", "svg")}
    expected = 0 if kind == "none" else len(spec.rows) if kind in PER_ROW else 1
    assert drawn == {"png": expected, "svg": expected}
