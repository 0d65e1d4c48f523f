"""The Gram form, clear and fast, against the definition: all past tasks' weights compared."""

from collections.abc import Iterator

import pytest
import torch
from hypernet_cases import SHAPES, Case, drawn, heads_mask, subset
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import build, learn, trial

from hcl.hypernets import HeadMask, OutputRegularizer
from hcl.kernels.gram_regularizer import GramRegularizer


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


KINDS = pytest.mark.parametrize("kind", [OutputRegularizer, GramRegularizer])
Kind = type[OutputRegularizer | GramRegularizer]


def assert_parity(kind: Kind, case: Case, mask: HeadMask | None, tasks: list[int]) -> None:
    theta = case.candidate()
    mine = case.regularizer(kind, mask)(theta, subset(case, tasks))
    theirs = case.direct(theta, mask and mask.keep, tasks)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-24)
    scale = max(1.0, theirs.item())
    grads = [torch.autograd.grad(v, theta, allow_unused=True) for v in (mine, theirs)]
    for p, a, b in zip(theta, *grads, strict=True):
        a, b = (torch.zeros_like(p) if g is None else g for g in (a, b))
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12 * scale)


@KINDS
@pytest.mark.parametrize("tasks", [[0, 1, 2], [1], [2, 0]], ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_parity(shape: str, masked: bool, tasks: list[int], kind: Kind) -> None:
    case = Case(0, num_tasks=3, num_weights=30, **SHAPES[shape])
    assert_parity(kind, case, heads_mask() if masked else None, tasks)


@KINDS
@settings(max_examples=80)
@given(data=st.data())
def test_parity_everywhere(kind: Kind, data: st.DataObject) -> None:
    assert_parity(kind, *drawn(data))


@KINDS
def test_zero_at_the_start_of_the_task(kind: Kind) -> None:
    case = Case(1, 3, 30, chunk_size=7)
    regularizer = case.regularizer(kind)
    penalty = regularizer(case.hypernet.theta())
    assert penalty.item() == 0
    for grad in torch.autograd.grad(penalty, case.hypernet.theta()):
        assert grad.abs().max() == 0


@KINDS
@pytest.mark.parametrize(("distance", "tolerance"), [(1e-4, 1e-2), (1e-3, 1e-3), (0.1, 1e-5)])
def test_float32_is_enough(distance: float, tolerance: float, kind: Kind) -> None:
    """The error is that of the features' own rounding, down to the size of an Adam step."""
    torch.set_default_dtype(torch.float32)
    case = Case(2, 3, 200, chunk_size=30, hidden_sizes=(8, 8))
    theta = case.candidate(distance)
    rough = case.regularizer(kind)(theta).item()
    case.hypernet.double()
    case.embeddings = case.embeddings.double()
    exact = case.direct([p.double() for p in theta], None, [0, 1, 2]).item()
    assert rough == pytest.approx(exact, rel=tolerance)


@KINDS
def test_float32_agrees_with_the_direct_form(kind: Kind) -> None:
    torch.set_default_dtype(torch.float32)
    case = Case(3, 4, 120, chunk_size=25, hidden_sizes=(8, 8))
    theta = case.candidate()
    mine = case.regularizer(kind)(theta)
    theirs = case.direct(theta, None, [0, 1, 2, 3])
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=0)
    grads = [torch.autograd.grad(v, theta) for v in (mine, theirs)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * b.abs().max().item())


@KINDS
def test_a_restart_keeps_what_the_task_began_with(kind: Kind) -> None:
    case = Case(4, 2, 30, chunk_size=7)
    first = case.regularizer(kind)
    theta = case.candidate()
    before = first(theta)
    with torch.no_grad():
        case.hypernet.output.add_(1)  # training went on
    again = kind(case.hypernet, case.embeddings, first.theta_start)
    assert torch.equal(first(theta), before) and torch.equal(again(theta), before)


@pytest.mark.parametrize("kernels", ["plain", "fast"])
@pytest.mark.parametrize("scenario", ["task", "class", "domain"])
def test_mask_of_the_method_is_the_other_tasks_heads(scenario: str, kernels: str) -> None:
    """The expected mask is built from names and rows of the output layer, not from positions."""
    settings = {"method/mask_heads": True, "method/chunk_size": 11, "train/kernels": kernels}
    config = trial("hnet", scenario, **settings)
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
