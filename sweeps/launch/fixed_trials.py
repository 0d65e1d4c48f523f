"""Fixed configurations, each trained once: no search, Ray Tune only schedules them.

A cell lives in a folder named by its configuration's digest, so asking again, for more seeds or
after an interruption trains what is missing and nothing else. Ray is given lots of cells, of one
each unless `train/num_replicas` asks for more.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcl.config import TrialConfig
from hcl.replicas.groups import group_replicas
from hcl.results import NUMERICS_VERSION, Result, TaskReport
from hcl.storage.shared_classifier import TAKES, classifier_digest
from sweeps.cluster.connection import cluster, set_environment
from sweeps.cluster.interrupt import Interrupt
from sweeps.cluster.tuner import run_trials
from sweeps.records.folder import SweepFolder
from sweeps.space.settings import SweepSettings
from sweeps.workers.seed import Place, TrialFailed, read_result
from sweeps.workers.seed_batch import Seed, train_lot

if TYPE_CHECKING:
    from rich.console import Console


CLASSIFIERS = "classifiers"  # folder of states that cells share, removed once all are done


def config_label(config: TrialConfig) -> str:
    """Name of a cell in its sweep: its settings, all seeds alike. `hcl run` uses the same."""
    return config.digest(without_seed=True)


def cell_folder(folder: SweepFolder, config: TrialConfig) -> Path:
    """Where a cell's journal, checkpoints and result are."""
    return Cell(config, config_label(config), folder).path


@dataclass(frozen=True)
class Cell:
    """A configuration, the name of its records and the sweep they are in."""

    config: TrialConfig
    label: str
    folder: SweepFolder
    classifiers: Path | None = None  # where it shares one with another cell

    @property
    def path(self) -> Path:
        """Of its journal, checkpoints and result."""
        return self.folder.seed_folder(self.label, self.config.seed)


def run_cells(
    configs: Sequence[TrialConfig],
    folder: SweepFolder,
    place: Place,
    console: "Console",
    address: str | None = None,
    settings: SweepSettings | None = None,
    label: Callable[[TrialConfig], str] = config_label,
) -> list[Result | None]:
    """Train every configuration that has no result yet.

    Args:
        configs: seeds included; the same one twice is trained once.
        folder: where their records are kept.
        place: device, MLflow store and tags.
        console: where progress goes.
        address: of a Ray cluster; None = this machine.
        settings: resources and retries of each.
        label: names a configuration's cell, the same for all its seeds.

    Returns:
        A result for each configuration, None where it failed or was interrupted.

    Raises:
        KeyboardInterrupt: after everything was stopped in order.
    """
    set_environment()
    settings = settings or SweepSettings()
    cells = [Cell(config, label(config), folder) for config in configs]
    with folder.lock():
        waiting = {
            cell.path: cell for cell in cells if read_result(cell.path, cell.config) is None
        }
        if waiting:
            with Interrupt() as interrupt:
                todo = share_classifiers(list(waiting.values()))
                together = [
                    [todo[i] for i in lot] for lot in group_replicas([c.config for c in todo])
                ]
                _schedule(together, folder, place, console, address, settings)
            if interrupt.requested:
                raise KeyboardInterrupt
        results = [read_result(cell.path, cell.config) for cell in cells]
        if all(result is not None for result in results):
            shutil.rmtree(folder.path / CLASSIFIERS, ignore_errors=True)
    return results


def share_classifiers(cells: Sequence[Cell]) -> list[Cell]:
    """Let cells take classifiers that others train; those come first.

    Which of them give states costs disk and time, so only those do that some other cell takes.
    Whoever finds none trains its own, with the same result.
    """
    digests = [classifier_digest(cell.config) for cell in cells]
    takes = [cell.config.method_name == TAKES for cell in cells]
    wanted = {digest for digest, taker in zip(digests, takes, strict=True) if taker and digest}
    version = f"v{NUMERICS_VERSION}"
    shared = [
        replace(cell, classifiers=cell.folder.path / CLASSIFIERS / version)
        if digest in wanted
        else cell
        for cell, digest in zip(cells, digests, strict=True)
    ]
    order = sorted(range(len(cells)), key=lambda i: takes[i] and digests[i] is not None)
    return [shared[i] for i in order]


def _schedule(
    together: list[list[Cell]],
    folder: SweepFolder,
    place: Place,
    console: "Console",
    address: str | None,
    settings: SweepSettings,
) -> None:
    with cluster(address, settings) as at_a_time:
        from ray import tune

        from sweeps.cluster.progress import Counts, ProgressCallback

        num_tasks = max(lot[0].config.benchmark.num_tasks for lot in together)
        progress = ProgressCallback(Counts(len(together), num_tasks, mode=""), console)
        run_trials(
            _make_trainable(together, place),
            settings,
            folder,
            progress,
            param_space={"number": tune.grid_search(list(range(len(together))))},
            max_concurrent_trials=at_a_time,
        )


def _make_trainable(together: list[list[Cell]], place: Place) -> Callable[[dict[str, Any]], None]:
    def trainable(choice: dict[str, Any]) -> None:
        from ray import tune

        from sweeps.records.report_keys import FAILURE, NUM_TASKS, OBJECTIVE, TASKS_LEARNED
        from sweeps.workers.trainable import clean_process, import_once

        import_once(place.store)
        lot = together[choice["number"]]
        num_tasks = lot[0].config.benchmark.num_tasks
        of = {NUM_TASKS: num_tasks}

        def on_task(row: TaskReport) -> None:
            if row.tasks_learned < row.num_tasks:
                tune.report({TASKS_LEARNED: row.tasks_learned, **of})

        try:
            seeds = [Seed(cell.config, cell.path, cell.label) for cell in lot]
            shared = next((cell.classifiers for cell in lot if cell.classifiers), None)
            ends = train_lot(seeds, replace(place, classifiers=shared), on_task=on_task)
            failures = [
                f"seed {cell.config.seed}: {end}"
                for cell, end in zip(lot, ends, strict=True)
                if isinstance(end, TrialFailed)
            ]
            if failures:
                tune.report({FAILURE: "; ".join(failures), TASKS_LEARNED: 0, **of})
            else:
                tune.report({OBJECTIVE: 1.0, TASKS_LEARNED: num_tasks, **of})
        finally:
            clean_process()

    return trainable
