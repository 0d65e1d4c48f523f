"""Train what a table misses, then make it from the records."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcl.config import ConfigError, TrialConfig
from sweeps.launch.fixed_trials import train_fixed
from sweeps.launch.request import make_context
from sweeps.records.folder import SweepFolder
from sweeps.reproduction.results import Collected, cell_label, collect
from sweeps.reproduction.table_file import TableSpec
from sweeps.space.settings import SweepSettings
from sweeps.tracking import Store, prepare
from sweeps.workers.context import RunContext
from sweeps.workers.seed_records import single_seed

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Request:
    """A table to make.

    Attributes:
        spec: its cells, at their budget.
        seeds: of every cell.
        folder: of its records; one for each budget, so that budgets never mix.
        store: of MLflow.
        runs_from: other sweeps or experiments whose runs count too.
        any_version: count runs of other versions of the numbers and on other data.
        data_root: folder with the data sets.
        address: of a Ray cluster; None = this machine.
        settings: resources and retries of a training.
        num_replicas: seeds trained at a time, as a batch, by methods that can.
    """

    spec: TableSpec
    seeds: tuple[int, ...]
    folder: SweepFolder
    store: Store
    runs_from: tuple[str, ...] = ()
    any_version: bool = False
    data_root: str | None = None
    address: str | None = None
    settings: SweepSettings = field(default_factory=SweepSettings)
    num_replicas: int = 1

    @property
    def output(self) -> Path:
        """Folder of the table's files."""
        return self.folder.storage / "tables" / self.folder.name


def folder_name(spec: TableSpec) -> str:
    """Name of a table's records: its own, and its budget."""
    return spec.name if spec.budget == "paper" else f"{spec.name}-{spec.budget}"


def read_cells(request: Request) -> Collected:
    """What the records hold now.

    Raises:
        ConfigError: the store is not reachable.
    """
    sources = (request.folder.name, *request.runs_from)
    return collect(request.spec, request.seeds, request.store, sources, request.any_version)


def missing(request: Request, found: Collected) -> list[TrialConfig]:
    """Trainings that some cell still needs, each once, every cell's first seed first."""
    wanted: dict[str, TrialConfig] = {}
    for seed in request.seeds:
        for result in found.cells.values():
            if seed not in result.runs:
                config = replace(result.cell.config, seed=seed)
                wanted.setdefault(config.digest(), config)
    return list(wanted.values())


def train_missing(request: Request, console: "Console") -> int:
    """Train them through Ray Tune; gives the number that failed.

    Raises:
        ConfigError: data missing, or the store is not reachable.
        KeyboardInterrupt: stopped in order; the same call goes on.
    """
    prepare(request.store)
    todo = missing(request, read_cells(request))
    if not todo:
        return 0
    digests = check_data(request, todo)
    batched = [_in_batches(config, request.num_replicas) for config in todo]
    seeds = [single_seed(c, request.folder, cell_label(c, digests)) for c in batched]
    results = train_fixed(
        request.folder, seeds, _context(request), request.settings, console, request.address
    )
    return sum(result is None for result in results)


def _in_batches(config: TrialConfig, num_replicas: int) -> TrialConfig:
    if num_replicas == 1 or config.method.no_replicas():
        return config
    return replace(config, train=replace(config.train, num_replicas=num_replicas))


def check_data(request: Request, configs: Sequence[TrialConfig]) -> dict[str, str]:
    """Load each benchmark once: missing data are reported here, not by every trial.

    Returns:
        The digest of its data for each configuration, by the configuration's digest without seed.

    Raises:
        ConfigError: data or given weights are missing.
    """
    from hcl.training.process import Runtime
    from hcl.training.trial_state import load_benchmark

    runtime = Runtime(data_root=request.data_root)
    loaded: dict[Any, str] = {}
    digests = {}
    for config in configs:
        data = (config.benchmark, config.target.weights)
        if data not in loaded:
            loaded[data] = load_benchmark(config, runtime).digest
        digests[config.digest(without_seed=True)] = loaded[data]
    return digests


def _context(request: Request) -> RunContext:
    settings = request.settings
    if settings.gpus_per_trial == "auto":
        raise ConfigError("--gpus-per-trial auto: give a number, cells differ in what they need")
    context = make_context(request.store, settings, "table", request.data_root)
    table = {"table": request.spec.name, "budget": request.spec.budget}
    return replace(context, tags={**context.tags, **table})
