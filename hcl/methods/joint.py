"""Training on the data of all tasks learned so far."""

from torch import Tensor

from hcl.methods.finetune import Finetune


class Joint(Finetune):
    """Offline training on all tasks so far (van de Ven & Tolias, 2019): the upper reference.

    Each sample counts under its own task's rule: over its own head in the task scenario, else
    over all outputs seen so far. The network and its Adam go on from task to task.
    """

    trains_on_all_tasks = True

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        logits = self.network(x)
        return {"task": self.layout.mixed_cross_entropy(logits, y, self.num_learned)}
