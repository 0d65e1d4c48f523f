"""Hypernetworks: shapes, chunks, sizes of the paper, tasks in one call as one by one."""

from collections.abc import Iterator
from math import ceil

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import assert_same, build, learn, trial
from torch import Tensor

from hcl.config import TrialConfig
from hcl.hypernets import Hypernet
from hcl.hypernets.hypernet import ACTIVATIONS
from hcl.methods import Setup
from hcl.methods.hnet import Hnet
from hcl.scenario import OutputLayout


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


FUNCTIONS = {"relu": torch.relu, "elu": F.elu, "sigmoid": torch.sigmoid}


def word_by_word(hypernet: Hypernet, embedding: Tensor, activation: str) -> Tensor:
    """Generate one task's weights: an MLP for each chunk, the last chunk cut."""
    pieces = []
    for chunk in hypernet.chunk_embeddings:
        hidden = torch.cat([embedding, chunk])
        for layer in hypernet.layers:
            hidden = FUNCTIONS[activation](layer(hidden))
        pieces.append(hidden @ hypernet.output[:-1] + hypernet.output[-1])
    return torch.cat(pieces)[: hypernet.num_weights]


@settings(max_examples=60)
@given(
    num_weights=st.integers(1, 40),
    chunk_size=st.integers(0, 45),
    hidden_sizes=st.lists(st.integers(1, 5), max_size=3),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    num_tasks=st.integers(1, 4),
)
def test_all_tasks_in_one_call(
    num_weights: int, chunk_size: int, hidden_sizes: list[int], activation: str, num_tasks: int
) -> None:
    torch.manual_seed(0)
    hypernet = Hypernet(num_weights, 3, 2, chunk_size, tuple(hidden_sizes), activation)
    embeddings = torch.randn(num_tasks, 3)
    weights = hypernet(embeddings)
    assert weights.shape == (num_tasks, num_weights)
    is_full = chunk_size == 0 or chunk_size >= num_weights
    assert hypernet.num_chunks == (1 if is_full else ceil(num_weights / chunk_size))
    assert hypernet.chunk_embeddings.shape[1] == (0 if is_full else 2)
    for mine, embedding in zip(weights, embeddings, strict=True):
        theirs = word_by_word(hypernet, embedding, activation)
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def test_other_parameters_than_its_own() -> None:
    torch.manual_seed(0)
    one, other = (Hypernet(30, 3, 2, 7, (5,), "elu") for _ in range(2))
    embeddings = torch.randn(2, 3)
    assert torch.equal(one(embeddings, other.theta()), other(embeddings))
    assert not torch.equal(one(embeddings), other(embeddings))
    assert {id(p) for p in one.theta()} == {id(p) for p in one.parameters()}


def test_initialisation_is_the_papers() -> None:
    torch.manual_seed(0)
    hypernet = Hypernet(4000, 50, 50, 100, (60,), "relu")
    assert hypernet.chunk_embeddings.std().item() == pytest.approx(1, abs=0.1)
    for layer in hypernet.layers:
        bound = (6 / sum(layer.weight.shape)) ** 0.5
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound
        assert layer.bias.abs().max() == 0
    weight, bias = hypernet.output[:-1], hypernet.output[-1]
    bound = (6 / (60 + 100)) ** 0.5
    assert 0.95 * bound < weight.abs().max().item() <= bound
    assert bias.abs().max() == 0


def split(scenario: str) -> TrialConfig:
    return TrialConfig.from_dict({"scenario": scenario, "method/name": "hnet"})


def permuted(scenario: str, num_tasks: int, target: list[int], *method: object) -> TrialConfig:
    keys = ("hidden_sizes", "embedding_size", "chunk_embedding_size", "chunk_size")
    return TrialConfig.from_dict(
        {
            "benchmark": {"name": "permuted_mnist", "num_tasks": num_tasks},
            "scenario": scenario,
            "target/hidden_sizes": target,
            "method": {"name": "hnet", **dict(zip(keys, method, strict=True))},
        }
    )


P10 = ([25, 25], 24, 8, 78000)
SMALL = ([100, 75, 50], 64, 12, 2000)


