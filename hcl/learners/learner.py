"""A trained learner: it predicts, and exports the network of each of its tasks."""

from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hcl import seeding
from hcl.benchmarks.arrays import PixelStatistics
from hcl.config import ConfigError, TrialConfig
from hcl.config.methods import ScenarioName
from hcl.kernels.matmul import fastest_float32
from hcl.learners.inputs import Arrays, arrange_inputs, as_values, inputs_at_once
from hcl.learners.state_file import write_state
from hcl.methods import Method, Setup, make_method
from hcl.networks.generated import output_names
from hcl.scenario import make_layout

Labels = tuple[int, ...]


class Answers(NamedTuple):
    """Predictions for N inputs, on the CPU.

    Attributes:
        labels: int64 (N,); labels as the data have them, in the domain scenario the label within
            the task. In a regression float32 (N, outputs), the predicted numbers.
        probabilities: float32 (N, C), over the classes of the given task, of all learned tasks
            (class scenario; their labels in the order of `Learner.tasks`) or of the shared head
            (domain scenario). A method that infers the task gives the classes of all others 0.
            None in a regression.
        task_ids: int64 (N,), the given task or the one that was inferred; None in the domain
            scenario where the method infers none.
        entropy: float32 (N,), of the probabilities, in nats; None in a regression.
    """

    labels: Tensor
    probabilities: Tensor | None
    task_ids: Tensor | None
    entropy: Tensor | None


@dataclass(frozen=True)
class LearnedTask:
    """A task that a learner has learned, and its classes; none in a regression."""

    task_id: int
    labels: Labels


