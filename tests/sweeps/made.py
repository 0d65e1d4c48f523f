"""Tables made from trainings that are recorded as `hcl reproduce` records them, without Ray."""

from dataclasses import replace
from pathlib import Path

from hcl.config import TrialConfig
from sweeps.driver import store_of
from sweeps.folder import SweepFolder
from sweeps.reproduction.results import cell_label
from sweeps.reproduction.run import Request, check_data, folder_name, missing, read_cells
from sweeps.reproduction.spec import TableSpec, parse_table
from sweeps.seed_run import Place, train_seed
from sweeps.tracking import prepare
from sweeps.yaml_file import parse_yaml


def table(text: str, name: str = "tiny") -> TableSpec:
    return parse_table(parse_yaml(text), name)


def request(storage: Path, spec: TableSpec, seeds: tuple[int, ...]) -> Request:
    """Records of the table's name; the store is ready."""
    folder = SweepFolder(storage, folder_name(spec))
    made = Request(spec, seeds, folder, store_of(folder, None))
    prepare(made.store)
    return made


def train(request: Request, config: TrialConfig, **place: object) -> None:
    made = replace(request, data_root=place.get("data_root"))  # type: ignore[arg-type]
    label = cell_label(config, check_data(made, [config]))
    where = Place(request.folder.name, request.store, phase="table", threads=1)
    folder = request.folder.seed_folder(label, config.seed)
    train_seed(config, replace(where, **place), folder, label)  # type: ignore[arg-type]


def train_all(request: Request, **place: object) -> None:
    for config in missing(request, read_cells(request)):
        train(request, config, **place)
