"""Train one seed of one configuration once, recorded in its journal and in MLflow.

The trials of a sweep and `hcl run` use it; it knows neither Ray nor Optuna.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from hcl import Runtime, run
from hcl.results import Progress, Result, TaskReport
from sweeps.workers.context import RunContext
from sweeps.workers.seed_records import Seed, SeedRecords, reason_of


class TrialFailed(RuntimeError):
    """This seed cannot be trained; a retry would end the same way."""


def train_locked(
    seed: Seed,
    context: RunContext,
    on_task: Callable[[TaskReport], None] | None,
    progress: Callable[[Progress], None] | None,
) -> Result:
    """Train a seed without a result, whose folder this process has locked; it goes on if begun.

    Args:
        seed: the one to train.
        context: the run's.
        on_task: called after each newly learned task, once it is in the journal.
        progress: called during training, like `hcl.run`'s.

    Raises:
        TrialFailed: training diverged, memory or disk ran out, or data are missing. The journal
            says so too, unless the disk is full.
    """
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
