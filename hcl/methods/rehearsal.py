"""Replay of true samples from a buffer: the base of methods that keep some."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hcl import seeding
from hcl.benchmarks.arrays import TaskSplits
from hcl.benchmarks.augment import crop_and_flip
from hcl.config.rehearsal import BufferConfig
from hcl.methods.base import Setup
from hcl.methods.finetune import Finetune
from hcl.networks.features import features
from hcl.replay.buffer import Buffer, herding


class Rehearsal(Finetune):
    """A network and a buffer of samples that it is trained on again.

    What is kept is chosen at a task's end, so samples of the current task are never replayed; or
    with every batch, so that they are.
    """

    config: BufferConfig
    keeps_logits = False

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        draws = seeding.generator(setup.config.seed, "reservoir")
        num_logits = self.layout.num_outputs if self.keeps_logits else 0
        self.buffer = Buffer(self.config.buffer_size, setup.input_shape, draws, num_logits)

    def start_task(self, task: TaskSplits) -> None:
        super().start_task(task)
        self.buffer.begin(task.train.x)

    def replay(self, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Draw kept samples with replacement.

        Returns:
            (count, *input_shape), augmented as training data are, and their places in the buffer.
        """
        places = self.buffer.draw(count)
        kept = self.buffer.inputs(places, dtype)
        if self.setup.config.train.augment:
            kept = crop_and_flip(kept, self.buffer.draws)
        return kept, places

    def replay_cross_entropy(self, x: Tensor, places: Tensor) -> Tensor:
        """Compute the loss of replayed samples with their labels, each by its task's rule."""
        y = self.buffer.kept_y[places]
        return self.layout.mixed_cross_entropy(self.network(x), y, self.num_learned)

    def policy(self) -> str:
        """Say what is kept.

        At a task's end: `reservoir`, a uniform sample of all training data; `per_class`, as many
        of every class, at random; `herding`, as many, whose mean feature is near the class's. Or
        `every_batch`: a reservoir that `train_step` fills.
        """
        return "every_batch"

    def end_task(self, task: TaskSplits) -> None:
        if self.policy() == "reservoir":
            places, chosen = self.buffer.places(len(task.train))
            x, y = task.train.batch(chosen.to(self.device))
            self.buffer.put(places, x, self.layout.targets(y, task.task_id))
        elif self.policy() != "every_batch":
            x, y = task.train.batch(torch.arange(len(task.train), device=self.device))
            order = self._herd if self.policy() == "herding" else self.buffer.random_order
            self.buffer.share(x, self.layout.targets(y, task.task_id), order)

    def _herd(self, x: Tensor) -> Tensor:
        was_training = self.training
        self.eval()
        found = features(self.network, self.layout.num_outputs, x)
        self.train(was_training)
        return herding(found, self.config.buffer_size)

    def num_stored(self) -> int:
        """Count the network's parameters, and four bytes of the buffer's budget as one number."""
        return super().num_stored() + self.buffer.num_bytes() // 4

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        return self.buffer.num_bytes(sum(past_samples))

    def get_extra_state(self) -> dict[str, Any]:
        return {**super().get_extra_state(), **self.buffer.state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.buffer.load_state(state, self.device)
