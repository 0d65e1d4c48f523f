"""The Gram form against the definition: generate every past task's weights and compare."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import build, learn, trial
from torch import Tensor

from hcl.hypernets import Hypernet, OutputRegularizer
from hcl.kernels.hidden_layers import ACTIVATIONS, Theta


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Case:
    """A hypernetwork, past tasks and a candidate, all drawn from `seed`."""

    def __init__(self, seed: int, num_tasks: int, num_weights: int, **shape: Any) -> None:
        torch.manual_seed(seed)
        sizes = {"chunk_size": 0, "hidden_sizes": (5,), "activation": "elu", **shape}
        self.hypernet = Hypernet(num_weights, 3, 2, **sizes)
        with torch.no_grad():
            for p in self.hypernet.theta():  # biases too
                p.add_(0.3 * torch.randn_like(p))
        self.embeddings = torch.randn(num_tasks, 3)

    def candidate(self, distance: float = 0.1) -> Theta:
        return [
            (p + distance * torch.randn_like(p)).detach().requires_grad_()
            for p in self.hypernet.theta()
        ]

    def direct(self, theta: Theta, keep: Tensor | None, tasks: list[int]) -> Tensor:
        """eq. 2 of von Oswald et al. (2020), word by word."""
        total = torch.zeros(())
        for task in tasks:
            embedding = self.embeddings[task][None]
            change = self.hypernet(embedding, theta)[0] - self.hypernet(embedding)[0].detach()
            total = total + (change if keep is None else change[keep[task]]).square().sum()
        return total / len(tasks)


def assert_parity(case: Case, keep: Tensor | None, first: int | None, tasks: list[int]) -> None:
    regularizer = OutputRegularizer(case.hypernet, case.embeddings, keep, first)
    everything = list(range(len(case.embeddings)))
    theta = case.candidate()
    mine = regularizer(theta, None if tasks == everything else torch.tensor(tasks))
    theirs = case.direct(theta, keep, tasks)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-24)
    scale = max(1.0, theirs.item())
    grads = [torch.autograd.grad(v, theta, allow_unused=True) for v in (mine, theirs)]
    for p, a, b in zip(theta, *grads, strict=True):
        a, b = (torch.zeros_like(p) if g is None else g for g in (a, b))
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12 * scale)


SHAPES = {
    "full": {"chunk_size": 0},
    "exact chunks": {"chunk_size": 10},
    "surplus": {"chunk_size": 7},
    "one chunk": {"chunk_size": 30},
    "chunk larger than weights": {"chunk_size": 31},
    "linear": {"chunk_size": 7, "hidden_sizes": ()},
    "linear full": {"chunk_size": 0, "hidden_sizes": ()},
    "deep": {"chunk_size": 4, "hidden_sizes": (5, 6, 4), "activation": "sigmoid"},
}


@pytest.mark.parametrize("tasks", [[0, 1, 2], [1], [2, 0]], ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_parity(shape: str, masked: bool, tasks: list[int]) -> None:
    case = Case(0, num_tasks=3, num_weights=30, **SHAPES[shape])
    keep = torch.ones(3, 30, dtype=torch.bool)
    for task in range(3):
        keep[task, 18:] = False
        keep[task, 18 + 4 * task : 22 + 4 * task] = True
    assert_parity(case, *((keep, 18) if masked else (None, None)), tasks)


@settings(max_examples=80)
@given(data=st.data())
def test_parity_everywhere(data: st.DataObject) -> None:
    draw = data.draw
    num_tasks, num_weights = draw(st.integers(1, 4)), draw(st.integers(1, 40))
    case = Case(
        draw(st.integers(0, 99)),
        num_tasks,
        num_weights,
        chunk_size=draw(st.integers(0, 45)),
        hidden_sizes=tuple(draw(st.lists(st.integers(1, 5), max_size=3))),
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
    )
    keep = first = None
    if draw(st.booleans()):
        first = draw(st.integers(0, num_weights))
        keep = torch.rand(num_tasks, num_weights) < 0.5
        keep[:, :first] = True
    order = draw(st.permutations(range(num_tasks)))
    assert_parity(case, keep, first, order[: draw(st.integers(1, num_tasks))])


def test_zero_at_the_start_of_the_task() -> None:
    case = Case(1, 3, 30, chunk_size=7)
    regularizer = OutputRegularizer(case.hypernet, case.embeddings)
    penalty = regularizer(case.hypernet.theta())
    assert penalty.item() == 0
    for grad in torch.autograd.grad(penalty, case.hypernet.theta()):
        assert grad.abs().max() == 0


@pytest.mark.parametrize(("distance", "tolerance"), [(1e-4, 1e-2), (1e-3, 1e-3), (0.1, 1e-5)])
def test_float32_is_enough(distance: float, tolerance: float) -> None:
    """As exact as the features' own rounding allows, down to the size of an Adam step."""
    torch.set_default_dtype(torch.float32)
    case = Case(2, 3, 200, chunk_size=30, hidden_sizes=(8, 8))
    theta = case.candidate(distance)
    rough = OutputRegularizer(case.hypernet, case.embeddings)(theta).item()
    case.hypernet.double()
    case.embeddings = case.embeddings.double()
    exact = case.direct([p.double() for p in theta], None, [0, 1, 2]).item()
    assert rough == pytest.approx(exact, rel=tolerance)


