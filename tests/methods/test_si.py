"""Synaptic intelligence against a slow version, one parameter at a time."""

import copy

import pytest
import torch
import torch.nn.functional as F
from tiny import batch, build, trial

C, DAMPING, LR = 0.7, 0.05, 0.05


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_importances_and_losses(scenario: str) -> None:
    torch.set_num_threads(1)
    config = trial(
        "si",
        scenario,
        target__hidden_sizes=[2],
        method__c=C,
        method__damping=DAMPING,
        train__lr=LR,
    )
    made, data = build(config)
    network = copy.deepcopy(made.network)
    adam = torch.optim.Adam(network.parameters(), lr=LR)
    count = sum(p.numel() for p in network.parameters())
    anchor, importance = flat(network), [0.0] * count
    for task_id in range(3):
        made.start_task(data.tasks[task_id])
        path = [0.0] * count
        for step in range(6):
            x, y = batch(data, made, task_id, 16 * step)
            losses = made.train_step(x, y)
            before = flat(network)
            adam.zero_grad()
            outputs = {"task": slice(2 * task_id, 2 * task_id + 2), "domain": slice(0, 2)}
            active = outputs.get(scenario, slice(0, 2 * task_id + 2))
            loss = F.cross_entropy(network(x)[:, active], y - active.start)
            assert losses["task"].item() == pytest.approx(loss.item(), rel=1e-4)
            if task_id:
                weights, where = torch.tensor(importance), torch.tensor(anchor)
                now = torch.cat([p.flatten() for p in network.parameters()])
                surrogate = C * (weights * (now - where) ** 2).sum()
                expected = pytest.approx(surrogate.item(), rel=1e-3, abs=1e-9)
                assert losses["regularizer"].item() == expected
                loss = loss + surrogate
            loss.backward()
            grads = torch.cat([p.grad.flatten() for p in network.parameters()]).tolist()
            adam.step()
            for i, (old, new) in enumerate(zip(before, flat(network), strict=True)):
                path[i] -= grads[i] * (new - old)
        made.end_task(data.tasks[task_id])
        for i, now_i in enumerate(flat(network)):
            importance[i] += path[i] / ((now_i - anchor[i]) ** 2 + DAMPING)
        anchor = flat(network)
        found = torch.cat([t.flatten() for t in made.importance])
        torch.testing.assert_close(found, torch.tensor(importance), rtol=1e-3, atol=1e-6)
        assert max(importance) > 1e-4


def test_importances_are_not_clipped() -> None:
    """Steps uphill count against a parameter, as with van de Ven & Tolias."""
    made, data = build(trial("si", method__damping=DAMPING))
    made.start_task(data.tasks[0])
    made.path_integral[0].fill_(-2.0)
    made.end_task(data.tasks[0])
    assert made.importance[0].max().item() == pytest.approx(-2 / DAMPING)


def flat(network: torch.nn.Module) -> list[float]:
    return torch.cat([p.detach().flatten() for p in network.parameters()]).tolist()


@pytest.mark.parametrize(
    ("method", "strength"), [("si", "c"), ("ewc", "ewc_lambda"), ("online_ewc", "ewc_lambda")]
)
def test_strength_zero_is_finetuning(method: str, strength: str) -> None:
    torch.set_num_threads(1)
    protected, data = build(trial(method, **{f"method__{strength}": 0}))
    plain, _ = build(trial("finetune"))
    for task_id in range(2):
        for made in (protected, plain):
            made.start_task(data.tasks[task_id])
            for step in range(3):
                made.train_step(*batch(data, made, task_id, 16 * step))
            made.end_task(data.tasks[task_id])
    for p, q in zip(protected.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(p, q)
