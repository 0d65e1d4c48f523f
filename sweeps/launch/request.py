"""What a sweep is asked to do, and where its records go."""

from dataclasses import dataclass

from sweeps.records.folder import SweepFolder
from sweeps.space.search_space import SearchSpace
from sweeps.tracking import Store, local_store


@dataclass(frozen=True)
class SweepRequest:
    """What to run.

    Attributes:
        space: what is searched and how.
        folder: where everything is kept.
        address: of a Ray cluster; None = this machine.
        tracking_uri: of an MLflow server; None = a file in the storage folder.
        study_url: database of the study; None = a file in the sweep's folder.
        data_root: folder with the data sets.
        command: how a person started it.
        ship_code: whether this code is sent to the cluster's workers.
    """

    space: SearchSpace
    folder: SweepFolder
    address: str | None = None
    tracking_uri: str | None = None
    study_url: str | None = None
    data_root: str | None = None
    command: str = ""
    ship_code: bool = False

    @property
    def store(self) -> Store:
        """Where its MLflow runs go."""
        return store_of(self.folder, self.tracking_uri)


def store_of(folder: SweepFolder, tracking_uri: str | None) -> Store:
    """The MLflow store of a sweep: a server, or files in the storage folder."""
    if tracking_uri is None:
        return local_store(folder.storage, folder.name)
    return Store(tracking_uri, None, folder.name)
