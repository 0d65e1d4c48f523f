"""HNET for several seeds at once: one operation for all replicas instead of one for each."""

import torch
from torch import Tensor

from hcl.kernels.hidden_layers import is_large
from hcl.methods.hnet import Hnet
from hcl.replicas.hypernet_stack import TaskHypernetStack


class HnetStack:
    """`Hnet`s of one configuration but for seed, beta and learning rate, at the same step.

    The replicas stand still until `write_back`.

    Args:
        replicas: after their `start_task` of the same task.
    """

    def __init__(self, replicas: list[Hnet]) -> None:
        first = replicas[0]
        self.target, self.layout, self.task_id = first.target, first.layout, first.task_id
        self.hypernets = TaskHypernetStack([r.one_hypernet for r in replicas])

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update of every replica on its own batch.

        Args:
            x: (R, B, *input_shape).
            y: (R, B), as `Method.train_step`'s.

        Returns:
            As `Method.train_step`'s, (R,) each.
        """
        weights = self.hypernets.current()
        if is_large(x, weights[:, None]):
            logits = torch.stack([self.target(*one) for one in zip(weights, x, strict=True)])
        else:
            logits = self.target.run_each(weights, x)
        losses = torch.vmap(self._loss)(logits, y)
        penalties = self.hypernets.update(losses)
        named = {"task": losses.detach()}
        return named if penalties is None else named | {"regularizer": penalties}

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return self.layout.head_cross_entropy(logits, y, self.task_id)

    def write_back(self) -> None:
        """Give every replica what it has learned."""
        self.hypernets.write_back()