@dataclass(eq=False)
class Learner:
    """A trained learner; `hcl.run`, `hcl.load` and `hcl.continue_training` give one.

    Attributes:
        config: settings of its training.
        method: the trained method.
        labels: labels of each task of the sequence, the ones that are not learned yet included.
        random: state of torch's random generators after training, where later tasks go on from.
        data_digest: names the data it was trained on.
        class_names: what the user's data call each label, text or numbers; empty where labels
            are what the data have.
    """

    config: TrialConfig
    method: Method
    labels: tuple[Labels, ...]
    random: dict[str, Tensor] = field(default_factory=dict, repr=False)
    data_digest: str = ""
    class_names: tuple[str | int, ...] = ()

    @property
    def tasks(self) -> tuple[LearnedTask, ...]:
        """The tasks learned so far."""
        return tuple(map(LearnedTask, range(self.method.num_learned), self.labels))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, as a network takes it."""
        return self.method.setup.input_shape

    @torch.no_grad()
    def predict(self, x: Arrays, task: int | None = None, batch_size: int = 0) -> Answers:
        """Answer inputs, numpy or torch.

        Args:
            x: uint8 as raw images have it, which is divided by 255 here; or floating point as
                networks take it, images in [0, 1]. The shape is (N, *input_shape), or that of
                raw images, grey (N, H, W) or (N, H, W, C), which are padded, flattened and turned
                as the benchmark does it. Inputs of a permuted benchmark come permuted.
            task: the inputs' task; None where it is not known. A learner of the task scenario
                needs it, unless its method infers tasks.
            batch_size: inputs at once; 0 = what fits easily.

        Raises:
            ConfigError: the inputs have another shape or kind of values, or the task is not one
                of the learned ones or is needed and was not given.
        """
        inputs = arrange_inputs(x, self.input_shape, self.config.benchmark.padding)
        if task is not None:
            self._check(task)
        scenario = self._scenario(task)
        self.method.eval()
        size = batch_size or inputs_at_once(inputs)
        with fastest_float32():
            parts = [self._answer(part, task, scenario) for part in inputs.split(size)]
        labels, *rest = zip(*parts, strict=True)
        return Answers(torch.cat(labels), *(None if p[0] is None else torch.cat(p) for p in rest))

    def name_labels(self, labels: Tensor) -> list[str | int]:
        """Give labels, as `predict` returns them, the names that the user's data have for them.

        Where a label counts within its task, or the data have no others, they stay as they are.
        """
        is_within_task = self.method.layout.scenario == "domain" and len(set(self.labels)) > 1
        if is_within_task or not self.class_names:
            return list(labels.tolist())
        known = dict(enumerate(self.class_names))  # a task that came later may have others
        return [known.get(label, label) for label in labels.tolist()]

    def _scenario(self, task: int | None) -> ScenarioName:
        """Choose the rule that says which outputs compete."""
        trained = self.config.scenario
        if task is not None:
            return "task"
        if trained != "task":
            return trained
        if "class" not in self.config.method.ALSO_SCORES.get("task", ()):
            raise ConfigError(
                f"task: {self.config.method_name} was trained in the task scenario and infers no"
                f" task; give one of 0 to {len(self.tasks) - 1}"
            )
        return "class"

    def _answer(self, x: Tensor, task: int | None, scenario: ScenarioName) -> Answers:
        layout, learned = self.method.layout, self.method.num_learned
        logits, task_ids = self.method.predict(as_values(x.to(self.method.device)), task)
        if layout.score != "accuracy":
            return Answers(logits.cpu(), None, self._given(x, task), None)
        active = layout.head(task) if task is not None else layout.seen(learned)
        p = logits[:, active].double().softmax(dim=1)
        units = layout.predicted(logits, task or 0, learned, scenario).cpu()
        labels, owners = self._meaning_of_units()
        if task is not None:
            task_ids = self._given(x, task)
        elif task_ids is None and layout.scenario != "domain":
            task_ids = owners[units]
        return Answers(
            labels[units],
            p.float().cpu(),
            None if task_ids is None else task_ids.cpu(),
            torch.special.entr(p).sum(dim=1).float().cpu(),
        )

    def _given(self, x: Tensor, task: int | None) -> Tensor:
        return torch.full((len(x),), task if task is not None else 0)

    def _meaning_of_units(self) -> tuple[Tensor, Tensor]:
        """Return each output unit's label and task, int64 (num_outputs,) both."""
        if self.method.layout.scenario == "domain":
            is_same = len(set(self.labels)) == 1
            shared = self.labels[0] if is_same else tuple(range(max(map(len, self.labels))))
            return torch.tensor(shared), torch.zeros(len(shared), dtype=torch.int64)
        flat = [(label, i) for i, labels in enumerate(self.labels) for label in labels]
        label, owner = torch.tensor(flat).T
        return label, owner

    @torch.no_grad()
    def weights(self, task: int | None) -> dict[str, Tensor]:
        """Return the state dict of the network that answers a task, on the CPU.

        Args:
            task: one of the learned tasks; None where one network answers all of them.

        Returns:
            Parameters and buffers by name; the output layer has the outputs of all tasks. With
            `benchmark/normalise` the network expects normalised images; that of `module` does it.

        Raises:
            ConfigError: there is no such task, or no one network for all.
        """
        if task is not None:
            self._check(task)
        self.method.eval()
        found = self.method.network_weights(task)
        return {name: value.detach().cpu().clone() for name, value in found.items()}

    def module(self, task: int | None) -> nn.Module:
        """Build the network that answers a task, of plain torch, to export or to deploy.

        Args:
            task: as in `weights`.

        Returns:
            A network in evaluation mode, on the CPU: float32 (B, *input_shape), images in [0, 1],
            to logits (B, classes) of the task, or of all tasks learned so far for None. The
            labels are those of `tasks`, in their order.

        Raises:
            ConfigError: as `weights`.
        """
        weights, layout = self.weights(task), self.method.layout
        units = layout.head(task) if task is not None else layout.seen(self.method.num_learned)
        with seeding.isolated("module"):
            whole = self.method.setup.build_network()
            network = self.method.setup.build_untrained(units.stop - units.start)
        head = output_names(whole, layout.num_outputs)
        cut = {name: value[units] if name in head else value for name, value in weights.items()}
        network.load_state_dict(cut)
        return network.eval()

    def _check(self, task: int) -> None:
        if task not in range(len(self.tasks)):
            raise ConfigError(
                f"task: must be one of 0 to {len(self.tasks) - 1}, the learned tasks, but got"
                f" {task!r}"
            )

    def save(self, path: Path | str) -> None:
        """Write the learner into one file of safetensors, which `hcl.load` reads.

        Raises:
            ConfigError: safetensors is not installed.
            OSError: the disk did not take it; an older file is as it was.
        """
        write_state(Path(path), self.to_state())

    def to_state(self) -> dict[str, Any]:
        """Return all that `from_state` needs: tensors, numbers, strings, dicts and lists."""
        return {
            **facts(self.config, self.method, self.labels, self.data_digest, self.class_names),
            "method": self.method.learned_state(),
            "random": self.random,
        }

    def copy(self, device: str = "cpu") -> "Learner":
        """Make an equal learner, which shares nothing with this one."""
        return self.from_state(deepcopy(self.to_state()), device)

    @classmethod
    def from_state(cls, state: dict[str, Any], device: str = "cpu") -> "Learner":
        """Make a learner from what `to_state` returned; it may share tensors with it.

        Raises:
            ConfigError: the state is no learner's, or another version's.
        """
        try:
            config = TrialConfig.from_dict(state["config"])
            layout = make_layout(config, state["num_tasks"], state["classes_per_task"])
            shape, statistics = tuple(state["input_shape"]), state.get("pixel_statistics")
            if statistics is not None:
                statistics = PixelStatistics(*map(tuple, statistics))
            setup = Setup(config, layout, shape, pixel_statistics=statistics)
            with seeding.isolated(config.seed, "trial"):
                method = make_method(setup).to(device)
                method.load_state_dict(state["method"])
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"this is no learner that this version of hcl can read ({type(error).__name__}:"
                f" {str(error).splitlines()[0] if str(error) else ''}); load it with the version"
                " that wrote it"
            ) from error
        labels = tuple(map(tuple, state["labels"]))
        names = tuple(state.get("class_names", ()))  # files of older versions have none
        return cls(config, method.eval(), labels, state["random"], state["data_digest"], names)


def facts(
    config: TrialConfig,
    method: Method,
    labels: tuple[Labels, ...],
    data_digest: str,
    class_names: tuple[str | int, ...],
) -> dict[str, Any]:
    """Describe a learner beside its tensors, so that loading it needs no data."""
    layout, statistics = method.layout, method.setup.pixel_statistics
    return {
        "config": config.to_dict(),
        "pixel_statistics": None if statistics is None else [list(v) for v in statistics],
        "input_shape": list(method.setup.input_shape),
        "num_tasks": layout.num_tasks,
        "classes_per_task": layout.classes_per_task,
        "labels": [list(labels) for labels in labels],
        "data_digest": data_digest,
        "class_names": list(class_names),
    }
