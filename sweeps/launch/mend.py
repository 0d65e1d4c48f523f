"""Repair of journals that were damaged after their training: no worker opens them any more."""

import logging

from hcl.config import ConfigError
from sweeps.launch.request import SweepRequest, make_context
from sweeps.records.folder import only_process, trial_label
from sweeps.records.journal import Journal
from sweeps.records.trial_ends import seed_folders
from sweeps.study.searcher import OptunaSearch
from sweeps.workers.seed_records import Seed, mend_journal

log = logging.getLogger(__name__)


def mend_journals(request: SweepRequest, search: OptunaSearch, parent_run_id: str) -> None:
    """Repair the damaged journals of all trials of a study; what cannot be repaired is logged.

    A seed that a process still trains is left to it.
    """
    folder = request.folder
    damaged = {path for path in folder.journals() if Journal(path).scan()[1]}
    if not damaged:
        return
    settings, data_root = request.settings, request.data_root
    context = make_context(request.store, settings, "search", data_root, parent_run_id)
    for trial in search.study.get_trials(deepcopy=False):
        for path in damaged.intersection(seed_folders(folder, trial.number)):
            seed = int(path.name.removeprefix("seed_"))
            try:
                config = request.space.trial_config(trial.params, seed)
                with only_process(path, timeout=0):
                    mend_journal(Seed(config, path, trial.number), context)
            except (ConfigError, OSError) as error:
                name = f"{trial_label(trial.number)}/{path.name}"
                log.error("the journal of %s cannot be repaired: %s", name, error)
