"""Elastic weight consolidation, with one penalty per task or one running penalty."""

from collections.abc import Sequence

from hcl.benchmarks.arrays import TaskSplits
from hcl.config.methods import EwcConfig, OnlineEwcConfig
from hcl.methods.consolidation import Consolidation, Named
from hcl.methods.fisher import diagonal_fisher, gaussian_fisher


class EWC(Consolidation):
    """EWC (Kirkpatrick et al., 2017), eq. 3: one quadratic term per past task.

    Loss: task + lambda/2 sum_k sum_i F_ki (theta_i - anchor_ki)^2, where anchor_k are the
    parameters after task k and F_k is the diagonal of its Fisher matrix, from per-sample gradients
    in evaluation mode. Which labels the Fisher uses is the setting `fisher_labels`; by default
    the network's own most likely one, as van de Ven & Tolias (2019). One Adam for all tasks.
    """

    config: EwcConfig

    def strength(self) -> float:
        return self.config.ewc_lambda / 2

    def num_samples(self) -> int:
        return self.config.fisher_samples

    def estimate(self, task: TaskSplits) -> Named:
        """Estimate the diagonal Fisher matrix on the finished task's training data.

        The softmax is over the outputs that were active in training: the task's head, or in the
        class scenario all heads seen so far. A regression's likelihood is a normal distribution.
        """
        batches, labels = self.sample_batches(task), self.config.fisher_labels
        if self.layout.score == "mse":
            return gaussian_fisher(self.network, batches, labels)
        active = self.active_outputs(task.task_id)
        return diagonal_fisher(self.network, batches, active, labels, self.draws)


class OnlineEWC(EWC):
    """Online EWC (Schwarz et al., 2018), eq. 9, as van de Ven & Tolias (2019) run it.

    One running Fisher, F <- gamma F + F_task, anchored at the latest parameters. Loss:
    task + lambda/2 sum_i gamma F_i (theta_i - anchor_i)^2.
    """

    config: OnlineEwcConfig

    def consolidate(self, importance: Named, anchor: Named) -> None:
        if self.importances:
            old = self.importances[0]
            importance = {k: f + self.config.gamma * old[k] for k, f in importance.items()}
        self.importances, self.anchors = [importance], [anchor]

    def strength(self) -> float:
        return self.config.gamma * super().strength()

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        return self.bytes_of_a_penalty() if past_samples else 0
