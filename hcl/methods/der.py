"""Dark experience replay, with and without labels."""

import torch
from torch import Tensor

from hcl.config.rehearsal import DerConfig, DerPlusConfig
from hcl.methods.base import Setup
from hcl.methods.rehearsal import Rehearsal


class DER(Rehearsal):
    """Dark experience replay (Buzzega et al., 2020), eq. 4: kept samples keep their logits.

    Loss: task + alpha (mean squared distance between the outputs for kept samples and the outputs
    that the network had when they were kept). Samples are kept while their task is learned, so
    their logits are those along the training, before each step. All outputs count, as in the
    authors' code, and the mean is over them too; in the task scenario those of the sample's own
    head. The reservoir is filled with every batch; replay begins with the second batch.
    """

    config: DerConfig
    keeps_logits = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.outputs = torch.empty(0)  # for the latest batch; nothing between steps

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        self.outputs = self.network(x)
        losses = {"task": self.layout.cross_entropy(self.outputs, y, self.task_id)}
        if len(self.buffer):
            losses["replay"] = self.config.der_alpha * self.logit_distance(
                *self.replay(len(x), x.dtype)
            )
        return losses

    def logit_distance(self, x: Tensor, places: Tensor) -> Tensor:
        """Compute the mean squared distance to kept logits: a scalar."""
        distances = (self.network(x) - self.buffer.kept_logits[places]).square()
        if self.layout.scenario != "task":
            return distances.mean()
        owner = torch.empty(self.layout.num_outputs, dtype=torch.int64, device=x.device)
        for task_id in range(self.layout.num_tasks):
            owner[self.layout.head(task_id)] = task_id
        is_own = owner == owner[self.buffer.kept_y[places]][:, None]
        return (distances * is_own).sum() / is_own.sum()

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().train_step(x, y)
        self.buffer.offer(x, y, self.outputs.detach())
        self.outputs = torch.empty(0)
        return losses


class DerPlus(DER):
    """DER++ (Buzzega et al., 2020), eq. 5: DER, and the labels of other kept samples.

    Loss: that of DER + beta (cross-entropy of kept samples, drawn anew), in the task scenario over
    their own head, else over all outputs seen so far.
    """

    config: DerPlusConfig

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x, y)
        if len(self.buffer):
            replay = self.replay_cross_entropy(*self.replay(len(x), x.dtype))
            losses["replay_labels"] = self.config.der_beta * replay
        return losses
