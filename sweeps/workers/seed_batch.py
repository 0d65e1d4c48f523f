"""Train several seeds of one configuration as replicas, each recorded as if it were alone."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from hcl import Replica, TrainingDiverged, run_replicas
from hcl.replicas.groups import group_replicas
from hcl.results import Progress, Result, TaskReport
from sweeps.records.disk_full import is_full, no_space
from sweeps.records.folder import only_process
from sweeps.workers.context import RunContext
from sweeps.workers.seed import TrialFailed, runtime_of, train_locked
from sweeps.workers.seed_records import Seed, SeedRecords, mend_journal, read_result, reason_of

WAIT = 120.0  # s for another process in a seed's folder; NFS frees a dead node's locks after 90

OnTask = Callable[[TaskReport], None] | None
OnProgress = Callable[[Progress], None] | None


def group_seeds(seeds: Sequence[Seed]) -> list[list[Seed]]:
    """Group the seeds to train at a time: up to `train/num_replicas` alike, else one."""
    return [[seeds[i] for i in group] for group in group_replicas([seed.config for seed in seeds])]


def train_replicas(
    seeds: Sequence[Seed],
    context: RunContext,
    on_task: OnTask = None,
    progress: OnProgress = None,
) -> list[Result | TrialFailed]:
    """Train the seeds that have no result yet, together; each goes on where it stopped.

    A seed that diverges does not end the others; what ends them all is each one's failure.

    Args:
        seeds: one group of `group_seeds`.
        context: the run's.
        on_task: called after each task that the first seed has newly learned, once it is in
            every seed's journal.
        progress: called while the first seed trains, like `hcl.run`'s.

    Returns:
        Each seed's result, or why it has none.
    """
    try:
        with ExitStack() as locks:
            found: dict[Path, Result | TrialFailed] = {}
            todo = []
            for seed in {seed.folder: seed for seed in seeds}.values():  # each seed once
                locks.enter_context(only_process(seed.folder, timeout=WAIT))
                result = read_result(seed.folder, seed.config)
                if result is None:
                    todo.append(seed)
                else:
                    mend_journal(seed, context)
                    found[seed.folder] = result
            if not todo or todo[0].folder != seeds[0].folder:
                on_task = progress = None  # they are the first seed's, which has its result
            trained = _train(todo, context, on_task, progress)
            found |= {seed.folder: end for seed, end in zip(todo, trained, strict=True)}
            return [found[seed.folder] for seed in seeds]
    except OSError as error:
        if is_full(error):
            return [TrialFailed(no_space(seed.folder)) for seed in seeds]
        raise


def _train(
    todo: list[Seed], context: RunContext, on_task: OnTask, progress: OnProgress
) -> list[Result | TrialFailed]:
    if len(todo) != 1:
        return _Replicas(todo, context).train(on_task, progress) if todo else []
    try:
        return [train_locked(todo[0], context, on_task, progress)]
    except TrialFailed as failure:
        return [failure]


class _Replicas:
    """Replicas under way: their records, and how each of them ended."""

    def __init__(self, seeds: list[Seed], context: RunContext) -> None:
        self.seeds, self.context = seeds, context
        self.records = [SeedRecords(seed, context) for seed in seeds]
        self.ends: list[Result | TrialFailed | None] = [None] * len(seeds)

    def train(self, on_task: OnTask, progress: OnProgress) -> list[Result | TrialFailed]:
        """Train them; return each one's end."""
        replicas = [self._replica(i, on_task, progress) for i in range(len(self.seeds))]
        try:
            for i, result in enumerate(run_replicas(replicas, runtime_of(self.context))):
                if isinstance(result, Result):
                    self.ends[i] = self.records[i].write_result(replace(result, learner=None))
        except Exception as error:  # whatever it was, it is each unfinished seed's failure
            self._fail_the_rest(error)
        for records, end in zip(self.records, self.ends, strict=True):
            if isinstance(end, Result):
                records.close()
        return [end for end in self.ends if end is not None]

    def _replica(self, i: int, on_task: OnTask, progress: OnProgress) -> Replica:
        is_first = i == 0

        def report(row: TaskReport) -> None:
            self.records[i].write_task(row)
            if is_first and on_task:
                on_task(row)

        def diverged(error: TrainingDiverged) -> None:
            self._fail(i, error, str(error))

        return Replica(
            self.seeds[i].config,
            report,
            self.records[i].watch(progress if is_first else None),
            diverged,
            self.seeds[i].folder / "checkpoints",
        )

    def _fail(self, i: int, error: Exception, reason: str | None) -> None:
        self.records[i].write_failure(error, reason)
        self.ends[i] = TrialFailed(reason or str(error))

    def _fail_the_rest(self, error: Exception) -> None:
        """Record what ended the replicas in the journal of each that has no end yet."""
        reason = reason_of(error, self.seeds[0].folder)
        if reason and reason.startswith("out of memory"):
            reason += "; try a smaller train/num_replicas"
        for i, end in enumerate(self.ends):
            if end is None:
                self._fail(i, error, reason)
        if reason is None:
            raise error
