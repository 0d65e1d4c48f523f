"""Training on the data of all tasks so far."""

from torch import Tensor

from hcl.methods.finetune import Finetune


class Joint(Finetune):
    """Offline training on all tasks so far (van de Ven & Tolias, 2019): the upper reference."""

    trains_on_all_tasks = True

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        logits = self.network(x)
        return {"task": self.layout.mixed_cross_entropy(logits, y, self.num_learned)}
