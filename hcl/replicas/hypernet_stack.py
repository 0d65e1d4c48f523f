"""Several hypernetworks of one shape trained in step: one operation runs on all of them.

What belongs to one replica is a slice of the stacked tensors' first dimension, and no product
mixes slices: a replica that becomes NaN leaves the others as they are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.hypernets.candidate_adam import CandidateAdam
from hcl.hypernets.hypernet import GenerateWeights
from hcl.hypernets.output_regularizer import OutputRegularizer
from hcl.hypernets.task_hypernet import TaskHypernet
from hcl.kernels.hidden_layers import Theta
from hcl.kernels.past_features import PastFeatures


class StackedRegularizer(OutputRegularizer):
    """The penalties of R replicas, with as many past tasks each.

    `value_and_grads` takes stacked parameters, `tasks` as (R, n), `strength` as (R, 1, 1), and
    gives R values.
    """

    def __init__(self, replicas: list[OutputRegularizer]) -> None:
        first = replicas[0]
        self.hypernet, self.keep = first.hypernet, None
        self.tail_start, self.whole, self.cut = first.tail_start, first.whole, first.cut
        self.embeddings = torch.stack([r.embeddings for r in replicas])
        start = torch.stack([r.past.start for r in replicas])
        past = first.past
        self.past = PastFeatures(
            self.embeddings, start, past.regions, past.activation, past.is_rough
        )
        self.theta_start = stacked([r.theta_start for r in replicas])
        self.kept_and_change = torch.stack([r.kept_and_change for r in replicas])
        self.kept, self.change = self.kept_and_change.tensor_split(2, dim=1)
        self.theta_start[-1] = self.kept
        self.kept_columns = stacked([r.kept_columns for r in replicas])
        if first.keep is not None:
            self.keep = torch.stack([r.keep for r in replicas if r.keep is not None])

    def _of(self, of_tasks: Tensor, tasks: Tensor | None, dim: int = -2) -> Tensor:
        if tasks is None:
            return of_tasks
        each = zip(of_tasks, tasks, strict=True)
        return torch.stack([own.index_select(dim, chosen) for own, chosen in each])


class StackedAdam(CandidateAdam):
    """Adam for stacked tensors, whose replicas may have learning rates of their own.

    Args:
        params: stacked.
        replicas: the optimizers they are taken from, after as many steps each.
    """

    def __init__(self, params: Theta, replicas: list[CandidateAdam]) -> None:
        super().__init__(params, replicas[0].lr, replicas[0].betas, replicas[0].eps)
        self.first = stacked([r.first for r in replicas])
        self.second = stacked([r.second for r in replicas])
        self.num_steps = replicas[0].num_steps
        self.lrs = [r.lr for r in replicas]

    def _adam(self, params: Theta, grads: Theta, first: Theta, second: Theta) -> None:
        if len(set(self.lrs)) == 1:
            return super()._adam(params, grads, first, second)
        for i, lr in enumerate(self.lrs):
            self.lr = lr
            kinds = ([t[i] for t in kind] for kind in (params, grads, first, second))
            super()._adam(*kinds)
        return None

    def write_back(self, index: int, into: CandidateAdam) -> None:
        """Give a replica's optimizer its moments and its count."""
        for mine, own in ((self.first, into.first), (self.second, into.second)):
            torch._foreach_copy_(own, [t[index] for t in mine])
        into.num_steps = self.num_steps


class TaskHypernetStack:
    """`TaskHypernet`s of one shape, at the same step of the same task.

    The replicas' own tensors stand still until `write_back`; their random streams go on.

    Args:
        replicas: after their `start_task`; beta, learning rate and seed may differ.
    """

    def __init__(self, replicas: list[TaskHypernet]) -> None:
        self.replicas = replicas
        first = replicas[0]
        self.hypernet, self.is_ahead = first.hypernet, first.config.lookahead != "off"
        tensors = [[*r.hypernet.theta(), r.embeddings[r.task_id]] for r in replicas]
        params = [p.detach().requires_grad_() for p in stacked(tensors)]
        self.theta, self.embedding = params[:-1], params[-1]
        self.optimizer = StackedAdam(self.theta, [r.optimizer for r in replicas])
        embedding_optimizers = [r.embedding_optimizer for r in replicas]
        self.embedding_optimizer = StackedAdam([self.embedding], embedding_optimizers)
        kept = [r.regularizer for r in replicas if r.regularizer is not None]
        self.regularizer = StackedRegularizer(kept) if kept else None
        betas = torch.tensor([r.config.beta for r in replicas])
        self.betas = betas.to(self.embedding)[:, None, None]

    def current(self) -> Tensor:
        """(R, num_weights) of the task being learned."""
        features = self.hypernet.features(self.embedding[:, None], self.theta).squeeze(1)
        features = F.pad(features, (0, 1), value=1.0)
        weights: Tensor = GenerateWeights.apply(
            features, self.theta[-1], self.hypernet.num_weights
        )
        return weights

    def update(self, losses: Tensor) -> Tensor | None:
        """One Adam step of every replica on its loss + beta * regularizer.

        Args:
            losses: (R,), the task's, computed with `current()`.

        Returns:
            beta * regularizer (R,), None on the first task.
        """
        *grads, grad_embedding = torch.autograd.grad(losses.sum(), [*self.theta, self.embedding])
        penalty, extra = None, None
        if self.regularizer is not None:
            ahead = self.optimizer.after_step(grads) if self.is_ahead else self.optimizer.params
            tasks = self._drawn()
            penalty, extra = self.regularizer.value_and_grads(ahead, tasks, self.betas)
        self.optimizer.step(grads, extra)
        self.embedding_optimizer.step([grad_embedding])
        return penalty

    def _drawn(self) -> Tensor | None:
        drawn = [r.draw_past_tasks() for r in self.replicas]
        some = [tasks for tasks in drawn if tasks is not None]
        return torch.stack(some) if some else None

    @torch.no_grad()
    def write_back(self) -> None:
        """Give every replica its parameters, moments and counts."""
        for i, replica in enumerate(self.replicas):
            own = [p.detach() for p in replica.hypernet.theta()]
            torch._foreach_copy_(own, [t[i].detach() for t in self.theta])
            replica.embeddings[replica.task_id].copy_(self.embedding[i])
            self.optimizer.write_back(i, replica.optimizer)
            self.embedding_optimizer.write_back(i, replica.embedding_optimizer)


def stacked(replicas: list[Theta]) -> Theta:
    """Lists of tensors, one of each replica -> one list of stacked tensors."""
    return [torch.stack(tensors) for tensors in zip(*replicas, strict=True)]
