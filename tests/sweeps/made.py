"""Seeds and tables made without Ray, recorded the way `hcl reproduce` records them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hcl.config import TrialConfig
from hcl.results import Result, TaskReport
from sweeps.launch.request import store_of
from sweeps.records.folder import SweepFolder
from sweeps.reproduction.request import TableRequest, folder_name
from sweeps.reproduction.results import cell_label, read_results
from sweeps.reproduction.table_file import TableSpec, parse_table
from sweeps.reproduction.trainings import check_data, missing_trainings
from sweeps.space.yaml_file import parse_yaml
from sweeps.tracking import prepare
from sweeps.workers.context import RunContext
from sweeps.workers.seed import TrialFailed
from sweeps.workers.seed_batch import train_replicas
from sweeps.workers.seed_records import Seed

TINY = """
title: A tiny table
seeds: 2
columns: {si: SI, hnet_ent: HNET+ENT, hnet_tir: HNET+TIR}
bases:
  digits:
    benchmark: {name: split_digits, num_tasks: 2}
    target: {hidden_sizes: [8]}
    train: {iterations: 20, batch_size: 16}
  hnet:
    method: {name: hnet, chunk_size: 100, embedding_size: 4, chunk_embedding_size: 4}
rows:
  CL1:
    base: digits
    cells:
      si: {trial: {method/name: si}, paper: {mean: 12.0, sem: 0.5, mark: CONFIRMED}}
      hnet_ent:
        base: hnet
        trial: {eval_scenarios: [task, class]}
        paper: {mean: 99.0, mark: RECALLED}
  CL3:
    base: digits
    trial: {scenario: class}
    scored: class
    cells:
      hnet_ent: {base: hnet, trial: {scenario: task, eval_scenarios: [task, class]}}
"""


def tiny(text: str = TINY) -> TableSpec:
    return parse_table(parse_yaml(text), "tiny")


def table(text: str, name: str = "tiny") -> TableSpec:
    return parse_table(parse_yaml(text), name)


def request(storage: Path, spec: TableSpec, seeds: tuple[int, ...]) -> TableRequest:
    """Make a request whose store is ready."""
    folder = SweepFolder(storage, folder_name(spec))
    made = TableRequest(spec, seeds, folder, store_of(folder, None))
    prepare(made.store)
    return made


def train_seed(
    config: TrialConfig,
    context: RunContext,
    folder: Path,
    trial: int | str,
    on_task: Callable[[TaskReport], None] | None = None,
) -> Result:
    """Train one seed, unless `folder` holds its result; its failure is raised."""
    (end,) = train_replicas([Seed(config, folder, trial)], context, on_task)
    if isinstance(end, TrialFailed):
        raise end
    return end


def train(request: TableRequest, config: TrialConfig, **changes: object) -> None:
    made = replace(request, data_root=changes.get("data_root"))  # type: ignore[arg-type]
    label = cell_label(config, check_data(made, [config]))
    context = RunContext(request.folder.name, request.store, phase="table", threads=1)
    folder = request.folder.seed_folder(label, config.seed)
    train_seed(config, replace(context, **changes), folder, label)  # type: ignore[arg-type]


def train_all(request: TableRequest, **changes: object) -> None:
    for config in missing_trainings(request, read_results(request)):
        train(request, config, **changes)
