"""A worker is killed after one trial and before the next, which Ray then gives up at once."""

import os
import signal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from rich.console import Console
from whole_sweeps import GOOD, NAME, records_of, runs, study_trials, text_of

from hcl.config import TrialConfig
from sweeps.cluster.progress import ProgressCallback
from sweeps.launch.fixed_trials import train_fixed
from sweeps.launch.request import SweepRequest, make_context, store_of
from sweeps.launch.run_sweep import run_sweep
from sweeps.records.folder import SweepFolder
from sweeps.space.search_space import parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.tracking import prepare
from sweeps.workers.seed_records import single_seed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # Ray and MLflow leave sockets and event loops to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def kill_idle_workers(monkeypatch: pytest.MonkeyPatch, after: tuple[int, ...]) -> list[int]:
    """Kill the worker of each of these trials once it has ended and before Ray keeps the worker.

    Returns:
        Numbers of the processes that were killed; the list grows.
    """
    killed: list[int] = []
    complete = ProgressCallback.on_trial_complete

    def then_kill(self: Any, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        complete(self, iteration, trials, trial, **info)
        if trial.config["number"] in after:
            killed.append(trial.last_result["pid"])
            os.kill(killed[-1], signal.SIGKILL)

    monkeypatch.setattr(ProgressCallback, "on_trial_complete", then_kill)
    return killed


def test_the_next_trial_of_a_sweep_is_handed_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = kill_idle_workers(monkeypatch, after=(0,))
    space = parse(parse_yaml(text_of([GOOD] * 4)), NAME)
    space = space.with_sweep(num_trials=4, max_concurrent_trials=1, max_failures=1)
    out = StringIO()
    request = SweepRequest(space, SweepFolder(tmp_path, NAME))
    outcome = run_sweep(request, Console(file=out, width=200))
    assert killed
    assert (outcome.exit_code, outcome.num_trials, outcome.failed) == (0, 4, {})
    assert "trial 1: its process died; it goes on from its last checkpoint" in out.getvalue()
    assert "failed: see" not in out.getvalue()
    assert [t.state for t in study_trials(tmp_path)] == [TrialState.COMPLETE] * 4
    for number in range(4):  # each was trained once, from its start
        kinds = [record["kind"] for record in records_of(tmp_path, number)]
        assert kinds == ["start", "task", "task", "task", "end"]
    assert set(runs(tmp_path)["status"]) == {"FINISHED"} and len(runs(tmp_path)) == 4


def test_the_next_fixed_trial_is_handed_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = kill_idle_workers(monkeypatch, after=(0,))
    settings = parse(parse_yaml(text_of([GOOD])), NAME).sweep
    folder = SweepFolder(tmp_path, NAME)
    store = store_of(folder, None)
    prepare(store)
    values = {"benchmark/name": "split_digits", "benchmark/num_tasks": 2, "method/name": "si",
              "train/iterations": 5, "train/batch_size": 16}  # fmt: skip
    configs = [TrialConfig.from_dict({**values, "seed": seed}) for seed in (1, 2, 3)]
    out = StringIO()
    results = train_fixed(
        folder,
        [single_seed(config, folder) for config in configs],
        make_context(store, settings, "confirm"),
        parse(parse_yaml(text_of([GOOD])), NAME).with_sweep(max_concurrent_trials=1).sweep,
        Console(file=out, width=200),
    )
    assert killed
    assert all(result is not None for result in results), out.getvalue()
    assert "its process died" in out.getvalue()
