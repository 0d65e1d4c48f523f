"""Experience replay, and its variant with asymmetric losses."""

from torch import Tensor

from hcl.config.rehearsal import ErConfig
from hcl.methods.rehearsal import Rehearsal


class ER(Rehearsal):
    """Experience replay (Chaudhry et al., 2019) of true samples from a buffer.

    Loss: 1/2 (current batch) + 1/2 (batch of as many kept samples, drawn with replacement). Kept
    samples count with their own label; in the task scenario over their own head, else over all
    outputs seen so far.
    """

    config: ErConfig

    def policy(self) -> str:
        return self.config.keep

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x, y)
        if self.task_id == 0:
            return losses
        replay = self.replay_cross_entropy(*self.replay(len(x), x.dtype))
        return {"task": losses["task"] / 2, "replay": replay / 2}


class ErAce(Rehearsal):
    """ER-ACE (Caccia et al., 2022), section 4: new samples do not push old classes down.

    Loss: cross-entropy of the current batch over its own task's classes alone, and that of a batch
    of as many kept samples over all classes seen so far. The authors take the classes of the very
    batch; with batches that hold every class of the task it is the same. The reservoir is filled
    with every batch, and so it has samples of the current task: they alone set new classes against
    old ones. Replay begins with the second task.
    """

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = {"task": self.layout.head_cross_entropy(self.network(x), y, self.task_id)}
        if self.task_id > 0:
            losses["replay"] = self.replay_cross_entropy(*self.replay(len(x), x.dtype))
        return losses

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().train_step(x, y)
        self.buffer.offer(x, y)
        return losses
