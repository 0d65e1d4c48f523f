"""The driver from Python: a sweep, its runs as a table, its report, a comparison.

`sweeps` hands these functions on, as `sweeps.run_sweep` and so on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from hcl.learners import Learner
from sweeps.commands.options import find_store
from sweeps.launch import run_sweep as launch
from sweeps.launch.outcome import Outcome
from sweeps.launch.request import SweepRequest
from sweeps.records.folder import SweepFolder
from sweeps.reports import compare as comparing
from sweeps.reports import report as reporting
from sweeps.space import search_space
from sweeps.space.bundled import find_file
from sweeps.tracking import Store, runs_frame
from sweeps.tracking.learners.find import find_learner

STORAGE = "storage"  # folder of everything, as in the commands


def run_sweep(
    space: str | Path | Mapping[str, Any],
    name: str | None = None,
    storage: str | Path = STORAGE,
    tracking_uri: str | None = None,
    address: str | None = None,
    **settings: Any,
) -> Outcome:
    """Search hyperparameters, as `hcl sweep` does; a sweep of this name goes on where it stopped.

    Should Ray die, this process ends with status 3; the next call goes on.

    Args:
        space: a search space: its file, the name of a bundled one, or what its file holds.
        name: name of the sweep; None = the file's.
        storage: folder of everything.
        tracking_uri: MLflow server or database; None = a file in `storage`.
        address: address of a Ray cluster; None = this machine.
        settings: settings that replace those of the section `sweep`, such as `num_trials=8`;
            also `data_root`, the folder of the data sets, and `quiet`, to print nothing.

    Returns:
        The best trials, the failed ones and the counts.

    Raises:
        ConfigError: anything a user can fix, before the first trial.
    """
    quiet, data_root = settings.pop("quiet", False), settings.pop("data_root", None)
    if isinstance(space, Mapping):
        parsed = search_space.parse(space, name or "sweep")
    else:
        parsed = search_space.load(find_file(space, "search space"))
    parsed = parsed.with_sweep(**settings)
    folder = SweepFolder(Path(storage), name or parsed.name)
    request = SweepRequest(
        parsed, folder, address, tracking_uri, data_root=data_root, command="sweeps.run_sweep"
    )
    return launch.run_sweep(request, Console(quiet=quiet))


def runs(
    sweep: str | None = None, storage: str | Path = STORAGE, tracking_uri: str | None = None
) -> pd.DataFrame:
    """Read one row per seed: settings, scores and tags.

    Args:
        sweep: name of a sweep; None = all.
        storage: folder of everything.
        tracking_uri: MLflow server or database; None = the one that the sweep was recorded in.

    Returns:
        See `sweeps.tracking.runs_frame`.

    Raises:
        ConfigError: the store is not reachable.
    """
    return runs_frame(_store(sweep, storage, tracking_uri), sweep)


def load(
    run: str | Path,
    storage: str | Path = STORAGE,
    tracking_uri: str | None = None,
    device: str = "cpu",
) -> Learner:
    """Load the trained learner of a run, with the code of your own that it was trained with.

    Args:
        run: name of a sweep, of whose best trial one seed is taken; name of a run,
            SWEEP/0003/seed_1; id of an MLflow run; or a folder or file, as `hcl.load` takes them.
        storage: folder of everything.
        tracking_uri: MLflow store of the run; None = the file in `storage`.
        device: where it goes, such as "cuda".

    Raises:
        ConfigError: there is no such run, or it has no learner that can be read.
    """
    return find_learner(str(run), Path(storage), tracking_uri, device)


def report(
    sweep: str,
    form: str = "markdown",
    storage: str | Path = STORAGE,
    tracking_uri: str | None = None,
) -> str:
    """Write the tables of one sweep, as `hcl report` does.

    Args:
        sweep: name of the sweep.
        form: markdown, latex, csv, json or terminal.
        storage: folder of everything.
        tracking_uri: as in `runs`.

    Raises:
        ConfigError: there is no such sweep or form.
    """
    return reporting.report(sweep, _store(sweep, storage, tracking_uri), form)


def compare(
    sweeps: Sequence[str] = (),
    methods: Sequence[str] = (),
    metric: str = "average_accuracy",
    form: str = "markdown",
    mixed: bool = False,
    storage: str | Path = STORAGE,
    tracking_uri: str | None = None,
) -> str:
    """Write an ablation table of sweeps and methods, and paired tests over their seeds.

    Args:
        sweeps: names of sweeps; none = all.
        methods: registry keys of the methods to keep; none = all.
        metric: also learning_accuracy, forgetting, backward_transfer.
        form: markdown, latex, csv, json or terminal.
        mixed: show methods of unequal protocols, seeds or data too, without tests.
        storage: folder of everything.
        tracking_uri: as in `runs`, of the first sweep.

    Raises:
        ConfigError: a sweep or a method has no finished run, methods cannot be compared, or there
            is no such form.
    """
    store = _store(sweeps[0] if sweeps else None, storage, tracking_uri)
    write = reporting.form_of(form)
    frame = runs_frame(store)
    compared = comparing.runs_to_compare(frame, store.shown_uri, sweeps, methods, metric)
    return write(comparing.comparison_tables(compared, metric, mixed))


def _store(sweep: str | None, storage: str | Path, tracking_uri: str | None) -> Store:
    return find_store(SweepFolder(Path(storage), sweep or "any"), tracking_uri)
