"""Parity with the authors' implementation: six training steps of a chunked hypernetwork.

tests/data/chunked_hnet_steps.npz was computed with it in float64. Tolerances: their lookahead
places Adam's epsilon before the bias correction, as older PyTorch did; ours follows today's Adam.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hcl.benchmarks.arrays import TaskData, TaskSplits
from hcl.config import TrialConfig
from hcl.hypernets.candidate_adam import candidate
from hcl.hypernets.hypernet import output_layer
from hcl.hypernets.plain import PlainHnet, Sizes
from hcl.methods import Setup
from hcl.methods.hnet import Hnet
from hcl.scenario import OutputLayout

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "chunked_hnet_steps.npz", allow_pickle=False)


def golden(key: str) -> Tensor:
    return torch.from_numpy(GOLDEN[key])


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def load(method: Hnet, prefix: str) -> None:
    with torch.no_grad():
        for mine, theirs in zip(state(method), values(prefix), strict=True):
            mine.copy_(theirs)


def values(prefix: str) -> list[Tensor]:
    names = [f"{prefix}_{n}" for n in ("chunk_embeddings", *(f"theta_{i}" for i in range(6)))]
    return [*golden(f"{prefix}_task_embeddings"), *as_theta(names)]


def as_theta(names: list[str]) -> list[Tensor]:
    """The authors' seven tensors as `Hypernet.theta` lists them."""
    *hidden, weight, bias = (golden(name) for name in names)
    return [*hidden, output_layer(weight, bias)]


def state(method: Hnet) -> list[Tensor]:
    learned = method.task_hypernet
    return [*learned.embeddings, *learned.hypernet.theta()]


@pytest.fixture(params=["plain", "fast"])
def method(request: pytest.FixtureRequest) -> Hnet:
    config = TrialConfig.from_dict(
        {
            "benchmark": {"name": "permuted_digits", "num_tasks": 4, "classes_per_task": 10},
            "target": {"hidden_sizes": [16, 12]},
            "method": {
                "name": "hnet",
                "beta": float(GOLDEN["beta"]),
                "embedding_size": 5,
                "chunk_embedding_size": 3,
                "chunk_size": 97,
                "hidden_sizes": [9, 11],
                "activation": "elu",
            },
            "train": {"lr": float(GOLDEN["lr"]), "kernels": request.param},
        }
    )
    made = Hnet(Setup(config, OutputLayout("task", 4, 4), (20,)))
    load(made, "init")
    return made


def task(task_id: int) -> TaskSplits:
    empty = TaskData(torch.zeros(0, 20, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    return TaskSplits(task_id, empty, empty, empty)


def test_generated_weights_are_exactly_the_authors(method: Hnet) -> None:
    weights = method.task_hypernet(range(4))
    torch.testing.assert_close(weights, golden("weights_all_tasks"), rtol=0, atol=1e-15)


def test_six_training_steps(method: Hnet) -> None:
    method.start_task(task(3))
    losses, penalties = [], []
    for x, y in zip(golden("x"), golden("y"), strict=True):
        terms = method.train_step(x, y + 12)  # head 3 has the outputs 12..15
        losses.append(terms["task"])
        penalties.append(terms["regularizer"])
    theirs = golden("task_losses")
    torch.testing.assert_close(losses[0], theirs[0], rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.stack(losses), theirs, rtol=1e-6, atol=0)
    reference = golden("beta_times_regularizer")
    torch.testing.assert_close(torch.stack(penalties), reference, rtol=1e-3, atol=0)
    for mine, final in zip(state(method), values("final"), strict=True):
        torch.testing.assert_close(mine.detach(), final, rtol=0, atol=1e-5)


def test_the_plain_hnet_is_the_authors() -> None:
    """The file to read first, without the rest of the library."""
    sizes = Sizes(20, (16, 12), 4, 4, 5, 3, 97, (9, 11), "elu", 0.1, 1e-3)
    plain = PlainHnet(sizes, num_past=3)
    *embeddings, last = golden("init_task_embeddings")
    names = ["chunk_embeddings", *(f"theta_{i}" for i in range(6))]
    plain.theta = [golden(f"init_{name}").requires_grad_() for name in names]
    plain.embeddings = embeddings
    plain.start_task()
    with torch.no_grad():
        plain.embeddings[3].copy_(last)
    found = [plain.step(x, y) for x, y in zip(golden("x"), golden("y"), strict=True)]
    losses, penalties = (torch.stack(list(terms)) for terms in zip(*found, strict=True))
    torch.testing.assert_close(losses, golden("task_losses"), rtol=1e-6, atol=0)
    torch.testing.assert_close(penalties, golden("beta_times_regularizer"), rtol=1e-3, atol=0)
    for mine, name in zip(plain.theta, names, strict=True):
        torch.testing.assert_close(mine.detach(), golden(f"final_{name}"), rtol=0, atol=1e-5)
    final = golden("final_task_embeddings")[3]
    torch.testing.assert_close(plain.embeddings[3].detach(), final, rtol=0, atol=1e-5)


def test_sixth_step_in_detail(method: Hnet) -> None:
    """Task gradient, candidate step and total gradient, from the state before step 6."""
    method.start_task(task(3))
    for x, y in zip(golden("x")[:5], golden("y")[:5], strict=True):
        method.train_step(x, y + 12)
    learned = method.task_hypernet
    logits = method.target(learned.current(), golden("x")[5])
    torch.testing.assert_close(logits[:, 12:16], golden("last_logits"), rtol=0, atol=1e-4)
    loss = method.layout.head_cross_entropy(logits, golden("y")[5] + 12, 3)
    grads = list(torch.autograd.grad(loss, learned.hypernet.theta()))
    steps = candidate(learned.optimizer, grads)
    _, extra = learned.penalty_and_grads(grads)
    theirs = {kind: as_theta([f"last_{kind}_{i}" for i in range(7)]) for kind in
              ("taskgrad", "lookahead", "totalgrad")}  # fmt: skip
    for i in range(6):
        torch.testing.assert_close(grads[i], theirs["taskgrad"][i], rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(steps[i], theirs["lookahead"][i], rtol=0, atol=1e-5)
        total = grads[i] + extra[i]
        torch.testing.assert_close(total, theirs["totalgrad"][i], rtol=1e-3, atol=1e-5)
