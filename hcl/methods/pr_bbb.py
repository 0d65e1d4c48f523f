"""Posterior meta-replay: a hypernetwork generates a distribution over each task's weights."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hcl import seeding
from hcl.benchmarks.arrays import TaskSplits
from hcl.config.methods import PrBbbConfig
from hcl.hypernets import TaskHypernet
from hcl.inference.entropy import lowest_entropy, pick
from hcl.inference.networks_of_tasks import place_in_heads
from hcl.kernels.flat_mlp import sizes_of
from hcl.methods.base import Prediction, Setup
from hcl.methods.hnet import Hnet
from hcl.networks.gaussian import kl_to_prior, run_gaussian_mlp

RHO = -2.5  # added to what a standard deviation is made of, as in the authors' code


class PrBbb(Hnet):
    """PosteriorReplay-BbB (Henning et al., 2021, "Posterior Meta-Replay for Continual Learning").

    The hypernetwork generates a mean and a rho for every weight of the target, whose distribution
    is q_t(W) = N(mean, softplus(rho - 2.5)^2), learned by Bayes by backprop (Blundell et al.,
    2015). Loss of task t with N training samples:

        E_q[cross-entropy] + kl_scale / N KL(q_t || N(0, prior_variance)) + beta * regularizer

    The prior is the same for all tasks. The authors' loss is N times this one, so their beta is N
    times ours, and their regularizer may be a divergence of posteriors, where ours is the squared
    distance of all generated means and rhos (their `mse`), exact over past tasks. An MLP with
    ReLUs draws each layer's outputs (local reparametrisation); other networks one set of weights
    per step and sample.

    The prediction is the mean of softmax outputs over networks drawn from q_t, always with the
    same random numbers. The task, where it is not given, is that of the lowest entropy of this
    mean. Only a task's own head counts (their `split_head_cl3`).
    """

    config: PrBbbConfig

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.num_samples = 1  # N of the task being learned
        is_ready = setup.pixel_statistics is None
        self.sizes = sizes_of(self.target.module) if is_ready else None

    def _make_hypernets(self, chunk_sizes: list[int]) -> TaskHypernet:
        trial, num_weights = self.setup.config, 2 * self.generated.num_weights
        num_tasks = self.layout.num_tasks
        return TaskHypernet(num_weights, num_tasks, self.config, trial.train, trial.seed)

    def start_task(self, task: TaskSplits) -> None:
        self.num_samples = len(task.train)
        super().start_task(task)

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        self.networks.forget()  # a prediction between two steps may have kept some
        mean, std = _mean_and_std(self.task_hypernet.current())
        losses = [
            self.layout.head_cross_entropy(self._run(mean, std, x), y, self.task_id)
            for _ in range(self.config.train_samples)
        ]
        loss = torch.stack(losses).mean()
        scale = self.config.kl_scale / self.num_samples
        divergence = scale * kl_to_prior(mean, std, self.config.prior_variance)
        penalty, _ = self.task_hypernet.update(loss + divergence, [])
        found = {"task": loss.detach(), "kl": divergence.detach()}
        return found if penalty is None else found | {"regularizer": penalty}

    def _run(self, mean: Tensor, std: Tensor, x: Tensor) -> Tensor:
        """Run with random weights: (B, num_outputs)."""
        if self.sizes is not None:
            return run_gaussian_mlp(mean, std, x, self.sizes)
        weights = mean + std * torch.randn_like(std)
        return self.target(weights, x, self.statistics.of(self.task_id))

    def answers(self, x: Tensor, task_id: int) -> Tensor:
        """Average the predictions of networks drawn from a task's posterior.

        Returns:
            (B, classes), the logarithm of the mean probabilities of the task's own head.
        """
        generated = self.networks.weights(range(self.num_learned))[task_id]
        mean, std = _mean_and_std(generated)
        draws = seeding.generator("posterior")
        count = self.config.predict_samples
        noise = torch.randn(count, len(mean), generator=draws).to(mean)
        sets = [self.statistics.of(task_id)] * count
        logits = self.target.run_many(mean + std * noise, x, sets)
        heads = torch.stack([self.layout.own_head(one, task_id) for one in logits])
        log_p = heads.double().log_softmax(dim=-1)
        return torch.logsumexp(log_p, dim=0) - torch.tensor(float(count)).log().to(log_p)

    def predict(self, x: Tensor, task_id: int | None) -> Prediction:
        if task_id is not None:
            answers = self.answers(x, task_id).to(x.dtype)
            owners = torch.full((len(x),), task_id, device=x.device)
            return Prediction(place_in_heads(answers, owners, self.layout))
        return super().predict(x, None)

    def infer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        heads = torch.stack([self.answers(x, task_id) for task_id in range(self.num_learned)])
        task_ids = lowest_entropy(heads)
        return task_ids, pick(heads, task_ids).to(x.dtype)

    def means(self, generated: Tensor) -> Tensor:
        return _mean_and_std(generated)[0]

    def get_extra_state(self) -> dict[str, Any]:
        return {**super().get_extra_state(), "num_samples": self.num_samples}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.num_samples = state["num_samples"]


def _mean_and_std(generated: Tensor) -> tuple[Tensor, Tensor]:
    """Split generated numbers, (2 n,), into means and standard deviations, (n,) each."""
    mean, rho = generated.chunk(2)
    return mean, F.softplus(rho + RHO)
