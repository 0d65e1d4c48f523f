"""Could a sweep's trials have been stopped early? Their ranks after k tasks beside the last ones.

Measured on the search's finished trials, for each method. What is quick on early tasks may forget
later, so that early stopping is safe only where early ranks are the last ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sweeps.output.statistics.rank import CONFIDENCE, MIN_RANKED, kendall
from sweeps.output.table import Entry, Table
from sweeps.records.entries import Recorded, method_of
from sweeps.reports.sweep_tables import objectives_of

ENOUGH = 0.6  # tau: 80% of the pairs of trials stand in their last order
MOST_ROWS = 10  # values of k that a person can read
TITLE = "Early stopping"


@dataclass(frozen=True)
class EarlyRank:
    """Ranks after k tasks beside the last ones.

    Attributes:
        method: of the trials.
        trials: how many.
        tasks: k.
        tau: Kendall's, between the objective after k tasks and at the end.
        interval: of tau.
        place: which place the final best had after k tasks, from 1.
    """

    method: str
    trials: int
    tasks: int
    tau: float
    interval: tuple[float, float] | None
    place: int

    @property
    def is_enough(self) -> bool:
        """True where tau is surely at least ENOUGH."""
        return self.interval is not None and self.interval[0] >= ENOUGH


def find_early_ranks(recorded: Recorded) -> list[EarlyRank]:
    """Measure the early ranks of a sweep's finished trials.

    Returns:
        One for each method and number of tasks; none where too few trials have finished, where
        there are several objectives, or where the objective is known at the end alone.
    """
    names, modes = objectives_of(recorded.frame, recorded.settings)
    if len(names) > 1:
        return []
    found: dict[str, dict[str, list[list[float]]]] = {}
    for records in recorded.journals.values():
        start = records[0]
        values = _after_tasks(records, names[0])
        if start["phase"] == "search" and len(values) > 1:
            trials = found.setdefault(method_of(start), {})
            trials.setdefault(str(start["trial"]), []).append(values)
    return [
        rank
        for method, trials in found.items()
        for rank in rank_trials(method, [_mean(seeds) for seeds in trials.values()], modes[0])
    ]


def _after_tasks(records: Sequence[dict[str, Any]], objective: str) -> list[float]:
    """List the objective after each task of a finished training; none of another."""
    if records[-1]["kind"] != "end":
        return []
    tasks = {r["tasks_learned"]: r["metrics"] for r in records if r["kind"] == "task"}
    values = [tasks[k].get(objective) for k in sorted(tasks)]
    return [] if None in values else values


def _mean(seeds: Sequence[Sequence[float]]) -> list[float]:
    return [fmean(values) for values in zip(*seeds, strict=False)]


def rank_trials(method: str, trials: Sequence[Sequence[float]], mode: str) -> list[EarlyRank]:
    """Compare the ranks of trials after each number of tasks with their last ones.

    Args:
        method: name for the table.
        trials: the objective of each trial after each task; those of another length do not count.
        mode: "max" or "min".
    """
    num_tasks = max(map(len, trials), default=0)
    whole = [trial for trial in trials if len(trial) == num_tasks]
    if len(whole) < MIN_RANKED or num_tasks < 2:
        return []
    sign = 1 if mode == "max" else -1
    last = [sign * trial[-1] for trial in whole]
    best, ranks = last.index(max(last)), []
    for k in sorted({1 + i * (num_tasks - 1) // MOST_ROWS for i in range(MOST_ROWS)}):
        early = [sign * trial[k - 1] for trial in whole]
        tau, interval = kendall(early, last)
        place = 1 + sum(value > early[best] for value in early)
        ranks.append(EarlyRank(method, len(whole), k, tau, interval, place))
    return [rank for rank in ranks if rank.tasks < num_tasks]


def stopping_tables(ranks: Sequence[EarlyRank]) -> list[Table]:
    """Show from which number of tasks on early stopping is safe; no table without ranks."""
    if not ranks:
        return []
    columns: dict[str, list[Entry]] = {
        "method": [rank.method for rank in ranks],
        "trials": [str(rank.trials) for rank in ranks],
        "after tasks": [str(rank.tasks) for rank in ranks],
        "Kendall's tau": ["" if rank.tau != rank.tau else f"{rank.tau:.2f}" for rank in ranks],
        f"{CONFIDENCE:.0%} interval": [
            "" if rank.interval is None else "[{:.2f}, {:.2f}]".format(*rank.interval)
            for rank in ranks
        ],
        "place of the last best": [f"{rank.place} of {rank.trials}" for rank in ranks],
    }
    notes = [
        "tau between the objective after so many tasks and at the end, over finished trials of the"
        " search; (1 + tau) / 2 of all pairs of trials stand in their last order",
        *(_advice(method, ranks) for method in dict.fromkeys(rank.method for rank in ranks)),
    ]
    return [Table.from_columns(TITLE, columns, notes)]


def _advice(method: str, ranks: Sequence[EarlyRank]) -> str:
    """Say from which k on all intervals lie above ENOUGH."""
    mine = [rank for rank in ranks if rank.method == method]
    safe = None
    for rank in reversed(mine):
        if not rank.is_enough:
            break
        safe = rank.tasks
    if safe is None:
        return f"{method}: early stopping is not shown to be safe (tau surely above {ENOUGH:g})"
    return f"{method}: early stopping is safe from sweep.grace_tasks {safe} on (tau > {ENOUGH:g})"
