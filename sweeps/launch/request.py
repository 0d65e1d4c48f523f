"""The request for a sweep, and the context that all trainings of a run share."""

from dataclasses import dataclass, replace

from sweeps.cluster.resources import gpus
from sweeps.records.folder import SweepFolder, git_tags
from sweeps.space.search_space import SearchSpace
from sweeps.space.settings import SweepSettings
from sweeps.tracking import Store, local_store
from sweeps.workers.context import RunContext

GIVEN = "given"  # protocol of trainings whose settings nobody searched here


@dataclass(frozen=True)
class SweepRequest:
    """A sweep to run.

    Attributes:
        space: what is searched and how.
        folder: where everything is kept.
        address: address of a Ray cluster; None = this machine.
        tracking_uri: MLflow server or database; None = a file in the storage folder.
        study_url: database of the study; None = a file in the sweep's folder.
        data_root: folder of the data sets.
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
        """The MLflow store of its runs."""
        return store_of(self.folder, self.tracking_uri)

    @property
    def settings(self) -> SweepSettings:
        """The section `sweep` of its search space."""
        return self.space.sweep

    def context(self, phase: str, parent_run_id: str | None) -> RunContext:
        """Make the context of its trainings, with the tags of the study that it is part of.

        Args:
            phase: "search" or "confirm".
            parent_run_id: the sweep's own MLflow run.
        """
        made = make_context(self.store, self.settings, phase, self.data_root, parent_run_id)
        tags = {**made.tags, "protocol": "full", **self.folder.read_info().get("tags", {})}
        return replace(made, sweep=self.folder.name, tags=tags)


def store_of(folder: SweepFolder, tracking_uri: str | None) -> Store:
    """Return the MLflow store of a sweep: a server, or files in the storage folder.

    The runs of a study's sweeps stand in the experiment of the study.
    """
    experiment = folder.read_info().get("experiment") or folder.name
    if tracking_uri is None:
        return local_store(folder.storage, experiment)
    # Without a server nobody else decides, and MLflow would make `mlruns` where `hcl` was called.
    is_server = tracking_uri.startswith("http")
    return Store(tracking_uri, None if is_server else f"{folder.storage}/artifacts", experiment)


def make_context(
    store: Store,
    settings: SweepSettings,
    phase: str,
    data_root: str | None = None,
    parent_run_id: str | None = None,
) -> RunContext:
    """Make the one context of a run: a search, its confirmation, a table or single trainings.

    Args:
        store: MLflow store; its experiment is the sweep's name.
        settings: resources and checkpoints of each training; `gpus_per_trial` is a number.
        phase: "search", "confirm", "table" or "single".
        data_root: folder of the data sets.
        parent_run_id: the sweep's own MLflow run.
    """
    share = gpus(settings)
    return RunContext(
        sweep=store.experiment,
        store=store,
        parent_run_id=parent_run_id,
        tags=git_tags(),
        phase=phase,
        device="cuda" if share else "cpu",
        gpu_share=share,
        threads=settings.cpus_per_trial,
        data_root=data_root,
        checkpoint_every=settings.checkpoint_every,
    )
