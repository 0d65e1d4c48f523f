"""What must hold after a soak: every trial once, equal results, flat memory, nothing left over."""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import optuna

from sweeps.launch.request import store_of
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal, JournalError
from sweeps.tracking import Store, accuracy_matrices, runs_frame
from sweeps.tracking.database import connect

FINISHED = "FINISHED"
SAME = ("val/", "test/")  # metrics that are the same in every training
MORE_MEMORY, MORE_DESCRIPTORS = 1.10, 1.20  # the last third may have this times the first's


@dataclass(frozen=True)
class Left:
    """What a sweep left in its records; a seed is named "0003/seed_1".

    Attributes:
        trials: (number, state, value, values of the parameters) of each trial in the study.
        results: seed -> accuracy matrices in its result.json.
        journals: seed -> what its journal says, or what is wrong with it.
        runs: (seed, status, accuracy matrices, everything else by name) of each MLflow run.
    """

    trials: list[tuple[int, str, float | None, dict[str, Any]]]
    results: dict[str, Any]
    journals: dict[str, Any]
    runs: list[tuple[str, str, Any, dict[str, Any]]]


@dataclass(frozen=True)
class Sample:
    """A driver at one moment, after its first task: seconds of the soak, MB, open files."""

    at: float
    mb: float
    descriptors: int


def read_left(folder: SweepFolder, tracking_uri: str, study_url: str | None) -> Left:
    """Read all records of a sweep that has ended."""
    name = folder.name
    study = optuna.load_study(study_name=name, storage=study_url or folder.study_url)
    trials = [(t.number, t.state.name, t.value, t.params) for t in study.trials]
    root = folder.path / "trials"
    results = {
        str(path.parent.relative_to(root)): json.loads(path.read_text())["accuracy"]
        for path in sorted(root.glob("*/*/result.json"))
    }
    journals = {str(path.relative_to(root)): _read_journal(path) for path in folder.journals()}
    store, runs = store_of(folder, tracking_uri), []
    for _, row in runs_frame(store, name).iterrows():
        seed = f"{row['tags.trial']:04d}/seed_{row['tags.seed']}"
        is_whole = row["status"] == FINISHED
        matrices = accuracy_matrices(store, row["run_id"]) if is_whole else None
        runs.append((seed, row["status"], matrices, _params_and_points(store, row["run_id"])))
    return Left(trials, results, journals, runs)


def _read_journal(folder: Path) -> Any:
    """Return what is the same in every training of a seed: settings, accuracies, matrices."""
    try:
        records = Journal(folder).records()
        return {
            "settings": [r["params"] for r in records if r["kind"] == "start"],
            "tasks": {r["tasks_learned"]: _accuracies(r) for r in records if r["kind"] == "task"},
            "end": [r["accuracy"] for r in records if r["kind"] == "end"],
        }
    except (JournalError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"


def _accuracies(record: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in record["metrics"].items() if key.startswith(SAME)}


def _params_and_points(store: Store, run_id: str) -> dict[str, Any]:
    """Return a run's params, and every stored point (step, value) of its accuracies."""
    client = connect(store)
    data = client.get_run(run_id).data
    points = {
        name: sorted((p.step, p.value) for p in client.get_metric_history(run_id, name))
        for name in data.metrics
        if name.startswith(SAME)
    }
    return data.params | points


def differences(left: Left, whole: Left) -> list[str]:
    """Say in what the records differ from an undisturbed sweep's; empty where they are equal."""
    found = _study(left, whole)
    for what in ("result", "journal"):
        now, then = getattr(left, f"{what}s"), getattr(whole, f"{what}s")
        for seed in sorted(now.keys() | then.keys()):
            if seed not in now or isinstance(now[seed], str):
                found.append(f"{seed} has no {what}: {now.get(seed, 'missing')}")
            elif now[seed] != then.get(seed):
                found.append(f"{seed}: its {what} differs from the undisturbed sweep's")
    return found + _runs(left, whole)


def _study(left: Left, whole: Left) -> list[str]:
    found = []
    if (is_now := len(left.trials)) != (was := len(whole.trials)):
        found.append(f"the study has {is_now} trials, not {was}")
    expected = {number: rest for number, *rest in whole.trials}
    for number, *rest in left.trials:
        for what, now, then in zip(
            ("state", "value", "parameters"), rest, expected.get(number, (None,) * 3), strict=True
        ):
            if now != then:
                found.append(f"trial {number} of the study: {what} {now}, undisturbed {then}")
    return found


def _runs(left: Left, whole: Left) -> list[str]:
    expected = {seed: rest for seed, *rest in whole.runs}
    seeds = [seed for seed, *_ in left.runs]
    found = [
        f"{seed} has {times} MLflow runs"
        for seed in sorted({*seeds, *expected})
        if (times := seeds.count(seed)) != (1 if seed in expected else 0)
    ]
    for seed, status, matrices, points in left.runs:
        if seed not in expected:
            continue
        _, then_matrices, then_points = expected[seed]
        if status != FINISHED:
            found.append(f"{seed}: its MLflow run is {status}")
        elif matrices != then_matrices:
            found.append(f"{seed}: MLflow's matrices differ from the undisturbed sweep's")
        names = points.keys() | then_points.keys()
        wrong = sorted(name for name in names if points.get(name) != then_points.get(name))
        if wrong:
            now, then = points.get(wrong[0]), then_points.get(wrong[0])
            found.append(
                f"{seed}: {len(wrong)} values in MLflow differ, first {wrong[0]}: {now},"
                f" undisturbed {then}"
            )
    return found


def thirds(samples: list[Sample]) -> dict[str, float]:
    """Return the medians of memory and descriptors in the first and in the last third."""
    if len(samples) < 3:
        return {}
    size = len(samples) // 3
    first, last = samples[:size], samples[-size:]
    return {
        "first_mb": round(median(s.mb for s in first), 1),
        "last_mb": round(median(s.mb for s in last), 1),
        "first_descriptors": median(s.descriptors for s in first),
        "last_descriptors": median(s.descriptors for s in last),
        "samples": len(samples),
    }


def growth(found: dict[str, float]) -> list[str]:
    """Say what of `thirds` is not flat."""
    if not found:
        return ["too few samples of the driver's memory: it never learned a task for long enough"]
    wrong = []
    for what, allowed in (("mb", MORE_MEMORY), ("descriptors", MORE_DESCRIPTORS)):
        first, last = found[f"first_{what}"], found[f"last_{what}"]
        if last > allowed * first:
            wrong.append(f"the driver's {what} grew from {first:.0f} to {last:.0f}")
    return wrong
