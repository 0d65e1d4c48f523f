"""Screening finds the task of lowest entropy, though few logits are exact."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import build, learn, trial
from torch import Tensor

from hcl.inference import screening
from hcl.inference.entropy import entropy, lowest_entropy, pick
from hcl.kernels import int8_mlp

NO_ERRORS = torch.zeros(1)  # none but those that are seen


class Networks:
    """Exact and rough logits of T tasks; notes which pairs of task and input were asked for."""

    def __init__(self, exact: Tensor, error: float) -> None:
        self.exact = exact
        noise = (2 * torch.rand(exact.shape) - 1) * error
        self.rough = exact + noise
        self.asked = torch.zeros(exact.shape[:2], dtype=torch.bool)

    def answer(self, task: int, rows: Tensor) -> Tensor:
        self.asked[task, rows] = True
        return self.exact[task, rows]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    scale=st.sampled_from([0.01, 0.3, 3.0, 30.0, 300.0]),
    relative=st.sampled_from([0.0, 1e-3, 0.01, 0.1]),
    num_tasks=st.integers(1, 12),
    classes=st.sampled_from([2, 10]),
)
def test_the_same_tasks_and_logits(
    seed: int, scale: float, relative: float, num_tasks: int, classes: int
) -> None:
    torch.manual_seed(seed)
    networks = Networks(scale * torch.randn(num_tasks, 300, classes), scale * relative)
    task_ids, logits = screening.lowest_entropy(networks.rough, networks.answer, NO_ERRORS)
    expected = lowest_entropy(networks.exact)
    assert torch.equal(task_ids, expected)
    assert torch.equal(logits, pick(networks.exact, expected))


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 9999),
    scale=st.sampled_from([0.01, 1.0, 10.0, 100.0]),
    error=st.sampled_from([1e-3, 0.05, 0.5, 3.0]),
)
def test_the_bounds_hold_for_the_worst_error(seed: int, scale: float, error: float) -> None:
    """With each logit off by +-error the entropy stays above both bounds of the module's text."""
    torch.manual_seed(seed)
    rough = (scale * torch.randn(500, 5)).double()
    exact = rough + error * (2 * torch.randint(2, rough.shape) - 1)
    log_p = rough.log_softmax(-1)
    before, after = entropy(rough), entropy(exact)
    spread = (log_p.exp() * (log_p + before[:, None]).abs()).sum(-1)
    d = torch.tensor(error, dtype=torch.float64)
    assert (after >= before * (-2 * d).exp() * (1 - 1e-9) - 1e-15).all()
    assert (after >= before - ((spread + 1 / 3) * (3 * d).expm1() - d) / 3).all()


def test_few_are_looked_at_twice_where_one_task_is_sure() -> None:
    torch.manual_seed(0)
    exact = torch.randn(10, 500, 10)
    owners = torch.randint(10, (500,))
    exact[owners, torch.arange(500), 3] += 12.0
    networks = Networks(exact, 0.02)
    task_ids, _ = screening.lowest_entropy(networks.rough, networks.answer, NO_ERRORS)
    assert torch.equal(task_ids, owners)
    assert networks.asked.sum() == 500  # the surest of each input alone


def test_a_network_with_larger_logits_has_larger_errors() -> None:
    """Errors of a network that never looks surest are seen in the sample of the inputs."""
    exact = torch.tensor([[2.0, 0.0], [998.1, 1001.9]])[:, None].repeat(1, 300, 1)
    networks = Networks(exact, 0.0)
    networks.rough = exact.bfloat16().float()
    assert networks.rough[1].unique().tolist() == [1000.0]
    rows = torch.arange(0, 300, 100)
    errors = screening.largest_errors(networks.rough, networks.answer, rows)
    torch.testing.assert_close(errors, torch.tensor([0.0, 1.9]), rtol=0, atol=1e-4)
    task_ids, _ = screening.lowest_entropy(networks.rough, networks.answer, errors)
    assert task_ids.tolist() == [1] * 300


