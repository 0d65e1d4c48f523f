"""LoRA without a hypernetwork: every task has low-rank changes and a head of its own."""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from torch import nn

from hcl.config import ConfigError
from hcl.config.methods import MethodConfig
from hcl.config.schema import setting
from hcl.methods import Method
from hcl.methods.from_scratch import FromScratch
from hcl.networks.generated import DOWN, UP, Generated
from hcl.networks.target import TargetNetwork


@dataclass(frozen=True)
class Config(MethodConfig):
    """Its setting: the number of rows of `down` in W + up @ down."""

    LABEL: ClassVar[str] = "LoRA per task"
    SCENARIOS: ClassVar[tuple[str, ...]] = ("task",)
    WHY_NOT: ClassVar[str] = "a task's changes are used where the task is given"

    rank: int = setting(4, ge=1)  # of the change of every matrix


class Changed(nn.Module):
    """The network that all tasks share, with the changes of one task.

    Args:
        target: the network; its weights belong to the method.
        changes: (target.num_weights,), all low-rank factors and the head.
    """

    def __init__(self, target, changes):
        super().__init__()
        self.target, self.changes = target, nn.Parameter(changes)

    def forward(self, x):
        return self.target(self.changes, x)

    def train(self, mode=True):
        self.target.train(mode)
        return super().train(mode)


class LoraPerTask(FromScratch):
    """Low-rank adaptation (Hu et al., 2022): W + up @ down, with W fixed, for each task anew.

    As in their code `down` starts as torch's linear layers do, and `up` at 0: a task begins with
    the network as it was given. All that is trained is kept, and so nothing is forgotten.
    """

    Config = Config

    def __init__(self, setup):
        Method.__init__(self, setup)  # FromScratch's own would build a whole network per task
        network = setup.build_network()
        if list(network.buffers()):
            raise ConfigError("target/network: LoRA per task keeps no running statistics")
        num_outputs, lora = self.layout.num_outputs, f"lora({self.config.rank})"
        self.generated = Generated(network, lora, num_outputs)
        self.target = TargetNetwork(network, self.generated, setup.config.train.kernels)
        # The target runs with these very parameters, on whatever device they are.
        self.shared = nn.ParameterList(
            nn.Parameter(value, requires_grad=False) for value in self.target.shared.values()
        )
        self.target.shared = dict(zip(self.target.shared, self.shared, strict=True))
        self.networks = nn.ModuleList(
            Changed(self.target, self._initial(network)) for _ in range(self.layout.num_tasks)
        )

    def _initial(self, network):
        """Draw the changes that a task starts with."""
        given, values = dict(network.named_parameters()), []
        for name, shape in self.generated.shapes.items():
            value = torch.zeros(shape) if name.endswith((UP, DOWN)) else given[name].detach()
            if name.endswith(DOWN):
                nn.init.kaiming_uniform_(value, a=sqrt(5))
            values.append(value.flatten())
        return torch.cat(values)

    def network_weights(self, task_id):
        if task_id is None:
            raise ConfigError("LoRA per task has a network for every task; name the task")
        return self.generated.weights(self.networks[task_id].changes.detach(), self.target.shared)

    def num_stored(self):
        """Count the shared weights and each task's changes, without the heads of other tasks."""
        whole_head = sum(self.generated.shapes[name].numel() for name in self.generated.head)
        return super().num_stored() - (self.layout.num_tasks - 1) * whole_head
