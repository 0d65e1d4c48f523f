"""HNET for several seeds at once: one operation for all replicas instead of one for each."""

import torch
from torch import Tensor

from hcl.kernels.matmul import is_large
from hcl.methods.hnet import Hnet
from hcl.replicas.hypernet_replicas import HypernetReplicas


class HnetReplicas:
    """`Hnet`s of one configuration but for seed, beta and learning rate, at the same step.

    The methods themselves stay as they are until `write_back`.

    Args:
        replicas: the methods, after their `start_task` of the same task.
    """

    def __init__(self, replicas: list[Hnet]) -> None:
        first = replicas[0]
        self.target, self.layout, self.task_id = first.target, first.layout, first.task_id
        self.hypernets = HypernetReplicas([r.one_hypernet for r in replicas])

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Update every replica once, on its own batch.

        Args:
            x: (R, B, *input_shape).
            y: (R, B), as in `Method.train_step`.

        Returns:
            Losses by name as `Method.train_step` gives them, (R,) each.
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
        """Write what the replicas have learned to the methods."""
        self.hypernets.write_back()
