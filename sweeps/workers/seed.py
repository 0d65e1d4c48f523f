"""One seed of one configuration: trained once, recorded in its journal, delivered to MLflow.

Used by the trials of a sweep and by `hcl run`; knows nothing of Ray or Optuna.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcl.config import ConfigError, TrialConfig
from hcl.results import NUMERICS_VERSION, Progress, Result, TaskReport
from sweeps.output.sample_grid import save_samples
from sweeps.records.disk_full import is_full, no_space
from sweeps.records.folder import only_process, trial_label, write_atomically
from sweeps.records.journal import Journal
from sweeps.tracking import Store, deliver

if TYPE_CHECKING:
    from hcl import Runtime

# Per-task deliveries: not more often than this, and rarer while the server does not answer.
DELIVER_EVERY = 2.0  # seconds
DELIVER_AGAIN = 60.0
WAIT = 120.0  # for another process in a seed's folder: NFS frees a dead machine's locks after 90 s
TOO_LARGE = "Storage size calculation overflowed"  # torch, of more than 2^63 bytes


class TrialFailed(RuntimeError):
    """This seed cannot be trained; trying again at once would end the same way."""


@dataclass(frozen=True)
class Place:
    """Where seeds are trained and recorded; the same for all of a sweep.

    Attributes:
        sweep: its name.
        store: of MLflow.
        parent_run_id: the sweep's MLflow run.
        tags: of every run, e.g. git_commit.
        phase: "search", "confirm", "single".
        device: "cpu" or "cuda".
        gpu_share: of a GPU's memory that is this process's; the rest is its neighbours'.
        threads: of torch on the CPU.
        data_root: folder with the data sets.
        checkpoint_every: steps; 0 = after every task only.
        classifiers: folder in which trials share classifiers; None = they do not.
    """

    sweep: str
    store: Store
    parent_run_id: str | None = None
    tags: dict[str, Any] = field(default_factory=dict)
    phase: str = "search"
    device: str = "cpu"
    gpu_share: float = 1.0
    threads: int | None = None
    data_root: str | None = None
    checkpoint_every: int = 0
    classifiers: Path | None = None


def train_seed(
    config: TrialConfig,
    place: Place,
    folder: Path,
    trial: int | str,
    on_task: Callable[[TaskReport], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Train, unless `folder` already holds the result; go on where a killed process stopped.

    Args:
        config: what to train.
        place: where.
        folder: of this seed's journal, checkpoints and result.
        trial: number or name in the sweep.
        on_task: called after each newly learned task, once it is in the journal.
        progress: as `hcl.run`'s.

    Raises:
        TrialFailed: diverged, out of memory, no space left, or the data are missing; it is in
            the journal, unless that did not fit either.
    """
    try:
        with only_process(folder, timeout=WAIT):
            if (result := read_result(folder, config)) is not None:
                return result
            return train_locked(config, place, folder, trial, on_task, progress)
    except OSError as error:
        if is_full(error):
            raise TrialFailed(no_space(folder)) from error
        raise


def train_locked(
    config: TrialConfig,
    place: Place,
    folder: Path,
    trial: int | str,
    on_task: Callable[[TaskReport], None] | None,
    progress: Callable[[Progress], None] | None,
) -> Result:
    """As `train_seed`, of a seed without a result, whose folder this process has locked."""
    journal, courier = Journal(folder), Courier(place, folder)
    open_journal(journal, config, place, trial)
    courier.send(now=True)  # the run is seen from its start, and MLflow imported untimed
    try:
        result = _train(config, place, folder, reporter(journal, courier, on_task), progress)
        write_result(journal, result)
    except Exception as error:  # recorded whatever it was, then raised
        reason = reason_of(error, folder)
        note_failure(journal, error, reason)
        courier.send(now=True)
        if reason is None:
            raise
        raise TrialFailed(reason) from error
    keep_last_state(folder)
    courier.send(now=True)
    return result


def write_result(journal: Journal, result: Result) -> None:
    """The journal's end and result.json."""
    journal.append(
        "end",
        metrics=result.metrics,
        accuracy=result.accuracy,
        status="FINISHED",
        data_digest=result.data_digest,
        versions=result.versions,
    )
    # The result is last: whoever sees it need not train or record anything again.
    write_atomically(journal.path.parent / "result.json", json.dumps(result.to_dict()))


