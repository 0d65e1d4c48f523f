"""Batch norm's running statistics of an ordinary network that learns task after task."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

Statistics = dict[str, Tensor]


class RunningStatistics:
    """One set per task, used when that task is given again; or the network's own alone.

    The network's own are those of the task being learned, or the last one learned.

    Args:
        network: its buffers are changed in place when a task starts.
        per_task: False leaves everything to the network.
    """

    def __init__(self, network: nn.Module, per_task: bool) -> None:
        self.network = network
        self.initial: Statistics = {}
        if per_task:
            self.initial = {key: b.detach().clone() for key, b in network.named_buffers()}
        self.of_past: dict[int, Statistics] = {}

    @torch.no_grad()
    def start_task(self, task_id: int) -> None:
        """Put the last task's aside and begin anew."""
        if not self.initial or task_id == 0:
            return
        own = dict(self.network.named_buffers())
        self.of_past[task_id - 1] = {key: b.clone() for key, b in own.items()}
        for key, value in self.initial.items():
            own[key].copy_(value)

    def run(self, x: Tensor, task_id: int | None) -> Tensor:
        """The network's outputs for inputs of a task, in evaluation mode."""
        past = None if task_id is None else self.of_past.get(task_id)
        if past is None:
            return self.network(x)
        return functional_call(self.network, past, (x,))  # with the parameters of today

    def state(self) -> dict[int, Statistics]:
        """What a restart needs beside the network."""
        return self.of_past

    def load_state(self, state: dict[int, Statistics], device: torch.device) -> None:
        """Put back what `state` returned."""
        self.of_past = {
            task_id: {key: b.to(device) for key, b in past.items()}
            for task_id, past in state.items()
        }
