"""Parity with the authors' implementation over three tasks, twenty steps each, in float64.

tests/data/README.md says how the two files were made. Task boundaries have what test_golden.py
does not see: new Adams, new targets of the regularizer, embeddings that rest. The shapes differ,
too: a full hypernetwork that learns a regression, whose output layer is one for each tensor in
theirs and one for all in ours; and a linear chunked one with masked heads, as for CIFAR.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hcl.benchmarks.arrays import TaskData, TaskSplits
from hcl.config import TrialConfig
from hcl.hypernets.hypernet import output_layer
from hcl.methods import Setup
from hcl.methods.hnet import Hnet
from hcl.scenario import make_layout

pytestmark = pytest.mark.timeout(60)  # a second on an idle machine

CONFIGS: dict[str, dict[str, Any]] = {
    "full": {
        "benchmark/name": "toy_regression",
        "target": {"hidden_sizes": [6, 5], "activation": "sigmoid"},
        "method/embedding_size": 2,
        "method/chunk_size": 0,
        "method/hidden_sizes": [7, 4],
        "method/activation": "sigmoid",
    },
    "chunked": {
        "benchmark": {"name": "split_digits", "num_tasks": 3, "classes_per_task": 3},
        "target/hidden_sizes": [8],
        "method/embedding_size": 4,
        "method/chunk_embedding_size": 3,
        "method/chunk_size": 40,
        "method/hidden_sizes": [],
        "method/mask_heads": True,
        "train/adam_beta1": 0.5,
    },
}


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def read(name: str) -> dict[str, Tensor]:
    path = Path(__file__).parents[1] / "data" / f"{name}_hnet_sequence.npz"
    with np.load(path, allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def make(name: str, golden: dict[str, Tensor], kernels: str) -> Hnet:
    strength = {"method/beta": golden["beta"].item(), "train/lr": golden["lr"].item()}
    config = TrialConfig.from_dict(
        {"method/name": "hnet", "train/kernels": kernels, **CONFIGS[name], **strength}
    )
    num_tasks, benchmark = len(golden["x"]), config.benchmark
    layout = make_layout(config, num_tasks, benchmark.classes_per_task)
    method = Hnet(Setup(config, layout, tuple(golden["x"].shape[3:])))
    with torch.no_grad():
        for mine, theirs in zip(tensors(method), authors(name, golden, "init"), strict=True):
            mine.copy_(theirs)
    return method


def tensors(method: Hnet) -> list[Tensor]:
    """Embeddings, hidden layers and output layer; chunk embeddings if there are any."""
    chunks, *layers = method.one_hypernet.hypernet.theta()
    return [*method.one_hypernet.embeddings, *([chunks] if chunks.numel() else []), *layers]


def authors(name: str, golden: dict[str, Tensor], when: str) -> list[Tensor]:
    """The same of the authors' network: their output layers side by side."""
    embeddings = [golden[f"{when}_embedding_{i}"] for i in range(3)]
    names = [f"{when}_theta_{i}" for i in range(16)]
    theta = [golden[name] for name in names if name in golden]
    first = 4 if name == "full" else 1
    pairs = zip(theta[first::2], theta[first + 1 :: 2], strict=True)
    output = torch.cat([output_layer(weight, bias) for weight, bias in pairs], dim=1)
    return [*embeddings, *theta[:first], output]


def task(task_id: int) -> TaskSplits:
    empty = TaskData(torch.zeros(0, 1, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    return TaskSplits(task_id, empty, empty, empty)


@pytest.mark.parametrize("kernels", ["plain", "fast"])
@pytest.mark.parametrize("name", CONFIGS)
def test_three_tasks(name: str, kernels: str) -> None:
    golden = read(name)
    method = make(name, golden, kernels)
    num_tasks = len(golden["x"])
    for task_id in range(num_tasks):
        method.start_task(task(task_id))
        method.train()
        losses, penalties = [], []
        for x, y in zip(golden["x"][task_id], golden["y"][task_id], strict=True):
            terms = method.train_step(x.double(), method.layout.targets(y, task_id))
            losses.append(terms["task"])
            penalties.append(terms.get("regularizer", torch.tensor(0.0)))
        first = 1e-13 if task_id == 0 else None  # nothing is regularized yet
        for found, key, rtol in ((losses, "task_losses", 1e-5), (penalties, "penalties", 2e-3)):
            theirs = golden[key][task_id]
            torch.testing.assert_close(torch.stack(found), theirs, rtol=first or rtol, atol=0)
        made = method.task_hypernet(range(num_tasks)).detach()
        theirs = golden["weights_after_task"][task_id]
        torch.testing.assert_close(made, theirs, rtol=0, atol=first or 5e-5)
    for mine, last in zip(tensors(method), authors(name, golden, "final"), strict=True):
        torch.testing.assert_close(mine.detach(), last, rtol=0, atol=5e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_tolerances_notice_a_percent(name: str) -> None:
    """A hundredth more of beta or of the learning rate opens a gap that is wider than allowed."""
    golden = read(name)
    for key in ("beta", "lr"):
        method = make(name, golden | {key: 1.01 * golden[key]}, "fast")
        for task_id in range(2):
            method.start_task(task(task_id))
            for x, y in zip(golden["x"][task_id], golden["y"][task_id], strict=True):
                method.train_step(x.double(), method.layout.targets(y, task_id))
        gap = method.task_hypernet(range(3)).detach() - golden["weights_after_task"][1]
        assert gap.abs().max() > 1e-4