@pytest.mark.parametrize(
    ("config", "target", "stored", "chunks"),
    [
        (split("task"), 478_410, 465_672, 12),
        (split("class"), 478_410, 465_672, 12),
        (split("domain"), 475_202, 465_672, 12),
        (permuted("task", 10, [1000, 1000], *P10), 2_126_100, 2_029_939, 28),
        (permuted("domain", 10, [1000, 1000], *P10), 2_036_010, 2_029_931, 27),
        (
            permuted("class", 100, [1000, 1000], [200, 250, 350], 128, 12, 7500),
            3_027_000,
            2_816_448,
            404,
        ),
        (permuted("task", 10, [100, 100], *SMALL), 122_700, 122_459, 62),
    ],
    ids=["split-CL1", "split-CL3", "split-CL2", "perm10-CL1", "perm10-CL2", "perm100", "small"],
)
def test_sizes_are_the_papers(config: TrialConfig, target: int, stored: int, chunks: int) -> None:
    """The parameter counts of the authors' defaults (github chrhenning/hypercl)."""
    b = config.benchmark
    pixels = (28 + 2 * b.padding) ** 2
    layout = OutputLayout(config.scenario, b.num_tasks, b.classes_per_task)
    with torch.device("meta"):
        method = Hnet(Setup(config, layout, (pixels,)))
    assert method.num_target_weights() == target
    assert method.num_stored() == stored
    assert method.task_hypernet.hypernet.num_chunks == chunks
    assert sum(p.numel() for p in method.setup.build_network().parameters()) == target


def test_past_embeddings_are_frozen() -> None:
    torch.set_default_dtype(torch.float32)
    method, data = build(trial("hnet", method__lookahead="full", method__activation="elu"))
    learn(method, data, 0)
    embeddings = [e.detach().clone() for e in method.task_hypernet.embeddings]
    learn(method, data, 1)
    changed = [
        not torch.equal(e, old)
        for e, old in zip(method.task_hypernet.embeddings, embeddings, strict=True)
    ]
    assert changed == [False, True, False]


def test_random_subsets_of_past_tasks() -> None:
    method, data = build(trial("hnet", benchmark__num_tasks=5, method__reg_tasks=2))
    owner = method.task_hypernet
    method.start_task(data.tasks[2])
    assert owner.draw_past_tasks() is None  # both of the two past tasks
    method.start_task(data.tasks[4])
    draws = [tuple(owner.draw_past_tasks().tolist()) for _ in range(60)]
    assert all(len(set(draw)) == 2 for draw in draws)
    assert {task for draw in draws for task in draw} == {0, 1, 2, 3}


def test_inference_in_parts_is_inference_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float32)
    method, data = build(trial("hnet", "class"))
    for task_id in range(3):
        learn(method, data, task_id)
    method.eval()
    x, _ = data.tasks[0].test.batch(torch.arange(50))
    with torch.no_grad():
        whole = method.predict(x, None)
        monkeypatch.setattr("hcl.inference.networks_of_tasks.INFERENCE_ROWS", 12)
        monkeypatch.setattr("hcl.inference.networks_of_tasks.SCREENED_LOGITS", 108)
        parts = method.predict(x, None)
        alone = [method.predict(x, task).logits for task in range(3)]
    assert_same(whole.task_ids, parts.task_ids)
    torch.testing.assert_close(whole.logits, parts.logits)
    # Only the picked task's head competes, with that task's own network.
    for i, task in enumerate(whole.task_ids.tolist()):
        head = method.layout.head(task)
        torch.testing.assert_close(whole.logits[i, head], alone[task][i, head])
        others = torch.ones(6, dtype=torch.bool)
        others[head] = False
        assert (whole.logits[i, others] == -torch.inf).all()
        entropies = [
            torch.distributions.Categorical(logits=a[i, method.layout.head(t)]).entropy()
            for t, a in enumerate(alone)
        ]
        assert task == int(torch.stack(entropies).argmin())
    assert F.softmax(whole.logits, dim=1).isfinite().all()
