"""Several seeds of one configuration trained at a time, each recorded as if it were alone."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hcl.config import TrialConfig
from hcl.replicas.groups import group_replicas
from hcl.results import Progress, Result, TaskReport
from sweeps.records.disk_full import is_full, no_space
from sweeps.records.folder import only_process
from sweeps.records.journal import Journal
from sweeps.workers.seed import (
    WAIT,
    Courier,
    Place,
    TrialFailed,
    keep_last_state,
    note_failure,
    open_journal,
    read_result,
    reason_of,
    reporter,
    runtime_at,
    train_locked,
    write_result,
)

if TYPE_CHECKING:
    from hcl import Replica, TrainingDiverged


@dataclass(frozen=True)
class Seed:
    """What to train and where its records are.

    Attributes:
        config: seed included.
        folder: of its journal, checkpoints and result.
        trial: number or name in the sweep.
    """

    config: TrialConfig
    folder: Path
    trial: int | str


def in_lots(seeds: Sequence[Seed]) -> list[list[Seed]]:
    """Those to train at a time: up to `train/num_replicas` that are alike."""
    return [[seeds[i] for i in lot] for lot in group_replicas([seed.config for seed in seeds])]


def train_lot(
    seeds: Sequence[Seed],
    place: Place,
    on_task: Callable[[TaskReport], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Result | TrialFailed]:
    """Train the seeds that have no result yet, as one batch; each goes on where it stopped.

    One that diverges does not end the others; what ends all is each one's failure.

    Args:
        seeds: as `in_lots` puts them together.
        place: where.
        on_task: called after each task that the first seed has newly learned, once it is in
            every seed's journal.
        progress: of the first seed, as `hcl.run`'s.

    Returns:
        For each seed its result, or why it has none.
    """
    try:
        with ExitStack() as locks:
            found: dict[Path, Result | TrialFailed] = {}
            todo = []
            for seed in {seed.folder: seed for seed in seeds}.values():  # one may be asked twice
                locks.enter_context(only_process(seed.folder, timeout=WAIT))
                result = read_result(seed.folder, seed.config)
                if result is None:
                    todo.append(seed)
                else:
                    found[seed.folder] = result
            is_told = bool(todo) and todo[0].folder == seeds[0].folder
            trained = _train(todo, place, *((on_task, progress) if is_told else (None, None)))
            found |= {seed.folder: end for seed, end in zip(todo, trained, strict=True)}
            return [found[seed.folder] for seed in seeds]
    except OSError as error:
        if is_full(error):
            return [TrialFailed(no_space(seed.folder)) for seed in seeds]
        raise


def _train(
    todo: list[Seed],
    place: Place,
    on_task: Callable[[TaskReport], None] | None,
    progress: Callable[[Progress], None] | None,
) -> list[Result | TrialFailed]:
    if len(todo) != 1:
        return _Lot(todo, place).train(on_task, progress) if todo else []
    seed = todo[0]
    try:
        return [train_locked(seed.config, place, seed.folder, seed.trial, on_task, progress)]
    except TrialFailed as failure:
        return [failure]


class _Lot:
    """The records of seeds under way."""

    def __init__(self, seeds: list[Seed], place: Place) -> None:
        self.seeds, self.place = seeds, place
        self.journals = [Journal(seed.folder) for seed in seeds]
        self.couriers = [Courier(place, seed.folder) for seed in seeds]
        self.ends: list[Result | TrialFailed | None] = [None] * len(seeds)
        for seed, journal, courier in zip(seeds, self.journals, self.couriers, strict=True):
            open_journal(journal, seed.config, place, seed.trial)
            courier.send(now=True)

    def train(
        self,
        on_task: Callable[[TaskReport], None] | None,
        progress: Callable[[Progress], None] | None,
    ) -> list[Result | TrialFailed]:
        from hcl import Result, run_replicas  # imports torch

        replicas = [self._replica(i, on_task, progress) for i in range(len(self.seeds))]
        try:
            for i, result in enumerate(run_replicas(replicas, runtime_at(self.place))):
                if isinstance(result, Result):
                    write_result(self.journals[i], result)
                    self.ends[i] = result
        except Exception as error:  # whatever it was, it is each unfinished seed's failure
            self._fail_the_rest(error)
        for i, end in enumerate(self.ends):
            if isinstance(end, Result):
                keep_last_state(self.seeds[i].folder)
                self.couriers[i].send(now=True)
        return [end for end in self.ends if end is not None]

    def _replica(
        self,
        i: int,
        on_task: Callable[[TaskReport], None] | None,
        progress: Callable[[Progress], None] | None,
    ) -> "Replica":
        from hcl import Replica

        def diverged(error: "TrainingDiverged") -> None:
            self._fail(i, error, str(error))

        seed, is_first = self.seeds[i], i == 0
        return Replica(
            seed.config,
            reporter(self.journals[i], self.couriers[i], on_task if is_first else None),
            progress if is_first else None,
            diverged,
            seed.folder / "checkpoints",
        )

    def _fail(self, i: int, error: Exception, reason: str | None) -> None:
        note_failure(self.journals[i], error, reason)
        self.couriers[i].send(now=True)
        self.ends[i] = TrialFailed(reason or str(error))

    def _fail_the_rest(self, error: Exception) -> None:
        """What ended the batch, in the journal of each that has no end yet."""
        reason = reason_of(error, self.seeds[0].folder)
        if reason and reason.startswith("out of memory"):
            reason += "; try a smaller train/num_replicas"
        for i, end in enumerate(self.ends):
            if end is None:
                self._fail(i, error, reason)
        if reason is None:
            raise error