@pytest.mark.parametrize("unknown", [slice(0, 1), slice(3, 4), slice(None)])
def test_unknown_logits_are_looked_at(unknown: slice) -> None:
    torch.manual_seed(0)
    networks = Networks(3 * torch.randn(6, 200, 4), 0.01)
    networks.rough[unknown, ::7] = torch.nan
    errors = screening.largest_errors(networks.rough, networks.answer, torch.arange(0, 200, 7))
    assert (errors[unknown] == 0).all()  # nothing is known of these
    task_ids, logits = screening.lowest_entropy(networks.rough, networks.answer, errors)
    expected = lowest_entropy(networks.exact)
    assert torch.equal(task_ids, expected)
    assert torch.equal(logits, pick(networks.exact, expected))


def test_one_network_of_infinite_logits_does_not_hide_the_others() -> None:
    networks = Networks(torch.randn(5, 100, 3), 0.01)
    networks.exact[2] = torch.inf
    task_ids, _ = screening.lowest_entropy(networks.rough, networks.answer, NO_ERRORS)
    others = lowest_entropy(networks.exact[[0, 1, 3, 4]])
    is_other = task_ids != 2
    assert torch.equal(task_ids[is_other], torch.tensor([0, 1, 3, 4])[others][is_other])


def test_ties_go_to_the_earliest_task() -> None:
    exact = torch.zeros(4, 300, 3)
    exact[2:, :, 0] = 2000.0  # entropy exactly 0
    networks = Networks(exact, 0.1)
    task_ids, _ = screening.lowest_entropy(networks.rough, networks.answer, NO_ERRORS)
    assert task_ids.tolist() == [2] * 300


def test_answers_are_each_inputs_own_task() -> None:
    exact = torch.arange(24.0).view(4, 3, 2)
    networks = Networks(exact, 0.0)
    task_ids = torch.tensor([3, 0, 3])
    found = screening.answers(task_ids, networks.answer)
    assert torch.equal(found, pick(exact, task_ids))
    assert networks.asked.sum() == 3


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("scenario", ["domain", "class"])
@pytest.mark.parametrize("trained", [False, True])
@torch.no_grad()
def test_a_method_predicts_the_same(
    scenario: str, trained: bool, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, data = build(trial("hnet", scenario))
    for task_id in range(3):
        with torch.enable_grad():
            learn(method, data, task_id, steps=20 if trained else 1)
    x = torch.cat([task.train.x for task in data.tasks])
    x = x.repeat(300 // len(x) + 1, 1) + 0.1 * torch.randn(300 // len(x) * len(x) + len(x), 1)
    method.eval()
    monkeypatch.setattr(screening, "MIN_TASKS", 2)
    found = {}
    for is_fast in (True, False):
        monkeypatch.setattr(int8_mlp, "is_fast", lambda is_fast=is_fast: is_fast)
        assert method.networks.is_screened(x, 3) == is_fast
        found[is_fast] = method.predict(x, None)
    assert torch.equal(found[True].task_ids, found[False].task_ids)
    torch.testing.assert_close(found[True].logits, found[False].logits)


@torch.no_grad()
def test_errors_are_looked_at_again_for_larger_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    method, data = build(trial("hnet", "domain"))
    for task_id in range(3):
        with torch.enable_grad():
            learn(method, data, task_id, steps=1)
    method.eval()
    if not int8_mlp.is_fast():
        pytest.skip("this processor has no fast products of 8-bit integers")
    monkeypatch.setattr(screening, "MIN_TASKS", 2)
    x = torch.rand(100, data.tasks[0].train.x[0].numel())
    reached = []
    for size in (1e-3, 1.0, 0.5):
        method.predict(size * x, None)
        assert method.networks._rough is not None
        assert method.networks._rough.errors is not None
        reached.append(method.networks._rough.errors.clone())
    assert (reached[0] < reached[1]).all() and torch.equal(reached[1], reached[2])
