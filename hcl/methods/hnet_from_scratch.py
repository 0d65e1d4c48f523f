"""A new hypernetwork for every task: what the paper compares HNET's transfer with."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hcl.benchmarks.arrays import TaskSplits
from hcl.config.methods import HnetFromScratchConfig
from hcl.inference.networks_of_tasks import NetworksOfTasks
from hcl.methods.base import Setup
from hcl.methods.hnet import Hnet


class HnetFromScratch(Hnet):
    """Training from scratch in the code of von Oswald et al. (`--train_from_scratch --beta=0`).

    When a task starts, the hypernetwork begins anew; the networks that it generated for earlier
    tasks are kept, so there is neither transfer nor forgetting. Fine-tuning as they compare with
    is HNET with a beta of 0.
    """

    config: HnetFromScratchConfig

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.finished = torch.zeros(0, self.target.num_weights)  # a row for each earlier task
        self.networks = NetworksOfTasks(
            self._weights, self.target, self.layout, self.statistics.of
        )

    def _weights(self, task_ids: range) -> Tensor:
        current = self.task_hypernet(range(self.task_id, self.task_id + 1))
        return torch.cat([self.finished, current])[task_ids.start : task_ids.stop]

    def start_task(self, task: TaskSplits) -> None:
        if task.task_id > 0:
            with torch.no_grad():
                self.finished = self._weights(range(task.task_id))
            self.networks.forget()
            new = self._make_hypernets([size for _, size in self.config.groups()])
            self.task_hypernet.load_state_dict(new.state_dict())
        super().start_task(task)

    def num_stored(self) -> int:
        return self.layout.num_tasks * self.target.num_weights

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        return len(past_samples) * self.target.num_weights * self.finished.element_size()

    def get_extra_state(self) -> dict[str, Any]:
        return {**super().get_extra_state(), "finished": self.finished}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.finished = state["finished"].to(self.device)
