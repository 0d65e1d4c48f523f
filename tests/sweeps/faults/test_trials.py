"""Trials that end badly: killed again and again, diverged, without memory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from journals import start_fields
from made import train_seed
from optuna.trial import TrialState
from ray.tune.search import Searcher
from whole_sweeps import (
    NAME,
    check_same,
    check_whole,
    finish,
    is_alive,
    matrices,
    records_of,
    rows_of,
    runs,
    start,
    study_trials,
    text_of,
    trainer_of,
    wait_for,
)

from hcl.config import TrialConfig
from sweeps.launch.resume import ratio_of
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.records.trial_ends import explain
from sweeps.space.search_space import parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.study.searcher import OptunaSearch
from sweeps.tracking import Store
from sweeps.workers.context import RunContext
from sweeps.workers.seed import TrialFailed
from sweeps.workers.trainable import TrialPlan, run_trial

pytestmark = [
    pytest.mark.timeout(60),  # the first one imports MLflow
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def config(**more: object) -> TrialConfig:
    values = {"benchmark/name": "split_digits", "benchmark/num_tasks": 2, "method/name": "si"}
    values |= {"target/hidden_sizes": [8], "train/iterations": 5}
    return TrialConfig.from_dict(values | {k.replace("__", "/"): v for k, v in more.items()})


# --- memory ------------------------------------------------------------------------------------


def test_a_network_that_no_memory_holds_is_a_failure_with_its_reason(
    tmp_path: Path, store: Store
) -> None:
    huge = config(target__hidden_sizes=[10**11])
    with pytest.raises(TrialFailed, match="^out of memory: "):
        train_seed(huge, RunContext("huge", store), tmp_path / "seed_1", 0)
    assert Journal(tmp_path / "seed_1").records()[-1]["kind"] == "failed"


def test_a_network_too_large_to_count_is_refused_or_fails(tmp_path: Path, store: Store) -> None:
    values = f"[[8], [{10**10}, {10**10}]]"
    text = text_of([]).replace("hidden_sizes: [4], ", "").replace("points_to_evaluate: []", "")
    text = text.replace(
        "search:", f"search:\n  method/hidden_sizes: {{type: choice, values: {values}}}"
    )
    space = parse(parse_yaml(text), NAME).with_sweep(num_trials=8, max_compression_ratio=100.0)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    search = OptunaSearch(space, NAME, url, ratio=ratio_of((64,)))
    given = [suggestion["params"] for n in range(8) if (suggestion := search.suggest(f"t{n}"))
             and suggestion != Searcher.FINISHED]  # fmt: skip
    assert search.refused and {params["method/hidden_sizes"] for params in given} == {"8"}
    assert len(search.refused) + len(given) == 8

    huge = space.trial_config(given[0] | {"method/hidden_sizes": f"{10**10},{10**10}"}, seed=1)
    with pytest.raises(TrialFailed, match="^out of memory: "):
        train_seed(huge, RunContext("uncountable", store), tmp_path / "seed_1", 0)


LIMITED = """
import resource, sys
from pathlib import Path
import hcl
from hcl.config import TrialConfig
from sweeps.workers.context import RunContext
from sweeps.workers.seed_batch import train_replicas
from sweeps.workers.seed_records import Seed
from sweeps.tracking import Store, deliver
values = {"benchmark/name": "split_digits", "benchmark/num_tasks": 2, "method/name": "si"}
config = TrialConfig.from_dict(values | {"target/hidden_sizes": [1000, 30000]})
context = RunContext("limited", Store("http://127.0.0.1:9", None, "limited"), threads=1)
folder = Path(sys.argv[1])
deliver(context.store, folder, None)
hcl.run(TrialConfig.from_dict(values | {"train/iterations": 1}))  # imports what it needs
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20, resource.RLIM_INFINITY))
print(*train_replicas([Seed(config, folder, 0)], context))
"""


def test_a_process_that_may_have_no_more_memory_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("out of memory: "), done.stdout + done.stderr
    assert Journal(tmp_path).records()[-1]["kind"] == "failed"


# --- deaths and damage, without Ray ------------------------------------------------------------


def test_deaths_are_counted_since_the_last_end(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, NAME)
    journal, why = Journal(folder.seed_folder(3, 1)), explain(folder)
    assert why(3) is None
    journal.append("start", **start_fields(f"{NAME}/0003/seed_1"))
    assert why(3) is None  # once: what the search says by itself
    journal.append("resume")
    journal.append("task", tasks_learned=1, metrics={})
    journal.append("resume")
    assert why(3) == "its process died 3 times (killed, out of memory or a lost node)"
    journal.append("failed", reason="the loss is nan")
    assert why(3) == "the loss is nan"
    journal.append("resume")
    journal.append("resume")
    assert why(3) == "its process died 2 times (killed, out of memory or a lost node)"


def test_a_damaged_result_fails_its_trial_and_nothing_else(tmp_path: Path, store: Store) -> None:
    space = parse(parse_yaml(text_of(["{train/lr: 0.01}"])), NAME)
    plan = TrialPlan(space, SweepFolder(tmp_path, NAME), RunContext("damaged", store, threads=1))
    params = {"method/beta": 0.01, "method/chunk_embedding_size": 2, "train/lr": 0.01}
    run_trial(plan, 0, params, lambda report: None)
    path = plan.folder.seed_folder(0, 1) / "result.json"
    path.write_bytes(b"{\n" + path.read_bytes()[:-9])
    told: list[dict] = []
    run_trial(plan, 0, params, told.append)
    assert len(told) == 1 and str(path) in told[0]["failure"]
    assert explain(plan.folder)(0) is None  # the driver survives it too


# --- whole sweeps ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_trial_that_dies_too_often_fails_and_the_same_command_finishes_it_later(
    files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    process = start(files, storage, "--max-failures", "1")
    for times in (1, 2):
        wait_for(lambda times=times: begun(storage, 0) == times and rows_of(storage, 0) >= 1)
        trainer = trainer_of(storage, 0)
        if times == 2:
            os.kill(trainer, signal.SIGSTOP)  # the first sweep does not end meanwhile
            second = start(files, storage)  # refused, and nothing of the first is touched
            out, err = second.communicate(timeout=100)
            assert second.returncode == 2 and len(err.splitlines()) == 1, out + err
            assert f"is being run by process {process.pid};" in err
        os.kill(trainer, signal.SIGKILL)
        wait_for(lambda trainer=trainer: not is_alive(trainer))
    out = finish(process, status=1)
    reason = "its process died 2 times (killed, out of memory or a lost node)"
    assert f"trial 0 failed: {reason}" in out.splitlines()
    assert out.splitlines()[-1] == "4 of 4 trials ended, 1 of them failed"
    failed = study_trials(storage)[0]
    assert failed.state == TrialState.FAIL and failed.user_attrs["reason"] == reason
    assert runs(storage).set_index("tags.trial")["status"][0] == "FAILED"
    check_same(storage, undisturbed, but=(0,))

    finish(start(files, storage))
    check_whole(storage)
    check_same(storage, undisturbed)
    assert study_trials(storage)[0].user_attrs.get("reason") is None


def begun(storage: Path, trial: int) -> int:
    """Count the processes that have trained a trial, by its journal."""
    return sum(record["kind"] in ("start", "resume") for record in records_of(storage, trial))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_diverges_one_has_no_memory_and_the_others_go_on(
    undisturbed: Path, tmp_path: Path
) -> None:
    good = "{train/lr: 0.01, target/hidden_sizes: [8]}"
    diverging, huge = good.replace("0.01", "1e+29"), good.replace("8", str(10**11))
    text = text_of([good, diverging, huge, good], iterations=150)
    text = text.replace("  target: {hidden_sizes: [8]}\n", "")
    searched = f"  target/hidden_sizes: {{type: choice, values: [[8], [{10**11}]]}}\n"
    text = text.replace("points_to_evaluate", searched + "points_to_evaluate")
    (tmp_path / f"{NAME}.yaml").write_text(text)
    storage = tmp_path / "storage"
    out = finish(start(tmp_path, storage), status=1)
    assert out.splitlines()[-1] == "4 of 4 trials ended, 2 of them failed"
    reasons = {t.number: t.user_attrs.get("reason") for t in study_trials(storage)}
    assert reasons[1].startswith("seed 1: the ") and " loss is " in reasons[1]
    assert reasons[2].startswith("seed 1: out of memory: ")
    states = [t.state for t in study_trials(storage)]
    assert states == [TrialState.COMPLETE, *[TrialState.FAIL] * 2, TrialState.COMPLETE]
    statuses = runs(storage).set_index("tags.trial")["status"].to_dict()
    assert statuses == {0: "FINISHED", 1: "FAILED", 2: "FAILED", 3: "FINISHED"}
    kinds = [[record["kind"] for record in records_of(storage, n)] for n in (1, 2)]
    assert kinds == [["start", "failed"]] * 2  # neither is tried again at once
    whole = matrices(undisturbed)
    assert matrices(storage) == {f"sweeps/{NAME}/trials/{n:04d}/seed_1":
                                 whole[f"sweeps/{NAME}/trials/{n:04d}/seed_1"]
                                 for n in (0, 3)}  # fmt: skip
