"""Batch norm's running statistics while a network learns task after task."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hcl.networks.state import to_device

Statistics = dict[str, Tensor]


class RunningStatistics:
    """Running statistics of an ordinary network: one set per task, or the network's own alone.

    The network's own buffers always belong to the task being learned (or the last one learned).
    Earlier tasks' sets are put aside, and used when such a task is given again.

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
        """Put the last task's set aside and begin anew."""
        if not self.initial or task_id == 0:
            return
        own = dict(self.network.named_buffers())
        self.of_past[task_id - 1] = {key: b.clone() for key, b in own.items()}
        for key, value in self.initial.items():
            own[key].copy_(value)

    def run(self, x: Tensor, task_id: int | None) -> Tensor:
        """Run the network with a task's statistics, in evaluation mode.

        Args:
            x: (B, *input_shape).
            task_id: the inputs' task; None where it is not given: the network's own set is used.

        Returns:
            (B, num_outputs), from today's parameters whatever the task.
        """
        past = self.of(task_id)
        return functional_call(self.network, past, (x,)) if past else self.network(x)

    def of(self, task_id: int | None) -> Statistics:
        """Return an earlier task's set; nothing where the network's own buffers are right."""
        return {} if task_id is None else self.of_past.get(task_id, {})

    def state(self) -> dict[int, Statistics]:
        """Return what a restart needs beside the network."""
        return self.of_past

    def load_state(self, state: dict[int, Statistics], device: torch.device) -> None:
        """Put back what `state` returned."""
        self.of_past = to_device(state, device)


class GeneratedStatistics:
    """Running statistics of generated networks: one set per task, or one set for all tasks.

    Args:
        initial: the set that a task starts with.
        per_task: False keeps one set, which every task changes further.
    """

    def __init__(self, initial: Statistics, per_task: bool) -> None:
        self.initial, self.per_task = initial, per_task
        self.sets: dict[int, Statistics] = {}  # by task; the one set for all tasks is number 0

    def of(self, task_id: int) -> Statistics:
        """Return the set that a task's network runs with; training changes it in place."""
        return self.sets[self._key(task_id)]

    def start_task(self, task_id: int, device: torch.device) -> None:
        """Give a task that has no set yet a new one."""
        if self._key(task_id) not in self.sets:
            self.put(task_id, {key: b.clone() for key, b in self.initial.items()}, device)

    def put(self, task_id: int, values: Statistics, device: torch.device) -> None:
        """Let a task's network run with `values` from now on."""
        self.sets[self._key(task_id)] = to_device(values, device)

    def load_state(self, sets: dict[int, Any], device: torch.device) -> None:
        """Put back what `sets` was."""
        self.sets = to_device(sets, device)

    def _key(self, task_id: int) -> int:
        return task_id if self.per_task else 0
