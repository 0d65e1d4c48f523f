"""Experience replay."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from hcl import seeding
from hcl.benchmarks.arrays import TaskSplits
from hcl.benchmarks.augment import crop_and_flip
from hcl.config.methods import ErConfig
from hcl.methods.base import Setup
from hcl.methods.finetune import Finetune
from hcl.networks.state import to_device


class ER(Finetune):
    """Experience replay (Chaudhry et al., 2019) of true samples from a reservoir.

    Loss: 1/2 (current batch) + 1/2 (batch of as many kept samples, drawn with replacement). Kept
    samples count with their own label; in the task scenario over their own head, else over all
    outputs seen so far.

    The reservoir (Vitter, 1985, algorithm R) is a uniform sample of all training data of the tasks
    learned. It is filled at a task's end, so samples of the current task are never replayed.
    """

    config: ErConfig

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.draws = seeding.generator(setup.config.seed, "reservoir")
        self.num_seen = 0
        self.kept_x = torch.empty(0, *setup.input_shape, dtype=torch.uint8)
        self.kept_y = torch.empty(0, dtype=torch.int64)

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x, y)
        if self.task_id == 0:
            return losses
        drawn = torch.randint(len(self.kept_y), (len(x),), generator=self.draws).to(x.device)
        kept = self.kept_x[drawn].to(x.dtype) / 255
        if self.setup.config.train.augment:
            kept = crop_and_flip(kept, self.draws)
        logits = self.network(kept)
        replay = self.layout.mixed_cross_entropy(logits, self.kept_y[drawn], self.num_learned)
        return {"task": losses["task"] / 2, "replay": replay / 2}

    def end_task(self, task: TaskSplits) -> None:
        place, chosen = self._reservoir(len(task.train))
        x, y = task.train.batch(chosen.to(self.device))
        size = max(len(self.kept_y), int(place.max()) + 1)
        kept_x = torch.zeros(size, *self.kept_x.shape[1:], dtype=torch.uint8, device=self.device)
        kept_y = torch.zeros(size, dtype=torch.int64, device=self.device)
        kept_x[: len(self.kept_x)], kept_y[: len(self.kept_y)] = self.kept_x, self.kept_y
        place = place.to(self.device)
        kept_x[place] = (x * 255).round().to(torch.uint8)
        kept_y[place] = self.layout.targets(y, task.task_id)
        self.kept_x, self.kept_y = kept_x, kept_y

    def _reservoir(self, num_new: int) -> tuple[Tensor, Tensor]:
        """Choose places of the reservoir to overwrite, each once, and the samples that go there.

        Returns:
            int64 (n,) and int64 (n,).
        """
        placed: dict[int, int] = {}
        for sample in torch.randperm(num_new, generator=self.draws).tolist():
            place = self.num_seen
            if place >= self.config.buffer_size:
                place = int(torch.randint(self.num_seen + 1, (1,), generator=self.draws))
            if place < self.config.buffer_size:
                placed[place] = sample
            self.num_seen += 1
        return torch.tensor(list(placed)), torch.tensor(list(placed.values()))

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        kept = min(self.config.buffer_size, sum(past_samples))
        return kept * (prod(self.setup.input_shape) + 8)  # pixels in 8 bits, the label in 64

    def get_extra_state(self) -> dict[str, Any]:
        return {
            **super().get_extra_state(),
            "draws": self.draws.get_state(),
            "num_seen": self.num_seen,
            "kept_x": self.kept_x,
            "kept_y": self.kept_y,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.draws.set_state(state["draws"])
        self.num_seen = state["num_seen"]
        self.kept_x, self.kept_y = to_device([state["kept_x"], state["kept_y"]], self.device)
