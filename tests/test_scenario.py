"""The three scenarios: the outputs that a task uses, in training and in scoring."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hcl.benchmarks import load
from hcl.config import BenchmarkConfig
from hcl.config.methods import ScenarioName
from hcl.inference import entropy
from hcl.inference.networks_of_tasks import place_in_heads
from hcl.replay.distillation import distillation_loss, hard_loss
from hcl.scenario import OutputLayout
from hcl.training.batches import Batches, MixedBatches

SCENARIOS: tuple[ScenarioName, ...] = ("task", "domain", "class")


def layout(scenario: ScenarioName) -> OutputLayout:
    return OutputLayout(scenario, num_tasks=4, classes_per_task=3)


def test_heads() -> None:
    assert [layout(s).num_outputs for s in SCENARIOS] == [12, 3, 12]
    assert [layout(s).head(2) for s in SCENARIOS] == [slice(6, 9), slice(0, 3), slice(6, 9)]
    assert [layout(s).seen(2) for s in SCENARIOS] == [slice(0, 6), slice(0, 3), slice(0, 6)]
    y = torch.tensor([0, 2])
    assert [layout(s).targets(y, 2).tolist() for s in SCENARIOS] == [[6, 8], [0, 2], [6, 8]]


@pytest.mark.parametrize("task_id", [0, 1, 3])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_training_losses(scenario: ScenarioName, task_id: int) -> None:
    """Van de Ven & Tolias: softmax over the head, the shared head, or all classes so far."""
    made = layout(scenario)
    torch.manual_seed(0)
    logits = torch.randn(8, made.num_outputs)
    y = torch.randint(3, (8,))
    targets = made.targets(y, task_id)
    first = 0 if scenario == "domain" else 3 * task_id
    own = F.cross_entropy(logits[:, first : first + 3], y)
    so_far = F.cross_entropy(logits[:, : first + 3], y + first)
    expected = so_far if scenario == "class" else own
    torch.testing.assert_close(made.cross_entropy(logits, targets, task_id), expected)
    torch.testing.assert_close(made.head_cross_entropy(logits, targets, task_id), own)
    mixed = made.mixed_cross_entropy(logits, targets, task_id + 1)
    torch.testing.assert_close(mixed, expected)
    # Outputs that take no part get no gradient.
    logits.requires_grad_()
    (grad,) = torch.autograd.grad(made.cross_entropy(logits, targets, task_id), logits)
    low = 0 if scenario == "class" else first
    assert grad[:, low : first + 3].abs().min() > 0
    assert grad[:, :low].abs().sum() == 0 and grad[:, first + 3 :].abs().sum() == 0


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_label_smoothing(scenario: ScenarioName) -> None:
    """The loss of Szegedy et al. (2016), section 7; and the authors' 0.95 for the true class."""
    torch.manual_seed(0)
    made = layout(scenario)
    logits, y = torch.randn(8, made.num_outputs), torch.randint(3, (8,))
    targets, head = made.targets(y, 2), made.head(2)
    active = made.seen(3) if scenario == "class" else head
    for smoothing in (0.1, 0.05 * 3 / 2):
        smooth = OutputLayout(scenario, 4, 3, smoothing)
        for units, loss in (
            (active, smooth.cross_entropy(logits, targets, 2)),
            (active, smooth.mixed_cross_entropy(logits, targets, 3)),
            (head, smooth.head_cross_entropy(logits, targets, 2)),
        ):
            log_p = logits[:, units].log_softmax(1)
            wanted = F.one_hot(targets - units.start, log_p.shape[1]) * (1 - smoothing)
            wanted = wanted + smoothing / log_p.shape[1]
            torch.testing.assert_close(loss, -(wanted * log_p).sum(1).mean())
    log_p = logits[:, head].log_softmax(1)
    authors = torch.full((8, 3), 0.05 / 2).scatter(1, y[:, None], 0.95)
    mine = smooth.head_cross_entropy(logits, targets, 2)
    torch.testing.assert_close(mine, -(authors * log_p).sum(1).mean())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_loss_of_a_mixed_batch(scenario: ScenarioName) -> None:
    made = layout(scenario)
    torch.manual_seed(0)
    logits, y = torch.randn(9, made.num_outputs), torch.randint(3, (9,))
    owner = torch.tensor([0, 0, 1, 2, 2, 2, 1, 0, 1])
    targets = torch.stack([made.targets(a, int(t)) for a, t in zip(y, owner, strict=True)])
    losses = []
    for i, task_id in enumerate(owner.tolist()):
        active = made.head(task_id) if scenario == "task" else made.seen(3)
        label = targets[i : i + 1] - active.start
        losses.append(F.cross_entropy(logits[i : i + 1, active], label))
    mixed = made.mixed_cross_entropy(logits, targets, 3)
    torch.testing.assert_close(mixed, torch.stack(losses).mean())