def note_failure(journal: Journal, error: Exception, reason: str | None) -> None:
    """`again`: the next start tries again, for a person may have mended the cause."""
    from hcl import TrainingDiverged

    try:
        journal.append(
            "failed",
            reason=reason or f"{type(error).__name__}: {error}",
            status="FAILED",
            again=not isinstance(error, TrainingDiverged),
        )
    except OSError as full:
        if not is_full(full):  # else the driver is told the reason, and keeps it
            raise


def keep_last_state(folder: Path) -> None:
    """One checkpoint is enough of a finished training: its final state."""
    from hcl.storage import checkpoint  # imports torch

    checkpoint.trim(folder / "checkpoints", keep=1)


def read_result(folder: Path, config: TrialConfig) -> Result | None:
    """The finished result in `folder`, or None.

    Raises:
        ConfigError: it is damaged, or another configuration's.
    """
    path = folder / "result.json"
    try:
        result = Result.from_dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{path} is damaged ({why}); remove it to train again") from None
    if TrialConfig.from_dict(result.config).digest() != config.digest():
        raise ConfigError(f"{folder} holds another configuration's result; use another --name")
    return result


def reporter(
    journal: Journal, courier: "Courier", on_task: Callable[[TaskReport], None] | None
) -> Callable[[TaskReport], None]:
    """What writes a learned task into the journal, delivers it and tells `on_task`."""

    def report(row: TaskReport) -> None:
        picture = {}
        if row.samples is not None:
            folder = journal.path.parent
            picture["samples"] = save_samples(row.samples, folder, row.tasks_learned).name
        journal.append(
            "task",
            **picture,
            tasks_learned=row.tasks_learned,
            metrics=row.metrics,
            seconds=row.seconds,
            steps_per_second=row.steps_per_second,
        )
        courier.send()
        if on_task:
            on_task(row)

    return report


def _train(
    config: TrialConfig,
    place: Place,
    folder: Path,
    report: Callable[[TaskReport], None],
    progress: Callable[[Progress], None] | None,
) -> Result:
    from hcl import run  # imports torch

    runtime = replace(runtime_at(place), checkpoint_dir=folder / "checkpoints")
    return run(config, report=report, progress=progress, runtime=runtime)


def runtime_at(place: Place) -> "Runtime":
    """Device, threads and data of a place, whose share of a GPU this process keeps to."""
    from hcl import Runtime  # imports torch

    if place.device.startswith("cuda") and 0 < place.gpu_share < 1:
        _stay_in_share(place)
    return Runtime(
        device=place.device,
        data_root=place.data_root,
        threads=place.threads,
        checkpoint_every=place.checkpoint_every,
        classifiers=place.classifiers,
    )


def _stay_in_share(place: Place) -> None:
    """Ray shares a GPU by count alone: too large a trial shall fail itself, not its neighbours."""
    import torch

    if torch.cuda.is_available():  # else `hcl.run` says what is wrong
        torch.cuda.set_per_process_memory_fraction(place.gpu_share)


def open_journal(journal: Journal, config: TrialConfig, place: Place, trial: int | str) -> None:
    """Say who begins, or that it goes on."""
    if journal.records():
        journal.append("resume")
        return
    ids = {
        "config_id": config.digest(without_seed=True),
        "config_digest": config.digest(),
        "numerics_version": NUMERICS_VERSION,
    }
    journal.append(
        "start",
        run_key=f"{place.sweep}/{trial_label(trial)}/seed_{config.seed}",
        sweep=place.sweep,
        trial=trial,
        seed=config.seed,
        phase=place.phase,
        params=config.to_dict(),
        tags={**place.tags, **ids},
    )


class Courier:
    """Brings the journal to MLflow now and then; an outage costs nothing but delay."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place, self.folder = place, folder
        self.not_before = 0.0

    def send(self, now: bool = False) -> None:
        if now or time.monotonic() >= self.not_before:
            arrived = deliver(self.place.store, self.folder, self.place.parent_run_id)
            pause = DELIVER_EVERY if arrived else DELIVER_AGAIN
            self.not_before = time.monotonic() + pause


def reason_of(error: Exception, folder: Path) -> str | None:
    """One sentence for an end that would come again, None for one that may not."""
    import torch

    from hcl import TrainingDiverged

    if is_full(error):
        return no_space(folder)
    if isinstance(error, TrainingDiverged | ConfigError):
        return str(error)
    # torch has no exception class of its own for the CPU's memory.
    told = any(words in str(error) for words in ("can't allocate memory", TOO_LARGE))
    if told or isinstance(error, torch.OutOfMemoryError | MemoryError):
        return f"out of memory: {str(error).splitlines()[0] if str(error) else 'no details'}"
    return None
