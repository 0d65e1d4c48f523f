"""Request for a table: its cells and seeds, where records are kept, how missing cells train."""

from dataclasses import dataclass, field
from pathlib import Path

from sweeps.records.folder import SweepFolder
from sweeps.reproduction.table_file import TableSpec
from sweeps.space.settings import SweepSettings
from sweeps.tracking import Store


@dataclass(frozen=True)
class TableRequest:
    """A table that a user asked for.

    Attributes:
        spec: the table's cells, at their budget.
        seeds: seeds of every cell.
        folder: where its records are kept; each budget has its own, and they never mix.
        store: MLflow's.
        runs_from: other sweeps or experiments whose runs count too.
        any_version: count runs of other versions of the numbers and on other data, too.
        data_root: folder with the data sets.
        address: a Ray cluster's; None = this machine.
        settings: resources and retries of a training.
        num_replicas: seeds trained at a time, as a batch, by methods that can.
        command: how a person asked for it.
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
    command: str = ""

    @property
    def output(self) -> Path:
        """Folder that the table's files are written to."""
        return self.folder.storage / "tables" / self.folder.name


def folder_name(spec: TableSpec) -> str:
    """Name the records of a table by the table and its budget."""
    return spec.name if spec.budget == "paper" else f"{spec.name}-{spec.budget}"
