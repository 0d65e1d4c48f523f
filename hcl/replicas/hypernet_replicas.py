"""Hypernetworks of several replicas trained together: one operation runs on all of them.

Tensors of the replicas are stacked: what belongs to one is a slice of the first dimension. No
product mixes slices, so that a replica that becomes NaN leaves the others as they are.
"""

import torch
from torch import Tensor

from hcl.hypernets.task_hypernet import TaskHypernet
from hcl.kernels.fast_adam import FastAdam
from hcl.kernels.gram_regularizer import GramRegularizer
from hcl.kernels.hypernet_layers import Hidden, Theta, ThroughOutput, with_one
from hcl.kernels.past_features import PastFeatures


class ReplicaRegularizer(GramRegularizer):
    """The penalties of R replicas, with as many past tasks each.

    `value_and_grads` takes stacked parameters, `tasks` as (R, n), `strength` as (R, 1, 1), and
    gives R values.

    Args:
        replicas: the regularizers, of hypernetworks of one shape.
    """

    def __init__(self, replicas: list[GramRegularizer]) -> None:
        first = replicas[0]
        self.shape, self.keep = first.shape, None
        self.whole, self.cut = first.whole, first.cut
        self.embeddings = torch.stack([r.embeddings for r in replicas])
        start = torch.stack([r.past.start for r in replicas])
        past = first.past
        self.past = PastFeatures(
            self.embeddings, start, past.regions, past.activation, past.is_bfloat16
        )
        self.theta_start = stacked([r.theta_start for r in replicas])
        self.kept_and_change = torch.stack([r.kept_and_change for r in replicas])
        self.kept, self.change = self.kept_and_change.tensor_split(2, dim=1)
        self.theta_start[-1] = self.kept
        self.kept_grams = stacked([r.kept_grams for r in replicas])
        if first.keep is not None:
            self.keep = torch.stack([r.keep for r in replicas if r.keep is not None])

    def _of(self, of_tasks: Tensor, tasks: Tensor | None, dim: int = -2) -> Tensor:
        if tasks is None:
            return of_tasks
        each = zip(of_tasks, tasks, strict=True)
        return torch.stack([own.index_select(dim, chosen) for own, chosen in each])


class ReplicaAdam(FastAdam):
    """Adam for stacked tensors, whose replicas may have learning rates of their own.

    Args:
        params: stacked parameters.
        replicas: each replica's optimizer, after equally many steps.
    """

    def __init__(self, params: Theta, replicas: list[FastAdam]) -> None:
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

    def write_back(self, index: int, into: FastAdam) -> None:
        """Write a replica's moments and step count to its own optimizer."""
        for mine, own in ((self.first, into.first), (self.second, into.second)):
            torch._foreach_copy_(own, [t[index] for t in mine])
        into.num_steps = self.num_steps


class HypernetReplicas:
    """`TaskHypernet`s of one shape, at the same step of the same task.

    The replicas' own tensors stay as they are until `write_back`; their random streams go on.

    Args:
        replicas: after their `start_task`; beta, learning rate and seed may differ.
    """

    def __init__(self, replicas: list[TaskHypernet]) -> None:
        self.replicas = replicas
        first = replicas[0]
        self.shape, self.is_ahead = first.hypernet, first.config.lookahead != "off"
        tensors = [[*r.hypernet.theta(), r.embeddings[r.task_id]] for r in replicas]
        params = [p.detach().requires_grad_() for p in stacked(tensors)]
        self.theta, self.embedding = params[:-1], params[-1]
        self.optimizer = ReplicaAdam(self.theta, [_fast_adam(r.optimizer) for r in replicas])
        embedding_optimizers = [_fast_adam(r.embedding_optimizer) for r in replicas]
        self.embedding_optimizer = ReplicaAdam([self.embedding], embedding_optimizers)
        kept = [r.regularizer for r in replicas if isinstance(r.regularizer, GramRegularizer)]
        self.regularizer = ReplicaRegularizer(kept) if kept else None
        betas = torch.tensor([r.config.beta for r in replicas])
        self.betas = betas.to(self.embedding)[:, None, None]

    def current(self) -> Tensor:
        """Generate (R, num_weights), those of the task being learned."""
        *lower, output = self.theta
        hidden = Hidden.of(self.embedding[:, None], lower, self.shape.activation)
        features = with_one(hidden.layers[-1].squeeze(1))
        weights: Tensor = ThroughOutput.apply(features, output, self.shape.num_weights)
        return weights

    def update(self, losses: Tensor) -> Tensor | None:
        """Take one Adam step of every replica on its loss + beta * regularizer.

        Args:
            losses: (R,), the task losses, computed with `current()`.

        Returns:
            beta * regularizer (R,), None on the first task.
        """
        *grads, grad_embedding = torch.autograd.grad(losses.sum(), [*self.theta, self.embedding])
        penalty, extra = None, None
        if self.regularizer is not None:
            ahead = self.optimizer.ahead(grads) if self.is_ahead else self.optimizer.params
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
        """Write parameters, moments and step counts to the replicas."""
        for i, replica in enumerate(self.replicas):
            own = [p.detach() for p in replica.hypernet.theta()]
            torch._foreach_copy_(own, [t[i].detach() for t in self.theta])
            replica.embeddings[replica.task_id].copy_(self.embedding[i])
            self.optimizer.write_back(i, _fast_adam(replica.optimizer))
            self.embedding_optimizer.write_back(i, _fast_adam(replica.embedding_optimizer))


def stacked(replicas: list[Theta]) -> Theta:
    """Turn lists of tensors, one for each replica, into one list of stacked tensors."""
    return [torch.stack(tensors) for tensors in zip(*replicas, strict=True)]


def _fast_adam(optimizer: object) -> FastAdam:
    assert isinstance(optimizer, FastAdam)  # `train/kernels: plain` trains one seed at a time
    return optimizer
