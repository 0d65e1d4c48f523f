"""A learner's networks leave through ONNX with the same answers. Needs onnx, onnxruntime."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hcl

for library in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(library, reason=f"{library} is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
(EXAMPLE,) = re.findall(
    r"^```python title=\"ONNX\"\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
)
TINY = {"train/iterations": 5, "train/batch_size": 8}
DRAWS = np.random.RandomState(0)


def vectors() -> dict[str, Any]:
    """The mlp of the page, on digits."""
    return {"benchmark/name": "split_digits", "target/hidden_sizes": [20]}


def images(folder: Path) -> dict[str, Any]:
    """A residual network with batch norm and normalised inputs, on images with channels."""
    x, y = DRAWS.randint(0, 256, (40, 32, 32, 3)).astype(np.uint8), np.arange(40) % 4
    np.savez(folder / "noise.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    own = {"sequence": "split", "data": str(folder / "noise.npz"), "num_tasks": 2}
    return {"benchmark": own | {"normalise": "imagenet"}, "target/network": "resnet32"}


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of the exporter, and of what it imports
@pytest.mark.parametrize("kind", ["mlp", "resnet32"])
def test_the_example_gives_the_same_answers(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = vectors() if kind == "mlp" else images(tmp_path)
    settings = {**TINY, **data, "method": {"name": "hnet", "chunk_size": 5000}}
    learner = hcl.run(settings).learner
    task = hcl.load_benchmark(settings).tasks[1].test
    x, _ = task.batch(torch.arange(10))
    network = learner.module(1)
    names: dict[str, Any] = {"torch": torch, "network": network, "x": x}
    exec(compile(EXAMPLE, "docs/python.md", "exec"), names)
    for batch in (x, x[:3]):  # of another size than the one exported
        (logits,) = names["session"].run(None, {"x": batch.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), network(batch))
    labels = learner.predict(x, task=1).labels
    assert labels.tolist() == [learner.tasks[1].labels[i] for i in names["logits"].argmax(axis=1)]
