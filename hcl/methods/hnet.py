"""HNET and HNET+ENT: a task-conditioned hypernetwork makes the weights of the target network."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hcl.benchmarks.arrays import TaskSplits
from hcl.config import ConfigError
from hcl.config.methods import HnetConfig
from hcl.hypernets import GroupedTaskHypernet, HeadMask, TaskHypernet
from hcl.inference import rules
from hcl.inference.networks_of_tasks import NetworksOfTasks, place_in_heads
from hcl.methods.base import EXTRA, Method, Prediction, Setup
from hcl.networks.generated import Generated
from hcl.networks.optim import make_adam, set_rate
from hcl.networks.running_statistics import GeneratedStatistics
from hcl.networks.state import to_device
from hcl.networks.target import TargetNetwork

GAP_SAMPLES = 1000  # of a task's training samples, whose gaps are noted


class Hnet(Method):
    """Continual learning with hypernetworks (von Oswald et al., 2020), eq. 1-2.

    Loss of task t, with weights h(e, theta) generated from its embedding e_t:

        L_t(h(e_t, theta)) + beta / (t - 1) sum_{k < t} || h(e_k, theta*) - h(e_k, theta + d) ||^2

    L_t is the cross-entropy over the task's own head in every scenario; theta* are the
    hypernetwork's parameters when the task started, d is the step that Adam would take on L_t
    alone (`lookahead`: as a constant, differentiated through, or left out). Adam's moments are
    new for every task, and e_t rests once its task is over, as in the authors' code.

    Where the task is not given, it is the one of lowest predictive entropy (HNET+ENT), or what
    another rule says (`inference`).
    """

    config: HnetConfig

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        network, groups = setup.build_network(), self.config.groups()
        patterns = tuple(pattern for pattern, _ in groups)
        num_outputs = self.layout.num_outputs
        self.generated = Generated(network, self.config.generate, num_outputs, patterns)
        if setup.weights is not None and not self.generated.shared:
            raise ConfigError(
                "target/weights: no weight of the file would be used, because the hypernetwork"
                " generates all weights; set method/generate to a part or lora(RANK), or leave"
                " target/weights out"
            )
        self.target = TargetNetwork(network, self.generated, setup.config.train.kernels)
        self.target.is_differentiated_twice = self.config.lookahead == "full"
        self.task_hypernet = self._make_hypernets([size for _, size in groups])
        # The target runs with these very parameters, on whatever device they are.
        self.shared = nn.ParameterList(
            nn.Parameter(value, requires_grad=False) for value in self.target.shared.values()
        )
        self.target.shared = dict(zip(self.target.shared, self.shared, strict=True))
        self.shared_optimizer: torch.optim.Adam | None = None
        has_own = setup.config.target.batch_norm == "per_task"
        self.statistics = GeneratedStatistics(self.target.initial_buffers, has_own)
        self.networks = NetworksOfTasks(
            self.task_hypernet, self.target, self.layout, self.statistics.of
        )
        self.gaps: list[Tensor] = []  # `rules.gap_statistics` of each task

    def _make_hypernets(self, chunk_sizes: list[int]) -> TaskHypernet | GroupedTaskHypernet:
        """Make one for each group of parameters, and one for those of no group."""
        trial, sizes = self.setup.config, [*chunk_sizes, self.config.chunk_size]
        gain = 2.0 if trial.target.activation == "relu" else 1.0  # Kaiming or Xavier
        made = []
        for group, size in zip(self.generated.groups, sizes, strict=False):
            tensors = self.generated.tensors(group, gain)
            num_weights = sum(tensor.size for tensor in tensors)
            config, num_tasks = replace(self.config, chunk_size=size), self.layout.num_tasks
            made.append(
                TaskHypernet(num_weights, num_tasks, config, trial.train, trial.seed, tensors)
            )
        return made[0] if len(made) == 1 else GroupedTaskHypernet(made)

    def start_task(self, task: TaskSplits) -> None:
        super().start_task(task)
        self.statistics.start_task(self.task_id, self.device)
        self.start_classifier()

    def start_classifier(self) -> None:
        """Make new optimizers, and the regularizer that keeps the past tasks' weights."""
        self.task_hypernet.start_task(self.task_id, self._head_mask())
        self._make_shared_optimizer()

    def _head_mask(self) -> HeadMask | None:
        """Make the mask of Generated.head_mask, if the setting asks for one."""
        if not self.config.mask_heads:
            return None
        return self.generated.head_mask(self.layout, self.task_id)

    def _make_shared_optimizer(self) -> None:
        """Let the weights that all tasks share learn with the first task, if ever."""
        learns = self.config.shared == "once" and self.task_id == 0
        for parameter in self.shared:
            parameter.requires_grad_(learns)
        self.shared_optimizer = None
        if learns and len(self.shared):
            self.shared_optimizer = make_adam(self.shared, self.setup.config.train)

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        self.networks.forget()  # a prediction between two steps may have kept some
        weights = self.task_hypernet.current()
        logits = self.target(weights, x, self.statistics.of(self.task_id))
        loss = self.layout.head_cross_entropy(logits, y, self.task_id)
        learning = [] if self.shared_optimizer is None else list(self.shared)
        penalty, grads = self.task_hypernet.update(loss, learning)
        if self.shared_optimizer is not None:
            for parameter, grad in zip(learning, grads, strict=True):
                parameter.grad = grad
            self.shared_optimizer.step()
        losses = {"task": loss.detach()}
        return losses if penalty is None else losses | {"regularizer": penalty}

    def end_task(self, task: TaskSplits) -> None:
        if self.config.inference == "gap_zscore":
            self._note_gaps(task)
        if self.setup.shared is not None:
            self.setup.shared.give(self.task_id, self.classifier_state())

    @torch.no_grad()
    def _note_gaps(self, task: TaskSplits) -> None:
        step = max(1, len(task.train) // GAP_SAMPLES)
        x, _ = task.train.batch(torch.arange(0, len(task.train), step, device=self.device))
        was_training = self.training
        self.eval()
        logits = self.networks.run(x, task.task_id)
        self.train(was_training)
        self.gaps.append(rules.gap_statistics(logits[:, self.layout.head(task.task_id)]))

    def train(self, mode: bool = True) -> "Hnet":
        super().train(mode)
        self.target.train(mode)
        self.networks.forget()  # weights change once training goes on
        return self

    def predict(self, x: Tensor, task_id: int | None) -> Prediction:
        if task_id is not None:
            return Prediction(self.networks.run(x, task_id))
        task_ids, answers = self.infer(x)
        return Prediction(place_in_heads(answers, task_ids, self.layout), task_ids)

    def infer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Choose each input's task, int64 (B,), and answer with its own head, (B, classes)."""
        rule = self._rule()
        if rule is None:
            return self.networks.infer(x, self.num_learned)
        return self.networks.infer_by(rule, x, self.num_learned)

    def _rule(self) -> rules.Rule | None:
        """Make the rule that `inference` names; None for the lowest entropy.

        A task's gaps are not known before it is over: until then entropy decides in their place.
        """
        if self.config.inference == "max_logit":
            return rules.max_logit
        if self.config.inference == "gap_zscore" and len(self.gaps) == self.num_learned:
            return rules.gap_zscore(torch.stack(self.gaps))
        if self.config.inference == "entropy_gradient":
            return rules.entropy_gradient(self._run_mixture)
        return None

    def _run_mixture(self, flat: Tensor, x: Tensor) -> Tensor:
        """Run a mixture of the learned tasks' networks, with the mean of their statistics."""
        sets = [self.statistics.of(task_id) for task_id in range(self.num_learned)]
        means = {k: torch.stack([s[k] for s in sets]).float().mean(0) for k in sets[0]}
        logits = self.target.run_plainly(flat, x, means)
        return logits[:, self.layout.seen(self.num_learned)]

    def means(self, generated: Tensor) -> Tensor:
        """Take a network's weights out of what the hypernetwork generates for it."""
        return generated

    def network_weights(self, task_id: int | None) -> dict[str, Tensor]:
        if task_id is None:
            raise ConfigError(
                f"{self.setup.config.method_name} generates a network for every task; name the"
                " task"
            )
        with torch.no_grad():
            made = self.means(self.networks.weights(range(task_id, task_id + 1))[0])
            weights = self.generated.weights(made, self.target.shared)
        return weights | self.statistics.of(task_id)

    def learned_state(self) -> dict[str, Any]:
        state = super().learned_state()
        hypernet = self.task_hypernet.learned_state()
        state[EXTRA] |= {"task_hypernet": hypernet, "shared_optimizer": None}
        return state

    def set_learning_rate(self, rate: float) -> None:
        self.task_hypernet.set_learning_rate(rate)
        if self.shared_optimizer is not None:
            set_rate(self.shared_optimizer, rate)

    def num_stored(self) -> int:
        gaps = 2 * self.layout.num_tasks if self.config.inference == "gap_zscore" else 0
        return self.task_hypernet.num_stored() + sum(p.numel() for p in self.shared) + gaps

    def num_target_weights(self) -> int:
        return self.generated.num_parameters

    @property
    def one_hypernet(self) -> TaskHypernet:
        """The hypernetwork, where groups of parameters do not have their own."""
        assert isinstance(self.task_hypernet, TaskHypernet)
        return self.task_hypernet

    def classifier_state(self) -> dict[str, Any]:
        """Return what later tasks and predictions need of the classifier once a task is over."""
        hypernet = self.one_hypernet
        return {
            "task_hypernet": hypernet.state_dict(),
            "task_subsets": hypernet.task_subsets.get_state(),
            "buffers": self.statistics.of(self.task_id),
        }

    def load_classifier_state(self, state: dict[str, Any]) -> None:
        """Put back what `classifier_state` returned, here or in another trial."""
        self.networks.forget()
        self.one_hypernet.load_state_dict(state["task_hypernet"])
        self.one_hypernet.task_subsets.set_state(state["task_subsets"])
        self.statistics.put(self.task_id, state["buffers"], self.device)

    def get_extra_state(self) -> dict[str, Any]:
        gaps = {"gaps": self.gaps} if self.gaps else {}
        return {
            **super().get_extra_state(),
            **gaps,
            "buffers_of": self.statistics.sets,
            "task_hypernet": self.task_hypernet.training_state(),
            "shared_optimizer": self.shared_optimizer and self.shared_optimizer.state_dict(),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.networks.forget()
        self.statistics.load_state(state["buffers_of"], self.device)
        self.gaps = to_device(state.get("gaps", []), self.device)
        self.task_hypernet.load_training_state(state["task_hypernet"], self._head_mask())
        self._make_shared_optimizer()
        if self.shared_optimizer is not None and state["shared_optimizer"] is not None:
            self.shared_optimizer.load_state_dict(state["shared_optimizer"])
