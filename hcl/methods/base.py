"""The interface of a continual-learning method, for those who write one.

A method is one small file here, and `finetune.py` is the one to copy from. Most methods change a
single thing of `Finetune`: they add a loss (`Finetune.losses`), or do something at a task's end.

What the training loop (hcl.training.learner) calls, for every task of the sequence:

    method.start_task(task)                  once; `task.task_id` counts from 0
    method.train()                           torch's training mode
    method.set_learning_rate(rate)           before a step, only if training has a schedule
    method.train_step(x, y)                  once per batch
    method.end_task(task)                    once, still in training mode
    method.eval()
    method.predict(x, task_id)               on all tasks learned so far, without gradients
    method.samples(n)                        once, if the method generates inputs
    method.state_dict()                      the checkpoint
    method.learned_state()                   the file of a trained learner
    method.network_weights(task_id)          a plain network, taken out of a trained learner

The core is `start_task`, `train_step`, `end_task` and `predict`; two of these have a default that
does next to nothing. With a plateau schedule or `train/eval_every`, `eval`, `predict` and `train`
are also called between two steps, and must not change what follows. A checkpoint may be written
between any two steps too, so a trial can be interrupted anywhere and continues from the newest
checkpoint in a new process: `load_state_dict` on a freshly built method, then the steps that are
left (no second `start_task` for a task that had begun).

Before anything is trained, `hcl validate --estimate` and searches with a bound on the compression
ratio build the method on torch's meta device, where tensors have shapes but no values, and ask
`num_stored`, `num_target_weights`, `num_trained` and `kept_bytes`. So `__init__` must not look at
values.

A user's own method is named by its import path and needs none of this: docs/own.md.

Adding a method here:

1. A file here with a subclass of `Method`, and a line in `METHODS` (`hcl/methods/__init__.py`).
2. Its settings, a frozen dataclass with its `LABEL`, and a line in `METHOD_CONFIGS`
   (`hcl/config/methods.py`; no torch there, so that a search space is checked within a second).
3. A YAML in `search_spaces/`, if it is to be searched.

The contract tests of `tests/` find it in the registry and train it in every scenario, interrupt
it, and compare the memory it keeps with `kept_bytes`. `python tests/canary.py --add` stores its
numbers, so that a later change that moves them is noticed.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hcl.benchmarks.arrays import PixelStatistics, TaskSplits
from hcl.config import ConfigError, TrialConfig
from hcl.networks import build_network, given_weights
from hcl.networks.normalise import Normalise
from hcl.networks.precision import Bfloat16
from hcl.scenario import OutputLayout
from hcl.storage.shared_classifier import SharedClassifier

EXTRA = "_extra_state"  # torch's key of `get_extra_state` in a state dict


@dataclass(frozen=True)
class Setup:
    """All that a method is built from.

    Attributes:
        config: the trial; the method's own settings are `config.method`.
        layout: the scenario: which outputs belong to a task, and the losses over them.
        input_shape: shape of one sample.
        shared: the classifier that another trial trains too (HNET and HNET+TIR alone).
        weights: what networks start from, by parameter name; None for torch's initial values.
        pixel_statistics: what networks normalise images with; None = not at all.
    """

    config: TrialConfig
    layout: OutputLayout
    input_shape: tuple[int, ...]
    shared: SharedClassifier | None = None
    weights: dict[str, Tensor] | None = None
    pixel_statistics: PixelStatistics | None = None

    def build_network(self) -> nn.Module:
        """Make a new target network: (B, *input_shape) -> (B, layout.num_outputs)."""
        num_outputs = self.layout.num_outputs
        network = self.build_untrained(num_outputs)
        if self.weights is not None:
            given_weights.put_into(network, self.weights, num_outputs)
        if self.config.train.precision == "bfloat16":
            Bfloat16().put_around(network)
        return network

    def build_untrained(self, num_outputs: int) -> nn.Module:
        """Make a network of the same kind with torch's initial values: -> (B, num_outputs)."""
        network = build_network(self.config.target, self.input_shape, num_outputs)
        if self.pixel_statistics is not None:
            Normalise(*self.pixel_statistics).put_before(network)
        return network


class Prediction(NamedTuple):
    """A method's answer for a batch of B inputs.

    Attributes:
        logits: (B, num_outputs); outputs that must not win are -inf. Which outputs compete is
            decided by the scoring (OutputLayout.predicted).
        task_ids: int64 (B,), the tasks that the method inferred; None where it infers none.
    """

    logits: Tensor
    task_ids: Tensor | None = None


