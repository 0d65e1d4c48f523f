"""Methods that rehearse: what is replayed, and how much it counts."""

import pytest
import torch
import torch.nn.functional as F
from tiny import batch, build, go, learn, trial

from hcl.methods.er import ER
from hcl.methods.hnet_r import HnetR
from hcl.methods.hnet_tir import HnetTir
from hcl.methods.replay import Replay
from hcl.replay import HnetVae


def test_ent_and_tir_share_the_classifier_bit_for_bit() -> None:
    """Where the task is given, both have the same accuracies."""
    ent = go(trial("hnet", "class", eval_scenarios=["class", "task"]))
    tir = go(trial("hnet_tir", "class", eval_scenarios=["class", "task"]))
    assert ent.accuracy["test/task"] == tir.accuracy["test/task"]


def test_nothing_learns_to_replay_the_last_task() -> None:
    for name in ("hnet_r", "hnet_tir", "dgr"):
        method, benchmark = build(trial(name, "class"))
        assert isinstance(method, Replay | HnetTir)
        for task in range(2):
            assert "replay_model" in learn(method, benchmark, task)[0]
        assert method.replay_model is not None
        before = [p.clone() for p in method.replay_model.parameters()]
        assert "replay_model" not in learn(method, benchmark, 2)[0]
        for mine, theirs in zip(method.replay_model.parameters(), before, strict=True):
            assert torch.equal(mine, theirs)


def test_shares_of_the_loss() -> None:
    """Replay counts half with von Oswald et al., and 1 - 1/t with van de Ven & Tolias."""
    for name, shares in (("hnet_r", [0.5, 0.5]), ("dgr", [1 / 2, 1 / 3])):
        method, benchmark = build(trial(name, "class"))
        assert isinstance(method, Replay)
        learn(method, benchmark, 0)
        for task, share in enumerate(shares, start=1):
            method.start_task(benchmark.tasks[task])
            x, y = batch(benchmark, method, task)
            plain = method.layout.cross_entropy(method.network(x), y, task)
            torch.testing.assert_close(method.losses(x, y)["task"], share * plain)


@pytest.mark.parametrize("method", ["lwf", "dgr_distill", "hnet_r"])
@pytest.mark.parametrize(("scenario", "classes"), [("task", 2), ("domain", 2), ("class", 6)])
def test_distillation_is_a_sum_or_a_mean_over_the_active_classes(
    method: str, scenario: str, classes: int
) -> None:
    """In the third task of two classes each, CL3 has six active classes, the others two."""
    made, benchmark = build(trial(method, scenario))
    assert isinstance(made, Replay)
    learn(made, benchmark, 0)
    learn(made, benchmark, 1)
    made.start_task(benchmark.tasks[2])
    x, _ = batch(benchmark, made, 2)
    owners = torch.arange(16) % 2 if method == "hnet_r" else None
    found = {}
    for distillation in ("sum", "mean_over_classes"):
        made.config = trial(method, method__distillation=distillation).method
        found[distillation] = made.replay_loss(x, owners)
    torch.testing.assert_close(found["sum"] / classes, found["mean_over_classes"])


def test_lwf_in_cl3_against_a_loop_over_samples() -> None:
    """Soft targets of the old network's 2 classes, log-probabilities of the new one's 4."""
    made, benchmark = build(trial("lwf", "class", method__distillation="mean_over_classes"))
    learn(made, benchmark, 0)
    made.start_task(benchmark.tasks[1])
    x, y = batch(benchmark, made, 1)
    old = made.network(x)[:, :2].detach()
    with torch.no_grad():
        for weight in made.network.parameters():
            weight += 0.02
    new = made.network(x)[:, :4]
    samples = []
    for n in range(16):
        p, log_p = (old[n] / 2).softmax(0), (new[n] / 2).log_softmax(0)
        samples.append(-(p[0] * log_p[0] + p[1] * log_p[1]) / 4)
    losses = made.losses(x, y)
    torch.testing.assert_close(losses["replay"], 4 * torch.stack(samples).mean() / 2)
    torch.testing.assert_close(losses["task"], F.cross_entropy(new, y) / 2)


def test_decoder_of_a_past_task_is_protected() -> None:
    """Past decoders stay with a strong regularizer, and drift without one."""
    drift = {}
    for beta in (0.0, 1e4):
        method, benchmark = build(trial("hnet_r", "class", method__decoder_beta=beta))
        assert isinstance(method, HnetR) and isinstance(method.replay_model, HnetVae)
        learn(method, benchmark, 0)
        before = method.replay_model.task_hypernet(range(1)).detach()
        learn(method, benchmark, 1, steps=20)
        drift[beta] = (method.replay_model.task_hypernet(range(1)) - before).norm()
    assert drift[1e4] < 0.2 * drift[0.0]


def test_reservoir_is_a_uniform_sample_within_its_budget() -> None:
    counts = torch.zeros(3)
    for seed in range(30):
        method, benchmark = build(trial("er", "class", method__buffer_size=30, seed=seed))
        assert isinstance(method, ER)
        for task in benchmark.tasks:
            method.start_task(task)
            method.end_task(task)
        assert len(method.buffer.kept_y) == 30
        counts += torch.bincount(method.buffer.kept_y // 2, minlength=3)
    sizes = torch.tensor([float(len(task.train)) for task in benchmark.tasks])
    share = counts / counts.sum()
    assert (share - sizes / sizes.sum()).abs().max() < 0.06  # 900 draws, 3.6 sd


def test_reservoir_keeps_pixels_exactly() -> None:
    method, benchmark = build(trial("er", "class", method__buffer_size=10_000))
    assert isinstance(method, ER)
    task = benchmark.tasks[0]
    method.start_task(task)
    method.end_task(task)
    assert torch.equal(
        method.buffer.kept_x.flatten(1).long().sum(1).sort().values,
        task.train.x.flatten(1).long().sum(1).sort().values,
    )
