"""Train one seed of one configuration once, recorded in its journal and in MLflow.

The trials of a sweep and `hcl run` use it; it knows neither Ray nor Optuna.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from hcl import Runtime, run
from hcl.config import TrialConfig
from hcl.results import Progress, Result, TaskReport
from sweeps.records.disk_full import is_full, no_space
from sweeps.records.folder import only_process
from sweeps.workers.context import RunContext
from sweeps.workers.seed_records import Seed, SeedRecords, mend_journal, read_result, reason_of

WAIT = 120.0  # s for another process in a seed's folder; NFS frees a dead node's locks after 90


class TrialFailed(RuntimeError):
    """This seed cannot be trained; a retry would end the same way."""


def train_seed(
    config: TrialConfig,
    context: RunContext,
    folder: Path,
    trial: int | str,
    on_task: Callable[[TaskReport], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Train one seed, unless `folder` holds its result; go on where a killed process stopped.

    Args:
        config: settings of the training, seed included.
        context: the run's.
        folder: folder of this seed's journal, checkpoints and result.
        trial: number or name of the trial in the sweep.
        on_task: called after each newly learned task, once it is in the journal.
        progress: called during training, like `hcl.run`'s.

    Raises:
        TrialFailed: training diverged, memory or disk ran out, or data are missing. The journal
            says so too, unless the disk is full.
    """
    try:
        with only_process(folder, timeout=WAIT):
            seed = Seed(config, folder, trial)
            if (result := read_result(folder, config)) is not None:
                mend_journal(seed, context)
                return result
            return train_locked(seed, context, on_task, progress)
    except OSError as error:
        if is_full(error):
            raise TrialFailed(no_space(folder)) from error
        raise


def train_locked(
    seed: Seed,
    context: RunContext,
    on_task: Callable[[TaskReport], None] | None,
    progress: Callable[[Progress], None] | None,
) -> Result:
    """Train a seed without a result, whose folder this process has locked; see `train_seed`."""
    records = SeedRecords(seed, context)

    def report(row: TaskReport) -> None:
        records.write_task(row)
        if on_task:
            on_task(row)

    try:
        runtime = replace(runtime_of(context), checkpoint_dir=seed.folder / "checkpoints")
        result = run(seed.config, report, records.watch(progress), runtime)
        result = replace(result, learner=None)  # frees its memory
        result = records.write_result(result)
    except Exception as error:  # recorded whatever it was, then raised
        reason = reason_of(error, seed.folder)
        records.write_failure(error, reason)
        if reason is None:
            raise
        raise TrialFailed(reason) from error
    records.close()
    return result


def runtime_of(context: RunContext) -> Runtime:
    """Make the library's Runtime, and hold this process to its share of a GPU.

    Ray shares a GPU by counting alone. With its share as a limit, a trial that is too large fails
    itself and not its neighbours.
    """
    has_share = context.device.startswith("cuda") and 0 < context.gpu_share < 1
    if has_share and torch.cuda.is_available():  # without a GPU, `hcl.run` says what is wrong
        torch.cuda.set_per_process_memory_fraction(context.gpu_share)
    return Runtime(
        device=context.device,
        data_root=context.data_root,
        threads=context.threads,
        checkpoint_every=context.checkpoint_every,
        classifiers=context.classifiers,
    )