class Method(nn.Module, ABC):
    """A continual-learning method: owns its networks and optimizers, sees tasks one by one.

    Required: `train_step`, `predict` and `set_learning_rate`. All others have a default.

    Everything that must survive a restart is in `state_dict()`: parameters and buffers are there
    by themselves; the rest (optimizers, random generators, tensors kept per task) goes into
    `get_extra_state` as plain dicts, lists, numbers and tensors: checkpoints are read without
    running any code in them, so nothing else comes back. A plain attribute is lost. Random
    numbers come either from torch's global generators, which the loop saves, or from a
    `hcl.seeding.generator` of the method, whose state is then part of the extra state.

    Attributes:
        setup: what the method was built from.
        layout: `setup.layout`.
        config: `setup.config.method`; subclasses annotate it with their own settings.
        task_id: the task being learned, or the last one learned; -1 before the first.
    """

    # True: batches are drawn from all tasks learned so far and the current one.
    trains_on_all_tasks = False
    # Names in the extra state that matter during a task alone, such as a new optimizer's.
    not_learned: tuple[str, ...] = ()

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup = setup
        self.layout = setup.layout
        self.config: Any = setup.config.method
        self.task_id = -1

    @property
    def device(self) -> torch.device:
        """The device of the parameters; it is not known before `__init__` is over."""
        return next(self.parameters()).device

    @property
    def num_learned(self) -> int:
        """Number of tasks learned so far, the current one included."""
        return self.task_id + 1

    def start_task(self, task: TaskSplits) -> None:
        """Get ready for a task: new optimizers, a copy of the network to hold on to.

        Args:
            task: its `task_id` is one more than the last one's. Its data may be read, but most
                methods learn from the batches of `train_step` alone.
        """
        self.task_id = task.task_id

    @abstractmethod
    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Make one update on a batch.

        Args:
            x: (B, *input_shape) in [0, 1], on the method's device.
            y: int64 (B,), each sample's right output unit among all `layout.num_outputs`; float32
                (B, num_outputs) in a regression benchmark.

        Returns:
            Named loss terms, scalars, detached and still on the device: reading one would make
            every step wait for it. They are shown and recorded as `loss/NAME`; a NaN or infinite
            one ends the trial. Names in use: "task", "regularizer", "replay", "replay_model".
        """

    def end_task(self, task: TaskSplits) -> None:
        """Conclude a task after its last step: importances, a buffer of its samples.

        Args:
            task: the one that `start_task` got. Validation and test splits are not to be used.
        """

    @abstractmethod
    def predict(self, x: Tensor, task_id: int | None) -> Prediction:
        """Answer a batch of one task, in evaluation mode and without gradients.

        Args:
            x: (B, *input_shape).
            task_id: the inputs' task, below `num_learned`; None in the domain and class scenarios.
        """

    @abstractmethod
    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of all that learns in this task, from the next step on."""

    def network_weights(self, task_id: int | None) -> dict[str, Tensor]:
        """Return the state dict of the plain network that answers the inputs of a task.

        `hcl.Learner` exports it; a method without one need not define it.

        Args:
            task_id: below `num_learned`; None for the one network of all tasks.

        Returns:
            Parameters and buffers of `setup.build_network()`, by name.

        Raises:
            ConfigError: the method has no such network.
        """
        raise ConfigError(f"{type(self).__name__} has no network that can be taken out of it")

    def learned_state(self) -> dict[str, Any]:
        """Return the part of `state_dict` that matters once a task is over.

        Predictions and later tasks need it, and `load_state_dict` takes it. A method names in
        `not_learned` what `start_task` makes anew, and overrides this to shorten other parts.
        """
        state = self.state_dict()
        for name in self.not_learned:
            state[EXTRA].pop(name, None)
        return state

    def samples(self, num_samples: int) -> Tensor | None:
        """Generate inputs to look at: one row per past task, if the model tells tasks apart.

        Returns:
            (rows, num_samples, *input_shape) in [0, 1]; None where the method generates nothing.
        """
        return None

    def num_stored(self) -> int:
        """Count the parameters that predictions and replay need, task embeddings included.

        Replay is a decoder, or what generates it; four bytes of kept samples are one number. With
        `num_target_weights` it makes the compression ratio of von Oswald et al. (2020).
        """
        return sum(p.numel() for p in self.parameters())

    def num_target_weights(self) -> int:
        """Count the weights of one target network: the reference of the compression ratio."""
        with torch.device("meta"):
            network = self.setup.build_untrained(self.layout.num_outputs)
        return sum(p.numel() for p in network.parameters())

    def num_trained(self) -> int:
        """Count the parameters that optimizers step in the last task."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        """Estimate the memory kept of past tasks, during the last task of the sequence.

        Importances and anchors, copies of networks, samples. Parameters and their optimizers do
        not count, nor do the regularizers of hypernetworks: `hcl.measure` counts these itself.

        Args:
            past_samples: number of training samples of each task before the last.
        """
        return 0

    def get_extra_state(self) -> dict[str, Any]:
        """Return what `state_dict` must hold beside parameters and buffers; extend it."""
        return {"task_id": self.task_id}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Put back what `get_extra_state` returned, on the method's device; extend it.

        Torch calls it after the parameters were loaded.
        """
        self.task_id = state["task_id"]
