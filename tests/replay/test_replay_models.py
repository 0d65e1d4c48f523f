"""Replay models, and the losses on what they replay."""

import pytest
import torch
import torch.nn.functional as F
from tiny import trial
from torch import Tensor

from hcl.config import TrialConfig
from hcl.replay import HnetVae, PlainVae
from hcl.replay.distillation import distillation_loss, hard_loss
from hcl.replay.vae import sample_code, vae_loss, with_condition
from hcl.scenario import OutputLayout


def logits(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_distillation_is_kl_plus_entropy_at_the_temperature() -> None:
    new, old = logits(7, 5), logits(7, 5)
    p = (old / 2).softmax(1)
    entropy = -(p * p.log()).sum(1).mean()
    kl = F.kl_div((new / 2).log_softmax(1), p, reduction="batchmean")
    torch.testing.assert_close(distillation_loss(new, old), 4 * (kl + entropy))


@pytest.mark.parametrize("seen", [5, 3])
def test_mean_over_classes_divides_by_the_new_networks_classes(seen: int) -> None:
    """Compare with a loop over samples and classes, as in the published runs of LwF and DGR."""
    new, old = logits(7, 5), logits(7, seen)
    terms = []
    for n in range(7):
        log_p = (new[n] / 2).log_softmax(0)
        p = [*(old[n] / 2).softmax(0), *[torch.tensor(0.0)] * (5 - seen)]
        terms += [-(p[c] * log_p[c]) for c in range(5)]
    found = distillation_loss(new, old, unseen="zero_probability", classes="mean_over_classes")
    torch.testing.assert_close(found, 4 * torch.stack(terms).mean())
    summed = distillation_loss(new, old, unseen="zero_probability")
    torch.testing.assert_close(found, summed / 5)


def test_unseen_classes_get_logit_zero_or_probability_zero() -> None:
    new, old = logits(4, 5), logits(4, 3)
    padded = torch.cat([old, torch.zeros(4, 2)], 1)
    torch.testing.assert_close(distillation_loss(new, old), distillation_loss(new, padded))
    never = torch.cat([old, torch.full((4, 2), -1e9)], 1)
    theirs = distillation_loss(new, never)
    torch.testing.assert_close(distillation_loss(new, old, unseen="zero_probability"), theirs)


def test_hard_loss_takes_the_old_networks_choice() -> None:
    new, old = logits(6, 5), logits(6, 3)
    reference = torch.stack([-new[i].log_softmax(0)[old[i].argmax()] for i in range(6)]).mean()
    torch.testing.assert_close(hard_loss(new, old), reference)


def test_replay_views_follow_the_scenario() -> None:
    new, old = logits(3, 8), logits(3, 8)
    new_view, old_view = OutputLayout("class", 4, 2).replay_views(new, old, 2, None)
    assert torch.equal(new_view, new[:, :6]) and torch.equal(old_view, old[:, :4])
    layout = OutputLayout("task", 4, 2)
    new_view, old_view = layout.replay_views(new, old, 2, torch.tensor([1, 0, 1]))
    rows = [new[0, 2:4], new[1, 0:2], new[2, 2:4]]
    assert torch.equal(new_view, torch.stack(rows)) and old_view.shape == (3, 2)
    new_view, _ = layout.replay_views(new, old, 2, None)  # unknown: every past head
    assert torch.equal(new_view, new[:, :4].reshape(6, 2))
    new_view, old_view = OutputLayout("domain", 4, 8).replay_views(new, old, 2, None)
    assert new_view is new and old_view is old


def test_vae_loss_against_its_terms() -> None:
    x, decoded = torch.rand(3, 10), logits(3, 10)
    mean, log_variance = logits(3, 4), logits(3, 4) / 3
    bce = F.binary_cross_entropy(decoded.sigmoid(), x)
    prior = torch.distributions.Normal(0.0, 1.0)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
    torch.testing.assert_close(vae_loss(x, decoded, mean, log_variance), bce + kl / 10)


def test_sample_code_has_the_posteriors_moments() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.full((40_000, 1), 2.0), torch.full((40_000, 1), -1.0)
    drawn = sample_code(mean, log_variance)
    assert abs(drawn.mean() - 2) < 0.02
    assert abs(drawn.var() - torch.tensor(-1.0).exp()) < 0.02


def test_with_condition_appends_one_hot_rows() -> None:
    z = torch.zeros(2, 3, 1)
    out = with_condition(z, torch.tensor([[0], [2]]), 4)
    assert out.shape == (2, 3, 5)
    assert torch.equal(out[1, 0], torch.tensor([0.0, 0, 0, 1, 0]))
    assert with_condition(z, 1, 0) is z


def small_vae(num_tasks: int = 3) -> HnetVae:
    config = trial("hnet_r", benchmark__num_tasks=num_tasks)
    return HnetVae(config, OutputLayout("task", num_tasks, 2), (64,))


def test_one_batched_call_replays_all_past_tasks() -> None:
    """Decoders run as a batch make what they make one by one."""
    vae = small_vae()
    vae.start_task(0)
    vae.train_step(torch.rand(8, 64))
    vae.start_task(1)
    vae.train_step(torch.rand(8, 64))
    vae.start_task(2)
    assert vae.past_decoders is not None
    torch.manual_seed(3)
    x, owners = vae.replay(10)
    assert owners is not None and owners.tolist() == [0] * 5 + [1] * 5
    torch.manual_seed(3)
    code = torch.randn(2, 5, vae.config.latent_size)
    for task in range(2):
        inputs = with_condition(code[task], task, vae.config.condition_size)
        pixels = vae.decoder(vae.past_decoders[task], inputs).sigmoid()
        torch.testing.assert_close(x[5 * task : 5 * task + 5], pixels)


def test_replay_shows_the_model_of_the_tasks_start() -> None:
    for vae in (small_vae(), _plain_vae()):
        vae.start_task(0)
        vae.train_step(torch.rand(8, 64))
        vae.start_task(1)
        torch.manual_seed(5)
        before, _ = vae.replay(6)
        for _ in range(3):
            vae.train_step(torch.rand(8, 64))
        torch.manual_seed(5)
        after, _ = vae.replay(6)
        assert torch.equal(before, after)
        assert vae.grid(4).shape[1:] == (4, 64)


def _plain_vae() -> PlainVae:
    config = trial("dgr")
    return PlainVae((64,), config.method, config.train)  # type: ignore[arg-type]


PERMUTED = {
    "decoder_embedding_size": 24,
    "decoder_chunk_size": 85000,
    "decoder_chunk_embedding_size": 8,
    "decoder_hypernet_sizes": [25, 25],
}


@pytest.mark.parametrize(
    ("method", "settings", "target", "stored"),
    [
        ("hnet_r", {}, 413_284, 553_288),
        ("hnet_tir", {}, 136_084, 552_712),
        ("hnet_r", {**PERMUTED, "decoder_sizes": [400, 400]}, 651_424, 2_211_755),
        ("hnet_tir", {**PERMUTED, "decoder_sizes": [1000, 1000]}, 2_227_024, 2_211_907),
    ],
)
def test_decoder_sizes_are_the_papers(
    method: str, settings: dict[str, object], target: int, stored: int
) -> None:
    """Sizes counted from the settings in the authors' code."""
    values = {
        "benchmark/name": "permuted_mnist" if settings else "split_mnist",
        "scenario": "class",
        "method/name": method,
        **{f"method/{key}": value for key, value in settings.items()},
    }
    config = TrialConfig.from_dict(values)
    num_tasks, inputs = (10, 1024) if settings else (5, 784)
    vae = HnetVae(config, OutputLayout("class", num_tasks, 2), (inputs,))
    assert vae.decoder.num_weights == target
    assert vae.task_hypernet.num_stored() == stored