def test_predictions() -> None:
    logits = torch.tensor([[0.0, 5, 1, 9, 2, 3, 4, 8, 1, 99, 99, 99]])
    made = layout("task")
    assert made.predicted(logits, 0, 3, "task").tolist() == [1]
    assert made.predicted(logits, 2, 3, "task").tolist() == [7]
    # Tasks not yet learned never compete.
    assert made.predicted(logits, 0, 3, "class").tolist() == [3]
    assert made.predicted(logits, 0, 1, "class").tolist() == [1]
    assert made.predicted(logits, 0, 4, "class").tolist() == [9]
    assert layout("domain").predicted(logits[:, :3], 2, 3, "domain").tolist() == [1]


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=6))
def test_entropy_is_finite_and_right(values: list[float]) -> None:
    logits = torch.tensor(values)
    found = entropy.entropy(logits)
    p = torch.tensor(values, dtype=torch.float64).softmax(0)
    expected = -torch.special.xlogy(p, p).sum()
    assert found.isfinite()
    assert found.item() == pytest.approx(expected.item(), rel=1e-3, abs=1e-4)


def test_saturated_networks_are_told_apart() -> None:
    """-sum(p log p) is NaN at a gap of 120 in float32, and argmin then picks the first task."""
    logits = torch.tensor([[[0.0, 3.0]], [[0.0, 120.0]], [[0.0, 20.0]]])
    p = logits.softmax(-1)
    assert (-(p * p.log()).sum(-1)).isnan().any()
    assert entropy.entropy(logits).isfinite().all()
    assert entropy.lowest_entropy(logits).tolist() == [1]
    assert entropy.lowest_entropy(logits.flip(0)).tolist() == [1]


def test_pick() -> None:
    per_task = torch.arange(12).view(3, 2, 2)
    picked = entropy.pick(per_task, torch.tensor([2, 0]))
    assert picked.tolist() == [[8, 9], [2, 3]]


CONFIG = BenchmarkConfig("split_digits", num_tasks=3)


