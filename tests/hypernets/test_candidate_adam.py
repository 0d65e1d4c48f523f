"""Both Adams against torch's Adam, and the gradient through the lookahead by differences."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import assert_same, batch, build, learn, trial
from torch import Tensor

from hcl.hypernets import CandidateAdam
from hcl.hypernets.candidate_adam import candidate
from hcl.kernels.fast_adam import FastAdam

ADAMS = pytest.mark.parametrize("adam", [CandidateAdam, FastAdam])
Adam = CandidateAdam | FastAdam


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


SHAPES = [(3, 2), (4,), (1, 0), ()]


def some_grads(scale: float = 1.0) -> list[Tensor]:
    return [scale * torch.randn(shape) for shape in SHAPES]


@ADAMS
@settings(max_examples=30)
@given(
    lr=st.floats(1e-5, 1.0),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    exponent=st.integers(-12, 3),
)
def test_steps_of_adam(
    adam: type[Adam], lr: float, betas: tuple[float, float], exponent: int
) -> None:
    start = some_grads()
    mine = [p.clone() for p in start]
    theirs = [p.clone().requires_grad_() for p in start]
    optimizer = adam(mine, lr, betas)
    reference = torch.optim.Adam(theirs, lr=lr, betas=betas)
    for _ in range(5):
        grads = some_grads(10.0**exponent)
        for p, g in zip(theirs, grads, strict=True):
            p.grad = g.clone()
        reference.step()
        optimizer.step(grads)
        for p, q in zip(mine, theirs, strict=True):
            torch.testing.assert_close(p, q.detach(), rtol=1e-12, atol=1e-12 * lr)


@ADAMS
def test_the_candidate_is_the_coming_step_and_changes_nothing(adam: type[Adam]) -> None:
    params = some_grads()
    optimizer = adam(params, lr=0.1)
    for _ in range(4):
        grads, before = some_grads(), [p.clone() for p in params]
        state = copy_of(optimizer.state_dict())
        after = [p.clone() for p in optimizer.ahead(grads)]
        steps = candidate(optimizer, grads)
        assert_same(optimizer.state_dict(), state)
        assert_same(params, before)
        optimizer.step(grads)
        assert_same(params, after)
        for old, new, step in zip(before, after, steps, strict=True):
            torch.testing.assert_close(step, new - old, rtol=1e-12, atol=1e-15)


@ADAMS
def test_a_step_on_the_sum_of_two_gradients(adam: type[Adam]) -> None:
    start = some_grads()
    mine, theirs = (adam([p.clone() for p in start], lr=0.1) for _ in range(2))
    for _ in range(3):
        grads, more = some_grads(), some_grads()
        theirs.step([g + m for g, m in zip(grads, more, strict=True)])
        mine.step(grads, more)
        assert_same(mine.params, theirs.params)


def copy_of(state: dict[str, Any]) -> dict[str, Any]:
    return {k: [t.clone() for t in v] if isinstance(v, list) else v for k, v in state.items()}


@ADAMS
def test_params_and_steps_share_storage(adam: type[Adam]) -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer = adam(list(layer.parameters()), lr=0.1)
    before = layer.weight.detach().clone()
    optimizer.step([torch.ones(2, 2), torch.ones(2)])
    assert torch.equal(layer.weight, before + layer.weight.detach() - before)
    assert (layer.weight < before).all()


@ADAMS
def test_state_round_trip(adam: type[Adam]) -> None:
    params = some_grads()
    one = adam(params, lr=0.1)
    for _ in range(3):
        one.step(some_grads())
    other = adam([p.clone() for p in params], lr=0.1)
    other.load_state_dict(copy_of(one.state_dict()))
    grads = some_grads()
    assert_same(candidate(one, grads), candidate(other, grads))
    assert_same(one.ahead(grads), other.ahead(grads))


@pytest.mark.parametrize("num_steps", [0, 1, 4])
def test_gradient_of_the_candidate(num_steps: int) -> None:
    optimizer = CandidateAdam([torch.zeros(5)], lr=0.1)
    for _ in range(num_steps):
        optimizer.step([torch.randn(5)])

    def step(grad: Tensor) -> Tensor:
        return candidate(optimizer, [grad])[0]

    grad = torch.tensor([1.0, -0.5, 0.3, 2.0, -1.2], requires_grad=True)
    # The first step is -lr * sign(grad) up to epsilon: its slope is nearly, and correctly, none.
    assert torch.autograd.gradcheck(step, grad, eps=1e-7, atol=1e-6)


def test_gradient_of_the_candidate_where_nothing_ever_moved() -> None:
    """A dead unit has gradient 0 and second moment 0: 0 / 0 must not become NaN."""
    optimizer = CandidateAdam([torch.zeros(3)], lr=0.1)
    grad = torch.tensor([0.0, 1.0, 0.0], requires_grad=True)
    (step,) = candidate(optimizer, [grad])
    (slope,) = torch.autograd.grad(step.sum(), grad)
    assert step.isfinite().all() and slope.isfinite().all() and step[0] == 0


def slope_at(value: Callable[[], float], p: Tensor, index: int, eps: float = 1e-6) -> float:
    """Central difference in one number of `p`, in place."""
    flat = p.data.view(-1)
    old = flat[index].item()
    values = []
    for sign in (1, -1):
        flat[index] = old + sign * eps
        values.append(value())
    flat[index] = old
    return (values[0] - values[1]) / (2 * eps)


@pytest.mark.parametrize("kernels", ["plain", "fast"])
@pytest.mark.parametrize("chunk_size", [0, 17])
def test_full_lookahead_is_the_gradient_of_penalty_at_theta_plus_delta(
    chunk_size: int, kernels: str
) -> None:
    config = trial(
        "hnet",
        train__kernels=kernels,
        method__lookahead="full",
        method__activation="sigmoid",
        method__hidden_sizes=[2],
        method__embedding_size=2,
        method__chunk_size=chunk_size,
        method__beta=0.7,
        target__hidden_sizes=[],
    )
    method, data = build(config)
    owner, theta = method.task_hypernet, method.task_hypernet.hypernet.theta()
    learn(method, data, 0, steps=2)
    method.start_task(data.tasks[1])
    for i in range(3):  # so that no moment is 0
        method.train_step(*batch(data, method, 1, 16 * i))
    x, y = batch(data, method, 1, 48)
    embedding = owner.embeddings[1]

    def task_grads(**how: bool) -> list[Tensor]:
        logits = method.target(owner.current(), x)
        loss = method.layout.head_cross_entropy(logits, y, 1)
        return list(torch.autograd.grad(loss, theta, **how))

    def penalty() -> float:
        steps = candidate(owner.optimizer, task_grads())
        at = [p.detach() + step for p, step in zip(theta, steps, strict=True)]
        return 0.7 * owner.regularizer(at).item()

    value, slopes = owner.penalty_and_grads(task_grads(create_graph=True))
    assert value.item() == pytest.approx(penalty(), rel=1e-10)
    for p, slope in zip([*theta, embedding], slopes, strict=True):
        for index in torch.randperm(p.numel())[:12].tolist():
            expected = slope_at(penalty, p, index)
            assert slope.view(-1)[index].item() == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert slopes[-1].abs().max() > 0


@pytest.mark.parametrize("kernels", ["plain", "fast"])
@pytest.mark.parametrize("lookahead", ["off", "detached"])
def test_where_the_penalty_is_taken(lookahead: str, kernels: str) -> None:
    settings = {"method/lookahead": lookahead, "method/beta": 2.0, "train/kernels": kernels}
    method, data = build(trial("hnet", **settings))
    for task_id in range(2):
        learn(method, data, task_id)
    owner = method.task_hypernet
    theta = [p.detach() for p in owner.hypernet.theta()]
    grads = [torch.randn_like(p) for p in theta]
    steps = candidate(owner.optimizer, grads)
    at = theta if lookahead == "off" else [p + s for p, s in zip(theta, steps, strict=True)]
    at = [p.clone().requires_grad_() for p in at]
    value, slopes = owner.penalty_and_grads(grads)
    expected = 2.0 * owner.regularizer(at)
    torch.testing.assert_close(value, expected.detach())
    for mine, theirs in zip(slopes, torch.autograd.grad(expected, at), strict=False):
        torch.testing.assert_close(mine, theirs)
    assert slopes[-1].abs().max() == 0  # the current embedding
    assert all(p.requires_grad and p.grad is None for p in owner.hypernet.theta())


@ADAMS
def test_gradients_may_lie_in_memory_as_they_like(adam: type[Adam]) -> None:
    """The fused kernel of torch reads gradients in the order of memory."""
    torch.manual_seed(0)
    start, grad = torch.randn(3, 4), torch.randn(4, 3).T
    ends = []
    for g in (grad, grad.contiguous()):
        optimizer = adam([start.clone()], lr=0.1)
        ahead = optimizer.ahead([g])[0].clone()
        optimizer.step([g])
        assert torch.equal(ahead, optimizer.params[0])
        ends.append(ahead)
    assert torch.equal(*ends)
