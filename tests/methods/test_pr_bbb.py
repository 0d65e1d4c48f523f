"""Posterior meta-replay against closed forms, and averages computed network by network."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import batch, build, errors_of, learn, trial
from torch.distributions import Normal, kl_divergence

from hcl import seeding
from hcl.methods.pr_bbb import PrBbb
from hcl.networks.gaussian import kl_to_prior, run_gaussian_mlp


def learned(scenario: str, **more: Any) -> tuple[PrBbb, Any]:
    torch.set_num_threads(1)
    made, data = build(trial("pr_bbb", scenario, **more))
    assert isinstance(made, PrBbb)
    with torch.enable_grad():
        for task_id in range(2):
            learn(made, data, task_id)
    made.eval()
    return made, data


def test_the_divergence_is_that_of_torch() -> None:
    mean, std = torch.randn(50), torch.rand(50) + 0.01
    expected = kl_divergence(Normal(mean, std), Normal(0.0, 2.0)).sum()
    torch.testing.assert_close(kl_to_prior(mean, std, 4.0), expected)


def test_outputs_have_the_distribution_that_random_weights_give() -> None:
    """One layer: x W + b is Gaussian with variance x^2 std_W^2 + std_b^2, per input anew."""
    torch.manual_seed(0)
    mean, std, x = torch.randn(8), torch.rand(8) + 0.1, torch.tensor([[1.0, -2.0, 0.5]])
    found = run_gaussian_mlp(mean, std, x.expand(40_000, -1), [(2, 3)])
    weights = mean + std * torch.randn(40_000, 8)
    drawn = torch.einsum("noi,i->no", weights[:, :6].view(-1, 2, 3), x[0]) + weights[:, 6:]
    exact = (std[:6].view(2, 3).square() @ x[0].square() + std[6:].square()).sqrt()
    torch.testing.assert_close(found.mean(0), drawn.mean(0), rtol=0, atol=0.06)
    torch.testing.assert_close(found.std(0), exact, rtol=0.02, atol=0)
    two = run_gaussian_mlp(torch.randn(21), torch.zeros(21), x, [(4, 3), (1, 4)])
    assert two.shape == (1, 1)


def test_without_variance_it_is_the_network() -> None:
    torch.manual_seed(0)
    mean, x = torch.randn(21), torch.randn(5, 3)
    first, last = mean[:12].view(4, 3), mean[16:20].view(1, 4)
    expected = (x @ first.T + mean[12:16]).relu() @ last.T + mean[20]
    found = run_gaussian_mlp(mean, torch.full((21,), 1e-8), x, [(4, 3), (1, 4)])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_losses_of_a_step(scenario: str) -> None:
    settings = {"method__kl_scale": 3.0, "method__beta": 0.5, "method__lookahead": "off"}
    made, data = learned(scenario, **settings)
    before = made.task_hypernet(range(2)).detach()
    made.start_task(data.tasks[2])
    made.train()
    x, y = batch(data, made, 2)
    made.train_step(x, y)
    generated = made.task_hypernet(range(3)).detach()
    torch.manual_seed(1)
    losses = made.train_step(x, y)
    n = made.target.num_weights
    assert generated.shape == (3, 2 * n) and made.num_target_weights() == n
    mean, std = generated[2, :n], F.softplus(generated[2, n:] - 2.5)
    torch.manual_seed(1)
    logits = run_gaussian_mlp(mean, std, x, made.sizes)
    task = made.layout.head_cross_entropy(logits, y, 2)
    torch.testing.assert_close(losses["task"], task, rtol=1e-4, atol=1e-6)
    prior = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(losses["kl"], 3.0 * prior / len(data.tasks[2].train))
    moved = (generated[:2] - before).square().sum(1).mean()  # means and rhos
    torch.testing.assert_close(losses["regularizer"], 0.5 * moved, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
@torch.no_grad()
def test_predictions_are_averaged_and_the_surest_mean_names_the_task(scenario: str) -> None:
    made, data = learned(scenario, method__predict_samples=4)
    x = torch.cat([data.tasks[t].test.batch(torch.arange(8))[0] for t in range(2)])
    n = made.target.num_weights
    noise = torch.randn(4, n, generator=seeding.generator("posterior"))
    means = []
    for task_id, generated in enumerate(made.task_hypernet(range(2))):
        std, total = F.softplus(generated[n:] - 2.5), torch.zeros(16, 2)
        for own in noise:
            logits = made.target(generated[:n] + std * own, x)
            total += logits[:, made.layout.head(task_id)].softmax(1) / 4
        given = made.predict(x, task_id).logits
        torch.testing.assert_close(given[:, made.layout.head(task_id)].exp(), total)
        means.append(total)
    spreads = torch.stack([torch.special.entr(mean).sum(1) for mean in means])
    found = made.predict(x, None)
    assert torch.equal(found.task_ids, spreads.argmin(0))
    for row, task_id in enumerate(found.task_ids.tolist()):
        own = found.logits[row, made.layout.head(task_id)].exp()
        torch.testing.assert_close(own, means[task_id][row])


def test_the_network_given_away_is_the_mean() -> None:
    made, _ = learned("task")
    generated = made.task_hypernet(range(1))[0].detach()
    flat = torch.cat([w.flatten() for w in made.network_weights(0).values()])
    assert torch.equal(flat, generated[: made.target.num_weights])


def test_choices_that_it_does_not_have() -> None:
    base = {"method/name": "pr_bbb"}
    for key, value in (("generate", "lora(2)"), ("mask_heads", True), ("init", "hyperfan")):
        errors = errors_of({**base, f"method/{key}": value})
        assert any(error.startswith(f"method/{key}: ") for error in errors)
