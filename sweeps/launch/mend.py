"""Repair of journals that were damaged after their training: no worker opens them any more."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hcl.config import ConfigError, TrialConfig
from sweeps.launch.request import SweepRequest
from sweeps.records.folder import only_process
from sweeps.records.journal import Journal
from sweeps.records.trial_ends import readable_records, seed_folders
from sweeps.study.searcher import OptunaSearch
from sweeps.workers.context import RunContext
from sweeps.workers.seed_records import Seed, mend_journal, single_seed

log = logging.getLogger(__name__)


def mend_journals(request: SweepRequest, search: OptunaSearch, parent_run_id: str) -> None:
    """Repair the damaged journals of a sweep; what cannot be repaired is logged.

    Those of all trials of the study, and those of `hcl confirm`. A seed that a process still
    trains is left to it.
    """
    folder = request.folder
    damaged = {path for path in folder.journals() if Journal(path).scan()[1]}
    if not damaged:
        return
    context = request.context("search", parent_run_id)
    for trial in search.study.get_trials(deepcopy=False):
        for path in damaged.intersection(seed_folders(folder, trial.number)):
            damaged.remove(path)
            with _errors_logged(path):
                number = int(path.name.removeprefix("seed_"))
                config = request.space.trial_config(trial.params, number)
                _mend(Seed(config, path, trial.number), context)
    for path in damaged:
        with _errors_logged(path):
            _mend(_confirmed_seed(request, path), replace(context, phase="confirm"))


def _mend(seed: Seed, context: RunContext) -> None:
    with only_process(seed.folder, timeout=0):
        mend_journal(seed, context)


@contextmanager
def _errors_logged(path: Path) -> Iterator[None]:
    try:
        yield
    except (ConfigError, OSError) as error:
        name = f"{path.parent.name}/{path.name}"
        log.error("the journal of %s cannot be repaired: %s", name, error)


def _confirmed_seed(request: SweepRequest, path: Path) -> Seed:
    """Return the seed that `hcl confirm` trained in a folder, by its result or its journal.

    Raises:
        ConfigError: neither has the settings to which the folder belongs.
    """
    for settings in _recorded_settings(path):
        seed = single_seed(TrialConfig.from_dict(settings), request.folder)
        if seed.folder == path:
            return seed
    raise ConfigError("the settings of its training are lost; hcl confirm repairs it")


def _recorded_settings(path: Path) -> Iterator[dict[str, Any]]:
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        yield json.loads((path / "result.json").read_text())["config"]
    yield from (record["params"] for record in readable_records(path) if record["kind"] == "start")
