"""Memory aware synapses."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hcl.benchmarks.arrays import TaskSplits
from hcl.config.methods import MasConfig
from hcl.methods.consolidation import Consolidation, Named
from hcl.methods.per_sample import sum_gradients


class MAS(Consolidation):
    """Memory aware synapses (Aljundi et al., 2018), eq. 2-4.

    Loss: task + lambda sum_i importance_i (theta_i - anchor_i)^2, where anchor are the parameters
    after the last task. At a task's end importance_i grows by

        1/N sum_n | d ||f(x_n)||^2 / d theta_i |,

    f the outputs active in training (the task's head; in the class scenario all heads seen so
    far), x_n the task's training inputs. No label is used. The gradient is each sample's own, as
    in the paper; the authors' code takes that of a batch. Importances of tasks are summed, and one
    Adam serves all tasks.
    """

    config: MasConfig

    def strength(self) -> float:
        return self.config.mas_lambda

    def num_samples(self) -> int:
        return self.config.importance_samples

    def estimate(self, task: TaskSplits) -> Named:
        active = self.active_outputs(task.task_id)

        def squared_norm(outputs: Tensor, _labels: Tensor) -> Tensor:
            return outputs[:, active].square().sum(dim=1)

        total = {name: torch.zeros_like(p) for name, p in self.network.named_parameters()}
        count = 0
        for x, y in self.sample_batches(task):
            count += len(x)
            ones = torch.ones(len(x), device=x.device, dtype=x.dtype)
            sizes = sum_gradients(self.network, x, squared_norm, Tensor.abs, y, ones)
            for name, size in sizes.items():
                total[name] += size
        return {name: size / count for name, size in total.items()}

    def consolidate(self, importance: Named, anchor: Named) -> None:
        if self.importances:
            importance = {k: own + self.importances[0][k] for k, own in importance.items()}
        self.importances, self.anchors = [importance], [anchor]

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        return self.bytes_of_a_penalty() if past_samples else 0
