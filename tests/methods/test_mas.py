"""Memory aware synapses against a loop over samples, and the penalty built on it."""

import pytest
import torch
import torch.nn.functional as F
from tiny import batch, build, trial

LAMBDA = 0.3


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_importances_and_losses(scenario: str) -> None:
    torch.set_num_threads(1)
    made, data = build(
        trial("mas", scenario, method__mas_lambda=LAMBDA, method__importance_samples=0)
    )
    network = made.network
    shapes = [p.shape for p in network.parameters()]
    importance, anchor = [torch.zeros(shape) for shape in shapes], []
    for task_id in range(3):
        made.start_task(data.tasks[task_id])
        outputs = {"task": slice(2 * task_id, 2 * task_id + 2), "domain": slice(0, 2)}
        active = outputs.get(scenario, slice(0, 2 * task_id + 2))
        for step in range(4):
            x, y = batch(data, made, task_id, 16 * step)
            loss = F.cross_entropy(network(x)[:, active], y - active.start)
            params = list(network.parameters())
            penalty = sum(
                (omega * (p - a) ** 2).sum().item()
                for omega, p, a in zip(importance, params, anchor, strict=bool(anchor))
            )
            losses = made.train_step(x, y)
            assert losses["task"].item() == pytest.approx(loss.item(), rel=1e-4)
            if task_id:
                expected = pytest.approx(LAMBDA * penalty, rel=1e-3, abs=1e-9)
                assert losses["regularizer"].item() == expected
        made.end_task(data.tasks[task_id])
        train = data.tasks[task_id].train
        for x in train.batch(torch.arange(len(train)))[0]:
            norm = network(x[None])[0, active].square().sum()
            for omega, g in zip(
                importance, torch.autograd.grad(norm, list(network.parameters())), strict=True
            ):
                omega += g.abs() / len(train)
        anchor = [p.detach().clone() for p in network.parameters()]
        assert len(made.importances) == 1
        for mine, theirs in zip(made.importances[0].values(), importance, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)
            assert theirs.max() > 1e-3
