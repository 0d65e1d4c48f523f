"""Trainings that a table still misses: find them, check their data, run them."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from hcl.config import TrialConfig
from sweeps.launch import preflight
from sweeps.launch.fixed_trials import train_fixed
from sweeps.launch.preflight import check_machine, check_records
from sweeps.launch.request import GIVEN, make_context
from sweeps.reports.summary import parent_run
from sweeps.reproduction.request import TableRequest
from sweeps.reproduction.results import TableResults, cell_label, read_results
from sweeps.tracking import prepare
from sweeps.workers.context import RunContext
from sweeps.workers.seed_records import Seed, read_result, single_seed


def missing_trainings(request: TableRequest, results: TableResults) -> list[TrialConfig]:
    """List the trainings that some cell still needs, each once, every cell's first seed first."""
    wanted: dict[str, TrialConfig] = {}
    for seed in request.seeds:
        for result in results.cells.values():
            if seed not in result.runs:
                config = replace(result.cell.config, seed=seed)
                wanted.setdefault(config.digest(), config)
    return list(wanted.values())


def check_table(request: TableRequest) -> list[Seed]:
    """Make every check of a table's start that needs no connection to Ray, and leave nothing.

    A dry run makes the same ones: it calls this function too.

    Returns:
        The trainings that are missing.

    Raises:
        ConfigError: the first thing to mend.
    """
    check_machine(request.settings, request.address)
    check_records(request.folder, request.store)
    request.folder.check_free()
    todo = missing_trainings(request, read_results(request))
    digests = check_data(request, todo)
    batched = [_in_batches(config, request.num_replicas) for config in todo]
    seeds = [single_seed(c, request.folder, cell_label(c, digests)) for c in batched]
    for seed in seeds:
        read_result(seed.folder, seed.config)
    return seeds


def train_missing(request: TableRequest, console: Console) -> None:
    """Train what is missing through Ray Tune.

    Raises:
        ConfigError: the first thing to mend, before anything is made.
        KeyboardInterrupt: the user stopped it; the same call continues.
    """
    seeds = check_table(request)
    prepare(request.store)
    if not seeds:
        return
    folder, settings = request.folder, request.settings
    with parent_run(folder, request.store, request.command) as parent_run_id:
        context = _context(request, parent_run_id)
        train_fixed(folder, seeds, context, settings, console, request.address)


def _in_batches(config: TrialConfig, num_replicas: int) -> TrialConfig:
    if num_replicas == 1 or config.no_replicas():
        return config
    return replace(config, train=replace(config.train, num_replicas=num_replicas))


def check_data(request: TableRequest, configs: Sequence[TrialConfig]) -> dict[str, str]:
    """Load each benchmark and each file of given weights once, before any trial needs them.

    Returns:
        The digest of its data for each configuration, by the configuration's digest without seed.

    Raises:
        ConfigError: data or given weights are missing or damaged.
    """
    facts = preflight.check_data(configs, request.data_root)
    return {digest: known.digest for digest, known in facts.items()}


def _context(request: TableRequest, parent_run_id: str) -> RunContext:
    settings = request.settings
    context = make_context(request.store, settings, "table", request.data_root, parent_run_id)
    table = {"protocol": GIVEN, "table": request.spec.name, "budget": request.spec.budget}
    return replace(context, tags={**context.tags, **table})
