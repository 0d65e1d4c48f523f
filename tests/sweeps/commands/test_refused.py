"""Trials above the bound on compression: refused by their shapes, and the sampler learns."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from rich.console import Console

from hcl.config import ConfigError, TrialConfig
from sweeps.cluster.progress import Counts, Size
from sweeps.launch.outcome import trial_ends
from sweeps.launch.request import SweepRequest
from sweeps.launch.run_sweep import run_sweep
from sweeps.records.folder import SweepFolder
from sweeps.space.search_space import SearchSpace, parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.study.searcher import OptunaSearch

TEXT = """
trial:
  benchmark: {name: split_digits, num_tasks: 2, val_fraction: 0.2}
  target: {hidden_sizes: [20]}
  method: {name: hnet, hidden_sizes: [4], embedding_size: 4, chunk_embedding_size: 4}
  train: {iterations: 3, batch_size: 16}
search:
  method/chunk_size: {type: int, low: 50, high: 800, step: 50}
points_to_evaluate: [{method/chunk_size: 800}, {method/chunk_size: 50}]
sweep: {num_trials: 2, max_compression_ratio: 1.0, max_concurrent_trials: 1}
"""


def space(**sweep: Any) -> SearchSpace:
    return parse(parse_yaml(TEXT), "tiny").with_sweep(**sweep)


def on_paper(config: TrialConfig) -> float:
    return config.to_dict()["method/chunk_size"] / 400


def search(folder: Path, **sweep: Any) -> OptunaSearch:
    url = f"sqlite:///{folder / 'study.db'}"
    return OptunaSearch(space(**sweep), "tiny", url, ratio=on_paper)


def test_a_trial_above_the_bound_is_refused_and_the_next_is_tried(tmp_path: Path) -> None:
    searcher = search(tmp_path)
    suggestion = searcher.suggest("a")
    assert suggestion and suggestion["number"] == 1 and searcher.refused == [0]
    searcher.on_trial_complete("a", {"objective": 0.5, "tasks_learned": 2, "num_tasks": 2})
    refused, trained = searcher.study.trials
    assert refused.state == TrialState.PRUNED and refused.value is None
    assert refused.user_attrs["refused"] == "its compression ratio 2 is above 1"
    assert refused.constraints == {"compression_ratio": 1.0}
    assert trained.constraints == {"compression_ratio": -0.875}
    ended = trial_ends(searcher)
    assert (ended.refused, ended.stopped, ended.failed) == ([0], [], {})
    assert search(tmp_path).refused == [0] and search(tmp_path).remaining() == 0


def test_a_trial_that_a_kill_left_running_is_checked_again(tmp_path: Path) -> None:
    searcher = search(tmp_path)
    searcher.suggest("a")
    again = search(tmp_path)
    suggestion = again.suggest("b")
    assert suggestion and suggestion["number"] == 1 and again.suggest("c") == "FINISHED"


@pytest.mark.timeout(60)
def test_tpe_learns_to_avoid_what_is_refused(tmp_path: Path) -> None:
    searcher = search(tmp_path, num_trials=40, max_compression_ratio=0.25)
    for number in range(40):
        if not isinstance(searcher.suggest(str(number)), dict):
            break
        searcher.on_trial_complete(
            str(number), {"objective": 0.5, "tasks_learned": 2, "num_tasks": 2}
        )
    late = [number for number in searcher.refused if number >= 20]
    assert len(late) <= 12  # 14 of 16 values are above the bound: chance would refuse 17.5


def test_progress_counts_them_apart() -> None:
    refused = [3]
    counts = Counts(total=5, size=Size(2), mode="max", refused=refused, started=0.0)
    refused.append(4)
    assert counts.line(1.0) == "0/5 trials done, 2 refused, 0 running"


def test_a_method_without_a_hypernetwork_has_nothing_to_bound() -> None:
    text = TEXT.replace(
        "name: hnet, hidden_sizes: [4], embedding_size: 4, chunk_embedding_size: 4", "name: si"
    )
    lines = [line for line in text.splitlines() if "points" not in line]
    si = "\n".join(lines).replace("method/chunk_size", "method/c")
    with pytest.raises(ConfigError) as caught:
        parse(parse_yaml(si), "tiny")
    assert caught.value.errors == [
        "sweep.max_compression_ratio: si has no hypernetwork to compress with; leave it out"
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets to the garbage collector
def test_a_sweep_with_a_bound_end_to_end(tmp_path: Path) -> None:
    out, folder = StringIO(), SweepFolder(tmp_path, "tiny")
    outcome = run_sweep(SweepRequest(space(), folder), Console(file=out, width=200))
    assert (outcome.exit_code, outcome.num_trials, outcome.refused) == (0, 2, 1)
    assert "1 refused, 0 running" in out.getvalue()
    assert [path.parent.name for path in folder.journals()] == ["0001"]
