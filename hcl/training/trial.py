"""A trial under way: what survives a restart, how it is saved and found again."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hcl import seeding
from hcl.benchmarks.arrays import Benchmark
from hcl.config import ConfigError, TrialConfig
from hcl.methods import Method
from hcl.results import Matrix, Progress
from hcl.storage import checkpoint
from hcl.training.schedule import Plateau, num_steps


@dataclass(frozen=True)
class Runtime:
    """How and where a trial runs; nothing here changes what it computes.

    Attributes:
        device: "cpu", "cuda", "cuda:1".
        data_root: folder with the data sets; None = env HCL_DATA, else ~/.cache/hcl/data.
        threads: CPU threads of torch; None = leave as it is. Equal threads, equal bits.
        checkpoint_dir: where to write and look for checkpoints; None = none.
        checkpoint_every: steps between checkpoints inside a task; 0 = at task boundaries only.
        classifiers: folder in which trials share a classifier that is the same in both
            (hcl.storage.shared_classifier); None = every trial trains its own.
    """

    device: str = "cpu"
    data_root: Path | str | None = None
    threads: int | None = None
    checkpoint_dir: Path | str | None = None
    checkpoint_every: int = 0
    classifiers: Path | str | None = None


@dataclass
class Trial:
    """What the training loop reads and writes."""

    config: TrialConfig
    runtime: Runtime
    benchmark: Benchmark
    method: Method
    progress: Callable[[Progress], None] | None
    tasks_learned: int = 0
    step: int = 0  # finished steps of the current task
    accuracy: dict[str, Matrix] = field(default_factory=dict)
    inference: dict[str, Matrix] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    plateau: Plateau = field(default_factory=Plateau)  # of the current task
    seconds_before: float = 0.0  # spent by earlier processes
    train_seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the trial first started, without the time it was down."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def steps_per_second(self) -> float:
        """Training speed so far, evaluation left out."""
        return self._steps_of_learned() / max(self.train_seconds, 1e-9)

    def num_samples(self, task_id: int) -> int:
        """Training samples that a task's batches are drawn from."""
        first = 0 if self.method.trains_on_all_tasks else task_id
        return sum(len(task.train) for task in self.benchmark.tasks[first : task_id + 1])

    def num_steps(self, task_id: int) -> int:
        """Training steps of a task."""
        return num_steps(self.config.train, self.num_samples(task_id))

    def _steps_of_learned(self) -> int:
        return sum(self.num_steps(task_id) for task_id in range(self.tasks_learned))

    def save(self) -> None:
        """Write a checkpoint, where the runtime names a folder."""
        if self.runtime.checkpoint_dir is None:
            return
        number = self._steps_of_learned() + self.step
        state: dict[str, Any] = {
            "digest": self.config.digest(),
            "data_digest": self.benchmark.digest,
            "method": self.method.state_dict(),
            "random": seeding.get_global_state(),
            "tasks_learned": self.tasks_learned,
            "step": self.step,
            "accuracy": self.accuracy,
            "inference": self.inference,
            "seconds": self.seconds,
            "train_seconds": self.train_seconds,
            "plateau": asdict(self.plateau),
        }
        checkpoint.save(Path(self.runtime.checkpoint_dir), number, state)

    def restore(self) -> None:
        """Go on from the newest readable checkpoint, if there is one.

        Raises:
            ConfigError: it is of another trial, other data, or another version's form.
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
            # Of the same configuration, and whole (it has a checksum), but of other tensors.
            raise ConfigError(
                f"checkpoints in {folder} were written by another version of hcl; finish the trial"
                " with that version, or delete them to start it again"
            ) from error
        seeding.set_global_state(state["random"])
        for name in ("tasks_learned", "step", "accuracy", "inference", "train_seconds"):
            setattr(self, name, state[name])
        self.plateau = Plateau(**state.get("plateau", {}))
        self.seconds_before = state["seconds"]
