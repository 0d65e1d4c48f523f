"""State of a trial in progress: how it starts, is saved, and is restored."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hcl import benchmarks, seeding
from hcl.benchmarks.arrays import Benchmark
from hcl.config import ConfigError, TrialConfig, as_trial
from hcl.config.target import takes_vectors
from hcl.learners.learner import Labels, Learner, facts
from hcl.methods import Method, Setup, make_method
from hcl.networks import given_weights
from hcl.results import Matrix, Progress
from hcl.scenario import make_layout
from hcl.storage import checkpoint
from hcl.storage.shared_classifier import SharedClassifier, classifier_digest
from hcl.training.process import Runtime
from hcl.training.schedule import Plateau, num_steps


class Due(NamedTuple):
    """Work that is due after a step, before the next one of the same task."""

    scores: bool
    checkpoint: bool


@dataclass
class TrialState:
    """The state that the training loop reads and writes; a checkpoint keeps it."""

    config: TrialConfig
    runtime: Runtime
    benchmark: Benchmark
    method: Method
    progress: Callable[[Progress], None] | None
    tasks_learned: int = 0
    step: int = 0  # finished steps of the current task
    accuracy: dict[str, Matrix] = field(default_factory=dict)
    inference: dict[str, Matrix] = field(default_factory=dict)
    unlearned: dict[str, Matrix] = field(default_factory=dict)  # row t: of tasks t + 1 and later
    losses: dict[str, float] = field(default_factory=dict)
    plateau: Plateau = field(default_factory=Plateau)  # of the current task
    seconds_before: float = 0.0  # spent by earlier processes
    train_seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since the trial first started, without the time it was down."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def steps_per_second(self) -> float:
        """Training speed so far, evaluation left out."""
        return self._steps_of_learned() / max(self.train_seconds, 1e-9)

    def num_samples(self, task_id: int) -> int:
        """Count the training samples that a task's batches are drawn from."""
        first = 0 if self.method.trains_on_all_tasks else task_id
        return sum(len(task.train) for task in self.benchmark.tasks[first : task_id + 1])

    def num_steps(self, task_id: int) -> int:
        """Count the training steps of a task."""
        return num_steps(self.config.train, self.num_samples(task_id))

    @property
    def total_steps(self) -> int:
        """Steps so far, those of earlier tasks included."""
        return self._steps_of_learned() + self.step

    def due(self, num_steps: int) -> Due:
        """Say what is due at this step of a task of so many; nothing at the last one's end."""
        evals, saves = self.config.train.eval_every, self.runtime.checkpoint_every
        return Due(
            *(
                bool(every) and self.step % every == 0 and self.step < num_steps
                for every in (evals, saves)
            )
        )

    def _steps_of_learned(self) -> int:
        return sum(self.num_steps(task_id) for task_id in range(self.tasks_learned))

    def learner(self) -> Learner:
        """Make the learner of the tasks learned so far; it shares the method with the trial."""
        random = seeding.get_global_state()
        method, digest = self.method.eval(), self.benchmark.digest
        return Learner(
            self.config, method, self._labels(), random, digest, self.benchmark.class_names
        )

    def _labels(self) -> tuple[Labels, ...]:
        return tuple(task.labels for task in self.benchmark.tasks)

    def save(self) -> None:
        """Write a checkpoint, where the runtime names a folder."""
        if self.runtime.checkpoint_dir is None:
            return
        benchmark = self.benchmark
        state: dict[str, Any] = {
            "digest": self.config.digest(),
            "data_digest": benchmark.digest,
            "method": self.method.state_dict(),
            "random": seeding.get_global_state(),
            "tasks_learned": self.tasks_learned,
            "step": self.step,
            "accuracy": self.accuracy,
            "inference": self.inference,
            "unlearned": self.unlearned,
            "seconds": self.seconds,
            "train_seconds": self.train_seconds,
            "plateau": asdict(self.plateau),
            "learner": facts(
                self.config, self.method, self._labels(), benchmark.digest, benchmark.class_names
            ),
        }
        checkpoint.save(Path(self.runtime.checkpoint_dir), self.total_steps, state)

    def restore(self) -> None:
        """Take up the newest readable checkpoint, if there is one.

        Raises:
            ConfigError: it is of another trial, of other data, or written by another version.
        """
        if self.runtime.checkpoint_dir is None:
            return
        folder = Path(self.runtime.checkpoint_dir)
        state = checkpoint.load_latest(folder)
        if state is None:
            return
        for key, mine in (
            ("digest", self.config.digest()),
            ("data_digest", self.benchmark.digest),
        ):
            if state[key] != mine:
                what = "configuration" if key == "digest" else "data"
                raise ConfigError(
                    f"checkpoints in {folder} are of another trial ({what} {state[key]},"
                    f" not {mine}); use another folder"
                )
        try:
            self.method.load_state_dict(state["method"])
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            # The configuration is the same and the file is whole, but its tensors are not ours.
            raise ConfigError(
                f"checkpoints in {folder} were written by another version of hcl; finish the trial"
                " with that version, or delete them to start it again"
            ) from error
        seeding.set_global_state(state["random"])
        for name in ("tasks_learned", "step", "accuracy", "inference", "train_seconds"):
            setattr(self, name, state[name])
        self.unlearned = state.get("unlearned", {})
        self.plateau = Plateau(**state.get("plateau", {}))
        self.seconds_before = state["seconds"]