@pytest.mark.parametrize("size", [7, 16, 10_000])
def test_an_epoch_sees_every_sample_at_most_once(size: int) -> None:
    task = load(CONFIG).tasks[1]
    batches = Batches(task, OutputLayout("task", 3, 2), size, seed=1)
    per_epoch = max(1, len(task.train) // size)
    for epoch in range(2):
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        seen = torch.cat([batches.at(step)[0] for step in steps])
        assert len(seen) == per_epoch * min(size, len(task.train))
        assert len(seen.unique(dim=0)) == len(seen)


def test_batches_depend_on_seed_task_and_step_alone() -> None:
    benchmark, made = load(CONFIG), OutputLayout("task", 3, 2)

    def at(task_id: int, seed: int, step: int) -> Tensor:
        return Batches(benchmark.tasks[task_id], made, 16, seed).at(step)[0]

    walked = Batches(benchmark.tasks[1], made, 16, 1)
    for step in range(40):  # several epochs
        x, y = walked.at(step)
        assert set(y.tolist()) <= {2, 3}
    assert torch.equal(x, at(1, 1, 39))
    assert not torch.equal(at(1, 1, 0), at(1, 2, 0)) and not torch.equal(at(1, 1, 0), at(1, 1, 1))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_mixed_batches_draw_from_all_tasks(scenario: ScenarioName) -> None:
    benchmark, made = load(CONFIG), OutputLayout(scenario, 3, 2)
    batches = MixedBatches(benchmark.tasks, made, 300, seed=1)
    x, y = batches.at(3)
    assert x.shape == (300, 64) and y.shape == (300,)
    assert set(y.tolist()) == set(range(made.num_outputs))
    again, _ = MixedBatches(benchmark.tasks, made, 300, seed=1).at(3)
    assert torch.equal(x, again) and not torch.equal(x, batches.at(4)[0])
    # Each sample carries its own label.
    known = {}
    for task in benchmark.tasks:
        images, labels = task.train.batch(torch.arange(len(task.train)))
        for image, label in zip(images, made.targets(labels, task.task_id), strict=True):
            known[tuple(image.tolist())] = int(label)
    assert all(known[tuple(a.tolist())] == int(b) for a, b in zip(x, y, strict=True))


SIZES = (4, 2, 3)


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_tasks_with_different_numbers_of_classes(scenario: ScenarioName) -> None:
    layout = OutputLayout(scenario, 3, SIZES)
    torch.manual_seed(0)
    heads = [slice(0, 4)] * 3 if scenario == "domain" else [slice(0, 4), slice(4, 6), slice(6, 9)]
    assert [layout.head(i) for i in range(3)] == heads
    assert layout.num_outputs == (4 if scenario == "domain" else 9)
    logits = torch.randn(9, layout.num_outputs, requires_grad=True)
    owners = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2])
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 0, 1, 2])
    targets = torch.cat([layout.targets(labels[i : i + 1], int(owners[i])) for i in range(9)])
    each = []
    for i in range(9):  # one sample at a time, each by its own task's rule
        active = heads[owners[i]] if scenario == "task" else slice(0, layout.num_outputs)
        each.append(F.cross_entropy(logits[i, active], targets[i] - active.start))
    expected = torch.stack(each).mean()
    loss = layout.mixed_cross_entropy(logits, targets, 3)
    assert torch.allclose(loss, expected)
    mine, theirs = (torch.autograd.grad(part, logits)[0] for part in (loss, expected))
    assert torch.allclose(mine, theirs, atol=1e-7)
    picked = layout.predicted(logits, 1, 3, "task" if scenario == "task" else scenario)
    assert picked.min() >= 0 and picked.max() < layout.num_outputs


def test_replayed_heads_of_different_sizes() -> None:
    layout = OutputLayout("task", 3, SIZES)
    torch.manual_seed(1)
    new, old = torch.randn(5, 9, requires_grad=True), torch.randn(5, 9)
    for owners in (torch.tensor([0, 1, 1, 0, 1]), None):
        views = layout.replay_views(new, old, 2, owners)
        loss = distillation_loss(*views)
        rows = [(i, int(o)) for i, o in enumerate(owners)] if owners is not None else [
            (i, task) for i in range(5) for task in range(2)
        ]  # fmt: skip
        each = [
            distillation_loss(new[i : i + 1, layout.head(t)], old[i : i + 1, layout.head(t)])
            for i, t in rows
        ]
        assert torch.allclose(loss, torch.stack(each).mean())
        assert torch.autograd.grad(loss, new)[0].isfinite().all()
        assert torch.equal(hard_loss(*views).isfinite(), torch.tensor(True))


def test_answers_of_single_heads_are_put_into_place() -> None:
    layout = OutputLayout("class", 3, SIZES)
    answers = torch.arange(12.0).view(3, 4)
    placed = place_in_heads(answers, torch.tensor([1, 2, 0]), layout)
    inf = -torch.inf
    assert placed.tolist() == [
        [inf] * 4 + [0, 1] + [inf] * 3,
        [inf] * 6 + [4, 5, 6],
        [8, 9, 10, 11] + [inf] * 5,
    ]
