"""Saved views of a sweep's runs in the MLflow UI, and the links that open them.

A view is a tag of the experiment, in a format that MLflow does not document: this is how its UI
of version 3.17 writes one. An MLflow that does not know it shows its ordinary table of runs.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Experiment

from hcl.config import ConfigError
from sweeps.output.metric_names import SCENARIOS
from sweeps.tracking.artifacts import PICTURE_KEY
from sweeps.tracking.database import connect
from sweeps.tracking.outages import OUTAGES, outages_as_config_error
from sweeps.tracking.read_runs import all_runs
from sweeps.tracking.store import Store

LOCAL_UI = "http://127.0.0.1:5000"  # where `hcl ui` serves, unless it is told another port
VIEW_TAG = "mlflow.sharedViewState."
RANKING, MATRICES = "ranking", "matrices"
SECTION = "accuracy-matrices"
# The UI has two faces; an experiment of this kind opens with the one for training models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
PICTURES = 10  # runs whose pictures the view shows

TESTED = tuple(f"test/{scenario}/average_accuracy" for scenario in SCENARIOS)
RANKED = "val/task/average_accuracy"


@dataclass(frozen=True)
class Columns:
    """Columns and order of the table of runs.

    Attributes:
        metrics: the first one orders the runs.
        params: settings, after method and scenario; searched ones are worth a column.
        is_ascending: whether the lowest value of the first metric comes first.
    """

    metrics: tuple[str, ...] = TESTED
    params: tuple[str, ...] = ()
    is_ascending: bool = False


def space_columns(space: Mapping[str, Any]) -> Columns:
    """Choose the columns of a sweep by the mapping that its search space file holds."""
    objectives, mode = (space["sweep"].get(key) for key in ("objective", "mode"))
    names = [objectives or RANKED] if not isinstance(objectives, list | tuple) else objectives
    is_ascending = (mode if isinstance(mode, str) or not mode else mode[0]) == "min"
    return Columns((*names, *TESTED), tuple(space.get("search") or ()), is_ascending)


def view_tags(columns: Columns, created: int) -> dict[str, str]:
    """Write the views "Ranking" and "Matrices" as tags of an experiment.

    Args:
        columns: what the table shows.
        created: milliseconds since 1970.
    """
    pictures = {
        "compareRunSections": [_section(SECTION, "Accuracy matrices")],
        "compareRunCharts": [_pictures()],
    }
    views = {RANKING: ("Ranking", {}), MATRICES: ("Matrices", pictures)}
    return KIND | {
        VIEW_TAG + key: _packed(name, _table(columns) | charts, created)
        for key, (name, charts) in views.items()
    }


@dataclass(frozen=True)
class Links:
    """Addresses of one sweep in the MLflow UI."""

    name: str
    ranking: str
    matrices: str


def links(store: Store, uri: str, sweep: str | None = None) -> list[Links]:
    """Find the sweeps of a store, newest first, and where the UI at `uri` shows them.

    Args:
        store: read without changing it.
        uri: of the UI, without a slash at its end.
        sweep: its name; None = all.

    Raises:
        ConfigError: the store is not reachable, or there is no such sweep.
    """
    with outages_as_config_error(store):
        found = connect(store).search_experiments(order_by=["last_update_time DESC"])
    known = [one for one in found if one.name != "Default"]
    chosen = [one for one in known if sweep in (None, one.name)]
    if sweep is not None and not chosen:
        there = ", ".join(one.name for one in known) or "none"
        raise ConfigError(f"no runs of a sweep {sweep!r} in {store.shown_uri}; there: {there}")
    return [Links(one.name, *_addresses(uri, one)) for one in chosen]


def run_urls(store: Store, sweep: str) -> dict[str, str]:
    """Return run_key -> address of a run's page; empty while the store is not reachable.

    Runs in a local file have the address that `hcl ui` gives them.
    """
    uri = store.shown_uri.rstrip("/") if store.is_http else LOCAL_UI
    try:
        runs = all_runs(store, f"tags.kind = 'trial' and tags.sweep = '{sweep}'")
    except OUTAGES:
        return {}
    return {
        run.data.tags.get("run_key", ""): (
            f"{uri}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        )
        for run in runs
    }


def _addresses(uri: str, experiment: Experiment) -> tuple[str, str]:
    """Write the addresses of both views; without views, of the table and of the charts."""
    page = f"{uri}/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
    keys = {
        view: f"&viewStateShareKey={view}" if VIEW_TAG + view in experiment.tags else ""
        for view in (RANKING, MATRICES)
    }
    return page + keys[RANKING], f"{page}{keys[MATRICES]}&compareRunsMode=CHART"


def _table(columns: Columns) -> dict[str, Any]:
    metrics = [f"metrics.`{name}`" for name in columns.metrics]
    method = [f"params.`{name}`" for name in ("method/name", "scenario")]
    params = [f"params.`{name}`" for name in columns.params]
    name = "attributes.`Run Name`"
    widths = {name: 390, **dict.fromkeys(method, 100), **dict.fromkeys(metrics, 180)}
    return {
        "searchFilter": "tags.kind = 'trial'",
        "orderByKey": metrics[0],
        "orderByAsc": columns.is_ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*method, *metrics, *params],
        "columnOrder": [name, *method, *metrics, *params],
        "columnWidths": widths,
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _section(uuid: str, name: str) -> dict[str, Any]:
    states = {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    return {"uuid": uuid, "name": name, "columns": 1, "cardHeight": 760} | states


def _pictures() -> dict[str, Any]:
    return {
        "uuid": PICTURE_KEY,
        "type": "IMAGE",
        "runsCountToCompare": PICTURES,
        "metricSectionId": SECTION,
        "deleted": False,
        "isGenerated": False,
        "imageKeys": [PICTURE_KEY],
        "step": 0,  # where `RunArtifacts` puts the pictures
        "showRunParams": False,
    }


def _packed(name: str, state: dict[str, Any], created: int) -> str:
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    view = {"name": name, "createdAt": created, "updatedAt": created}
    return json.dumps(view | {"state": f"deflate;{packed}"})
