"""Records of one seed: its journal, its result and its MLflow run."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hcl import TrainingDiverged
from hcl.config import ConfigError, TrialConfig, plugins
from hcl.results import NUMERICS_VERSION, Progress, Result, TaskReport
from hcl.storage import checkpoint
from hcl.training.evaluate import name_scores, name_unlearned
from sweeps.output.sample_grid import samples_path, save_samples
from sweeps.records.disk_full import is_full, no_space
from sweeps.records.folder import SweepFolder, run_key, write_atomically
from sweeps.records.journal import Journal
from sweeps.records.mend import mend
from sweeps.tracking import deliver
from sweeps.workers.context import RunContext
from sweeps.workers.usage import Usage, count_operations

log = logging.getLogger(__name__)

# Pauses between two deliveries to MLflow: a longer one while the server does not answer.
DELIVER_EVERY = 2.0  # seconds
DELIVER_AGAIN = 60.0
TOO_LARGE = "Storage size calculation overflowed"  # torch's words for more than 2^63 bytes
NO_CPU_MEMORY = "can't allocate memory"  # torch has no exception class for it


@dataclass(frozen=True)
class Seed:
    """One seed of one configuration, and where its records are.

    Attributes:
        config: settings of the training, seed included.
        folder: folder of its journal, checkpoints and result.
        trial: number or name of its trial in the sweep.
    """

    config: TrialConfig
    folder: Path
    trial: int | str


def single_seed(config: TrialConfig, folder: SweepFolder, label: str = "") -> Seed:
    """Make the seed of a training without a search, named by its settings, all seeds alike.

    Args:
        config: settings of the training, seed included.
        folder: the sweep's.
        label: name in place of the digest of the settings.
    """
    label = label or config.digest(without_seed=True)
    return Seed(config, folder.seed_folder(label, config.seed), label)


class MlflowDelivery:
    """Sends one journal to MLflow now and then; an outage costs nothing but delay.

    Args:
        context: names the store and the parent run.
        folder: folder of the journal.
    """

    def __init__(self, context: RunContext, folder: Path) -> None:
        self.context, self.folder = context, folder
        self._not_before = 0.0

    def send(self, now: bool = False) -> None:
        """Deliver what is new, unless the last delivery was a moment ago and `now` is False."""
        if now or time.monotonic() >= self._not_before:
            arrived = deliver(self.context.store, self.folder, self.context.parent_run_id)
            pause = DELIVER_EVERY if arrived else DELIVER_AGAIN
            self._not_before = time.monotonic() + pause


class SeedRecords:
    """Journal, result and MLflow delivery of one seed under way.

    Making it writes the journal's start, or that the training goes on, and delivers it: the run
    is visible from its start, and no task's time includes MLflow's first call.

    Args:
        seed: whose folder this process has locked.
        context: the run's.
    """

    def __init__(self, seed: Seed, context: RunContext) -> None:
        self.seed, self.context, self.folder = seed, context, seed.folder
        self.journal = Journal(seed.folder)
        self.delivery = MlflowDelivery(context, seed.folder)
        self.usage = Usage(context.device)
        mend_journal(seed, context)
        if self.journal.scan()[0]:
            self.journal.append("resume")
        else:
            self.journal.append("start", **start_fields(seed, context))
        self.delivery.send(now=True)

    def write_task(self, row: TaskReport) -> None:
        """Record a learned task, with a picture of what a replay model generates."""
        picture = {}
        if row.samples is not None:
            picture["samples"] = save_samples(row.samples, self.folder, row.tasks_learned).name
        curves = {} if row.curves is None else {"curves": row.curves}
        self.journal.append(
            "task",
            **picture,
            **curves,
            tasks_learned=row.tasks_learned,
            metrics=row.metrics,
            seconds=row.seconds,
            steps_per_second=row.steps_per_second,
            usage=self.usage.metrics(),
        )
        self.delivery.send()

    def watch(self, progress: Callable[[Progress], None] | None) -> Callable[[Progress], None]:
        """Make a callback that records scores within tasks and goes on to `progress`."""

        def watched(place: Progress) -> None:
            self.usage.look()
            if place.scores:
                losses = {f"loss/{name}": value for name, value in place.losses.items()}
                metrics = {**place.scores, **losses}
                self.journal.append("scores", total_steps=place.total_steps, metrics=metrics)
                self.delivery.send()
            elif progress:
                progress(place)

        return watched

    def write_result(self, result: Result) -> Result:
        """Write the journal's end, then result.json.

        It has no learner: the checkpoint does, and a count takes as much memory again.
        """
        if self.context.phase != "search":
            counted = count_operations(self.seed.config, self.context)
            result = replace(result, metrics=result.metrics | counted)
        self.journal.append("end", **end_fields(result))
        # The result comes last: whoever finds it need not train or record anything again.
        write_atomically(self.folder / "result.json", json.dumps(result.to_dict()))
        return result

    def close(self) -> None:
        """Keep the final state alone of a finished training, and deliver the rest."""
        checkpoint.trim(self.folder / "checkpoints", keep=1)
        mend_journal(self.seed, self.context)
        self.delivery.send(now=True)

    def write_failure(self, error: Exception, reason: str | None) -> None:
        """Record why a training ended without a result, and deliver it.

        The field `again` lets the next start train it again: a person may have mended a full
        disk or missing data. A training that diverged would diverge again.

        Args:
            error: what ended it.
            reason: `reason_of(error)`; None = the error itself is the reason.
        """
        try:
            self.journal.append(
                "failed",
                reason=reason or f"{type(error).__name__}: {error}",
                status="FAILED",
                again=not isinstance(error, TrainingDiverged),
            )
        except OSError as write_error:
            if not is_full(write_error):  # on a full disk the driver alone keeps the reason
                raise
        self.delivery.send(now=True)


def start_fields(seed: Seed, context: RunContext) -> dict[str, Any]:
    """Return the fields of a journal's "start"."""
    config = seed.config
    ids = {
        "config_id": config.digest(without_seed=True),
        "config_digest": config.digest(),
        "numerics_version": NUMERICS_VERSION,
    }
    labels = {}
    if plugins.is_import_path(config.method_name):  # tables are made where nobody can import it
        labels = {f"label_{name}": config.method.label(name) for name in config.eval_scenarios}
    return {
        "run_key": run_key(context.sweep, seed.trial, config.seed),
        "sweep": context.sweep,
        "trial": seed.trial,
        "seed": config.seed,
        "phase": context.phase,
        "params": config.to_dict(),
        "tags": {**context.tags, **ids, **labels},
    }


