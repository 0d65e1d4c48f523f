"""The code of docs/own.md runs: each block is a user's file, named as the page's settings do."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tiny import go

from hcl.benchmarks import load
from hcl.benchmarks.sources import own_data
from hcl.config import TrialConfig, plugins
from hcl.measure.contract import check_method
from sweeps.space.search_space import parse

PAGE = (Path(__file__).parents[1] / "docs" / "own.md").read_text()
BLOCKS = [block.split("```")[0] for block in PAGE.split("```python\n")[1:]]
FILES = dict(zip(("my_table", "my_hub", "my_methods", "my_nets"), BLOCKS, strict=True))
DRAWS = np.random.RandomState(0)
X, Y = DRAWS.randn(400, 6), np.arange(400) % 10


class Rows:
    """A data set as the library `datasets` shows it in numpy's format."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.columns = {"image": x, "label": y}

    def __getitem__(self, rows: slice) -> dict[str, np.ndarray]:
        return {name: column[rows] for name, column in self.columns.items()}


class Splits(dict[str, Rows]):
    """Data sets by split."""

    def with_format(self, form: str) -> "Splits":
        assert form == "numpy"
        return self


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    for name, text in FILES.items():
        text = text.replace("/data/table.csv", str(tmp_path / "table.csv"))
        (tmp_path / f"{name}.py").write_text(text.replace("8000", "300"))
    np.savez(tmp_path / "my_data.npz", x_train=X, y_train=Y, x_test=X, y_test=Y)
    table = pd.DataFrame(X, columns=list("abcdef")).assign(label=[f"class {y}" for y in Y])
    table.to_csv(tmp_path / "table.csv", index=False)
    with plugins.importable(tmp_path):
        yield tmp_path


def own(data: str) -> dict[str, Any]:
    tiny = {"train/iterations": 20, "train/batch_size": 16, "method/name": "finetune"}
    return {**tiny, "benchmark/sequence": "split", "benchmark/data": data}


@pytest.mark.timeout(60)
def test_the_settings_method_and_network_at_its_top(folder: Path) -> None:
    settings = yaml.safe_load(PAGE.split("```yaml\n")[1].split("```")[0])
    result = go(TrialConfig.from_dict({**settings, "train/iterations": 20}))
    assert [len(task.labels) for task in result.learner.tasks] == [4, 3, 3]
    assert result.config["method/strength"] == 0.2
    assert [type(layer).__name__ for layer in result.learner.module(1)][1] == "Tanh"
    assert not [one for one in check_method("my_methods:Shrinking") if one.problem]


def test_the_search_at_its_end(folder: Path) -> None:
    space = parse(yaml.safe_load(PAGE.split("```yaml\n")[2].split("```")[0]), "my_search")
    assert space.example().method.label("task") == "Shrinking"
    assert list(space.parameters) == ["method/strength"]


def test_a_csv(folder: Path) -> None:
    benchmark = load(TrialConfig.from_dict(own("my_table:load")).benchmark)
    (test,) = {len(task.test) for task in benchmark.tasks}
    assert benchmark.input_shape == (6,) and test == 20
    first = benchmark.tasks[0].test.x.numpy()
    assert np.allclose(first, X[300:][Y[300:] < 2], atol=1e-6)


def test_a_data_set_of_hugging_face(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is not installed here: its shape is made."""
    images = DRAWS.randint(0, 256, (400, 4, 4)).astype(np.uint8)
    made = Splits(train=Rows(images, Y), test=Rows(images[:50], Y[:50]))
    library = SimpleNamespace(load_dataset=lambda name: made)
    monkeypatch.setitem(sys.modules, "datasets", library)  # type: ignore[arg-type]
    check_images(images)


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore")  # of what the library imports
def test_a_data_set_of_the_library_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    images = DRAWS.randint(0, 256, (400, 4, 4)).astype(np.uint8)
    kinds = library.Features(image=library.Image(), label=library.ClassLabel(10))

    def rows(x: np.ndarray, y: np.ndarray) -> Any:
        return library.Dataset.from_dict({"image": list(x), "label": y.tolist()}, kinds)

    made = library.DatasetDict(train=rows(images, Y), test=rows(images[:50], Y[:50]))
    monkeypatch.setattr(library, "load_dataset", lambda name: made)
    monkeypatch.setattr(own_data, "_read", {})  # the same function was called with other data
    check_images(images)


def check_images(images: np.ndarray) -> None:
    benchmark = load(TrialConfig.from_dict(own("my_hub:load")).benchmark)
    assert benchmark.input_shape == (16,) and len(benchmark.tasks) == 5
    assert np.array_equal(benchmark.tasks[0].train.x, images[Y < 2].reshape(-1, 16))