def start_trial(
    config: TrialConfig,
    runtime: Runtime,
    progress: Callable[[Progress], None] | None,
    benchmark: Benchmark | None = None,
) -> TrialState:
    """Load the data (unless they are given), make the method, and restore the newest checkpoint.

    Raises:
        ConfigError: data missing, or checkpoints of another trial.
    """
    benchmark = benchmark or load_benchmark(config, runtime)
    layout = make_layout(config, len(benchmark.tasks), benchmark.classes_per_task)
    shared = None
    if runtime.classifiers is not None and classifier_digest(config):
        shared = SharedClassifier(Path(runtime.classifiers), config, benchmark.digest)
    weights = None
    if name := config.target.weights:
        weights = given_weights.read(given_weights.find(name, runtime.data_root))
    setup = Setup(
        config, layout, benchmark.input_shape, shared, weights, benchmark.pixel_statistics
    )
    method = make_method(setup)
    trial = TrialState(config, runtime, benchmark, method.to(runtime.device), progress)
    trial.restore()
    return trial


def check_weights_fit(config: TrialConfig, benchmark: Benchmark, runtime: Runtime) -> None:
    """Put the given weights into a target network on torch's meta device, which holds no numbers.

    Raises:
        ConfigError: the file is missing or damaged, or its weights do not fit.
    """
    if name := config.target.weights:
        weights = given_weights.read(given_weights.find(name, runtime.data_root))
        layout = make_layout(config, len(benchmark.tasks), benchmark.classes_per_task)
        shapes = {key: tensor.to("meta") for key, tensor in weights.items()}
        with torch.device("meta"):
            Setup(config, layout, benchmark.input_shape, weights=shapes).build_network()


def load_benchmark(
    config: TrialConfig | Mapping[str, Any], runtime: Runtime | None = None
) -> Benchmark:
    """Load a trial's data onto its device; their digest covers given weights too.

    Args:
        config: the trial, or its settings.
        runtime: device, and folder of the data.

    Raises:
        ConfigError: the settings are wrong, or the data are missing or damaged.
    """
    config, runtime = as_trial(config), runtime or Runtime()
    benchmark = benchmarks.load(config.benchmark, runtime.data_root, runtime.device, config.seed)
    _check_inputs(config, benchmark)
    _check_tasks(config, benchmark)
    if not config.target.weights:
        return benchmark
    path = given_weights.find(config.target.weights, runtime.data_root)
    both = hashlib.sha256(f"{benchmark.digest} {given_weights.digest(path)}".encode())
    return replace(benchmark, digest=both.hexdigest()[:16])


def _check_inputs(config: TrialConfig, benchmark: Benchmark) -> None:
    """Refuse what needs images where a user's own data have none.

    Raises:
        ConfigError: names the setting.
    """
    if len(benchmark.input_shape) == 3:
        return
    if not takes_vectors(config.target.network):
        raise ConfigError(
            f"target/network: {config.target.network} takes images (N, H, W, C) and"
            f" {benchmark.name} has samples of shape {benchmark.input_shape}; use mlp"
        )
    for key, value in (("train/augment", config.train.augment),
                       ("benchmark/normalise", config.benchmark.normalise != "none")):  # fmt: skip
        if value:
            raise ConfigError(f"{key}: {benchmark.name} has no images with channels; leave it out")


def _check_tasks(config: TrialConfig, benchmark: Benchmark) -> None:
    """Refuse tasks of a user's own data that do not fit the trial.

    Raises:
        ConfigError: no validation data to watch, or classes whose shared output is not clear.
    """
    for key in ("plateau_patience", "eval_every"):
        if getattr(config.train, key) and not len(benchmark.tasks[0].val):
            raise ConfigError(
                f"train/{key}: watches validation data, which {benchmark.name} does not"
                " have; set benchmark/val_fraction above 0, e.g. to 0.1"
            )
    if config.benchmark.sequence != "given" or config.scenario != "domain":
        return
    places: dict[int, tuple[int, int]] = {}
    for task in benchmark.tasks:
        for place, label in enumerate(task.labels):
            owner, other = places.setdefault(label, (task.task_id, place))
            if other != place:
                raise ConfigError(
                    "scenario: tasks share their outputs in the domain scenario, but class"
                    f" {label} (in sorted order) is number {other} of task {owner} and number"
                    f" {place} of task {task.task_id}; give all the same classes, or use class or"
                    " task"
                )