def end_fields(result: Result) -> dict[str, Any]:
    """Return the fields of a journal's "end"."""
    return {
        "metrics": result.metrics,
        "accuracy": result.accuracy,
        "status": "FINISHED",
        "data_digest": result.data_digest,
        "versions": result.versions,
    }


def mend_journal(seed: Seed, context: RunContext) -> bool:
    """Repair a seed's journal where lines of it are damaged, and deliver it; log one sentence.

    Scores come from the newest checkpoint, or from the result; what a training that goes on will
    report itself is left to it. Of a lost task its losses and its speed are not made again. This
    process has locked the seed's folder.

    Returns:
        Whether something was damaged.

    Raises:
        ConfigError: the result is damaged too.
        OSError: the disk did not take it.
    """
    journal = Journal(seed.folder)
    if not journal.scan()[1]:
        return False
    result = read_result(seed.folder, seed.config)
    end = None if result is None else end_fields(result)
    damages = mend(journal, start_fields(seed, context), _learned_tasks(seed, result), end)
    log.warning("%s; it was set aside and its records were made again", damages[0])
    deliver(context.store, seed.folder, context.parent_run_id)
    return True


def _learned_tasks(seed: Seed, result: Result | None) -> list[dict[str, Any]]:
    """Return the fields of a "task" record for each task that is learned for good."""
    state = checkpoint.load_latest(seed.folder / "checkpoints")
    if state is not None:
        accuracy, inference = state["accuracy"], state["inference"]
        unlearned = state.get("unlearned", {})
    elif result is not None:
        accuracy, inference, unlearned = result.accuracy, result.inference, result.unlearned
    else:
        return []
    score = "mse" if seed.config.benchmark.info.is_regression else "accuracy"
    tasks = []
    for learned in range(1, 1 + max(map(len, accuracy.values()), default=0)):
        metrics: dict[str, float] = {}
        for name, rows in accuracy.items():
            inferred = inference.get(name, [])[learned - 1 : learned]
            metrics |= name_scores(name, score, rows[learned - 1], *inferred)
        for name, rows in unlearned.items():
            metrics |= name_unlearned(name, learned, *rows[learned - 1 : learned])
        samples = samples_path(seed.folder, learned)
        picture = {"samples": samples.name} if samples.exists() else {}
        tasks.append({"tasks_learned": learned, "metrics": metrics, **picture})
    return tasks


def read_result(folder: Path, config: TrialConfig) -> Result | None:
    """Read the finished result in `folder`; None where there is none.

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


def reason_of(error: Exception, folder: Path) -> str | None:
    """Return one sentence for a failure that a retry would repeat; None where it may not.

    Ray retries a trial that raises. Retrying what fails the same way again costs hours, so these
    failures are reported instead.
    """
    if is_full(error):
        return no_space(folder)
    if isinstance(error, TrainingDiverged | ConfigError):
        return str(error)
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in text for words in (NO_CPU_MEMORY, TOO_LARGE)
    ):
        return f"out of memory: {text.splitlines()[0] if text else 'no details'}"
    return None