def test_float32_agrees_with_the_direct_form() -> None:
    torch.set_default_dtype(torch.float32)
    case = Case(3, 4, 120, chunk_size=25, hidden_sizes=(8, 8))
    theta = case.candidate()
    mine = OutputRegularizer(case.hypernet, case.embeddings)(theta)
    theirs = case.direct(theta, None, [0, 1, 2, 3])
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=0)
    grads = [torch.autograd.grad(v, theta) for v in (mine, theirs)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * b.abs().max().item())


def test_rough_products_change_a_percent_at_most() -> None:
    """bfloat16 has 8 bits: errors of 2^-9 each, in value and gradient, at any distance."""
    torch.set_default_dtype(torch.float32)
    case = Case(5, 4, 3000, chunk_size=500, hidden_sizes=(20, 30))
    for distance in (1e-4, 1e-2):
        theta = case.candidate(distance)
        exact, rough = (
            OutputRegularizer(case.hypernet, case.embeddings, is_rough=is_rough)
            for is_rough in (False, True)
        )
        value, grads = exact.value_and_grads(theta)
        rough_value, rough_grads = rough.value_and_grads(theta)
        assert rough_value.item() == pytest.approx(value.item(), rel=0.01)
        assert rough_value.item() != value.item()
        for a, b in zip(rough_grads, grads, strict=True):
            assert ((a - b).norm() / b.norm()).item() < 0.01


@pytest.mark.parametrize(("activation", "bias"), [("sigmoid", 6.0), ("elu", -6.0), ("relu", 6.0)])
def test_rough_products_know_saturated_units(activation: str, bias: float) -> None:
    """Near its limits an activation's slope would be lost in a rounded result."""
    torch.set_default_dtype(torch.float32)
    case = Case(6, 4, 3000, chunk_size=500, hidden_sizes=(20, 30), activation=activation)
    with torch.no_grad():
        for p in case.hypernet.theta()[2:-1:2]:
            p.fill_(bias)
    theta = case.candidate(1e-2)
    exact, rough = (
        OutputRegularizer(case.hypernet, case.embeddings, is_rough=is_rough).value_and_grads(theta)
        for is_rough in (False, True)
    )
    for a, b in zip(rough[1], exact[1], strict=True):
        assert ((a - b).norm() / b.norm()).item() < 0.02


def test_rough_products_train_about_the_same() -> None:
    torch.set_default_dtype(torch.float32)
    ends = []
    for precision in ("float32", "bfloat16"):
        method, data = build(trial("hnet", method__reg_precision=precision))
        for task_id in range(3):
            learn(method, data, task_id, steps=10)
        ends.append(method.task_hypernet(range(3)).detach())
    assert not torch.equal(*ends)
    torch.testing.assert_close(*ends, rtol=0, atol=0.02 * ends[0].abs().max().item())


def test_a_restart_keeps_what_the_task_began_with() -> None:
    case = Case(4, 2, 30, chunk_size=7)
    first = OutputRegularizer(case.hypernet, case.embeddings)
    theta = case.candidate()
    before = first(theta)
    with torch.no_grad():
        case.hypernet.output.add_(1)  # training went on
    again = OutputRegularizer(case.hypernet, case.embeddings, theta_start=first.theta_start)
    assert torch.equal(first(theta), before) and torch.equal(again(theta), before)


@pytest.mark.parametrize("scenario", ["task", "class", "domain"])
def test_mask_of_the_method_is_the_other_tasks_heads(scenario: str) -> None:
    """By name and row of the output layer, not by position in a vector."""
    config = trial("hnet", scenario, method__mask_heads=True, method__chunk_size=11)
    method, data = build(config)
    method.start_task(data.tasks[2])
    torch.manual_seed(0)
    owner = method.task_hypernet
    theta = [p.detach() + 0.1 * torch.randn_like(p) for p in owner.hypernet.theta()]
    total = 0.0
    for past in range(2):
        embedding = owner.embeddings[past].detach()[None]
        change = owner.hypernet(embedding, theta)[0] - owner.hypernet(embedding)[0]
        for name, part in method.generated.unflatten(change.detach()).items():
            is_output = name.startswith("2.")
            rows = method.layout.head(past) if is_output and scenario != "domain" else slice(None)
            total += part[rows].square().sum().item()
    assert owner.regularizer(theta).item() == pytest.approx(total / 2, rel=1e-9)


def drift(beta: float) -> float:
    """How far a past task's weights move, relative to their size, while others are learned."""
    torch.set_default_dtype(torch.float32)
    method, data = build(trial("hnet", method__beta=beta, train__lr=1e-3))
    learn(method, data, 0, steps=20)
    before = method.task_hypernet(range(1)).detach()
    for task_id in (1, 2):
        learn(method, data, task_id, steps=15)
    change = method.task_hypernet(range(1)).detach() - before
    return float(change.norm() / before.norm())


def test_strong_regularizer_keeps_past_weights() -> None:
    free, kept = drift(0.0), drift(1e3)
    assert free > 0.03
    assert kept < free / 10


def test_first_task_is_untouched() -> None:
    torch.set_default_dtype(torch.float32)
    methods = []
    for beta in (0.0, 1e6):
        method, data = build(trial("hnet", method__beta=beta))
        assert all(loss.keys() == {"task"} for loss in learn(method, data, 0))
        methods.append(method)
    for p, q in zip(*(method.parameters() for method in methods), strict=True):
        assert torch.equal(p, q)
    free, kept = (learn(method, data, 1)[0].keys() for method in methods)
    assert free == {"task"} and kept == {"task", "regularizer"}


@pytest.mark.parametrize("at_once", [1, 40])
@pytest.mark.parametrize("hidden_sizes", [(4, 5), ()], ids=str)
def test_blocks_of_chunks_change_memory_alone(
    hidden_sizes: tuple[int, ...], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(0, 3, 117, chunk_size=10, hidden_sizes=hidden_sizes)
    regularizer = OutputRegularizer(case.hypernet, case.embeddings)
    theta = case.candidate()
    value, grads = regularizer.value_and_grads(theta)
    monkeypatch.setattr("hcl.kernels.past_features.FEATURES_AT_ONCE", at_once)
    again, same = regularizer.value_and_grads(theta)
    torch.testing.assert_close(again, value, rtol=1e-12, atol=0)
    for mine, theirs in zip(same, grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-14)
