"""Fixed configurations on real Ray: trained once, in parallel; failures are told apart."""

import json
from pathlib import Path

import pytest
from made import train_seed
from rich.console import Console

from hcl.config import TrialConfig
from sweeps.launch.fixed_trials import CLASSIFIERS, share_classifiers, train_fixed
from sweeps.launch.request import store_of
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.space.settings import SweepSettings
from sweeps.tracking import Store, prepare, runs_frame
from sweeps.workers.context import RunContext
from sweeps.workers.seed_records import Seed, single_seed

# Ray leaves sockets and files to the garbage collector, and pandas warns about its own use.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TINY = {
    "benchmark/name": "split_digits",
    "benchmark/num_tasks": 2,
    "target/hidden_sizes": [8],
    "train/iterations": 20,
    "train/batch_size": 16,
}


def seeds_of(configs: list[TrialConfig], folder: SweepFolder) -> list[Seed]:
    return [single_seed(config, folder) for config in configs]


def config(method: str, seed: int, **more: object) -> TrialConfig:
    values = {**TINY, "method/name": method, "seed": seed}
    values |= {key.replace("__", "/"): value for key, value in more.items()}
    return TrialConfig.from_dict(values)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_configurations_are_trained_once_and_failures_are_told_apart(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "fixed")
    store = store_of(folder, None)
    prepare(store)
    context = RunContext("fixed", store, phase="confirm", threads=1)
    console = Console(quiet=True)
    # 1e30 overflows at once: the loss is not finite when it is first read.
    broken = config("finetune", 1, train__lr=1e30, train__iterations=100)
    configs = [config("finetune", 1), config("si", 1), config("finetune", 1), broken]

    results = train_fixed(folder, seeds_of(configs, folder), context, SweepSettings(), console)

    assert results[3] is None
    assert results[0] is not None and results[0] == results[2]
    assert results[1] is not None and results[1].config["method/name"] == "si"
    path = single_seed(configs[0], folder).folder / "result.json"
    first = path.stat().st_mtime_ns
    seeds = seeds_of([configs[0], config("finetune", 2)], folder)
    more = train_fixed(folder, seeds, context, SweepSettings(), console)
    assert path.stat().st_mtime_ns == first
    assert json.loads(path.read_text())["config"]["seed"] == 1
    assert more[0] == results[0] and more[1] is not None and more[1] != results[0]

    frame = runs_frame(store, "fixed")
    assert len(frame) == 4  # one run for each, the doubled one once
    failed = frame[frame["tags.failure"].notna()]
    assert len(failed) == 1 and "smaller train/lr" in failed["tags.failure"].iloc[0]


@pytest.mark.timeout(120)  # it imports MLflow
def test_what_a_worker_could_not_deliver_arrives_with_the_next_start(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "fixed")
    (seed,) = seeds_of([config("finetune", 1)], folder)
    away = Store("http://127.0.0.1:9", None, "fixed")  # nobody listens there
    trained = train_seed(
        seed.config, RunContext("fixed", away, phase="table", threads=1), seed.folder, seed.trial
    )
    store = store_of(folder, None)
    prepare(store)
    assert len(runs_frame(store, "fixed")) == 0
    context = RunContext("fixed", store, phase="table", threads=1)
    found = train_fixed(folder, [seed], context, SweepSettings(), Console(quiet=True))
    assert found == [trained]
    assert list(runs_frame(store, "fixed")["status"]) == ["FINISHED"]


HYPERNET = {"method/chunk_size": 100, "method/embedding_size": 4, "method/chunk_embedding_size": 4}
VAE = {
    "method/encoder_sizes": [8],
    "method/decoder_sizes": [8],
    "method/latent_size": 4,
    "method/decoder_chunk_size": 100,
}


def hnet(seed: int, **more: object) -> TrialConfig:
    scored = {"eval_scenarios": ["task", "class"], **more}
    return config("hnet", seed, **HYPERNET, **scored)


def tir(seed: int) -> TrialConfig:
    return config("hnet_tir", seed, scenario="class", **HYPERNET, **VAE)


def test_takers_of_a_classifier_come_last_and_only_what_is_taken_is_written(
    tmp_path: Path,
) -> None:
    folder = SweepFolder(tmp_path, "fixed")
    configs = [tir(1), hnet(1), tir(2), hnet(3), config("si", 1), hnet(1, method__beta=1.0)]
    shared = share_classifiers(seeds_of(configs, folder), folder.path / CLASSIFIERS)
    assert [c.seed.config for c in shared] == [configs[i] for i in (1, 3, 4, 5, 0, 2)]
    assert [c.classifiers is not None for c in shared] == [True, False, False, False, True, True]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_shared_classifier_changes_no_result(tmp_path: Path) -> None:
    results = []
    for name, configs in (("alone", [tir(1)]), ("shared", [tir(1), hnet(1)])):
        folder = SweepFolder(tmp_path, name)
        store = store_of(folder, None)
        prepare(store)
        context = RunContext(name, store, phase="table", threads=1)
        settings = SweepSettings(max_concurrent_trials=1)
        seeds = seeds_of(configs, folder)
        found = train_fixed(folder, seeds, context, settings, Console(quiet=True))
        assert found[0] is not None
        results.append(found[0])
        assert not (folder.path / CLASSIFIERS).exists(), "nobody needs them any more"
    assert results[0].accuracy == results[1].accuracy
    assert results[0].inference == results[1].inference
    # Whoever trains a classifier records its loss.
    losses = [
        {name for record in Journal(SweepFolder(tmp_path, sweep).seed_folder(*of)).records()
         for name in record.get("metrics", {}) if name.startswith("loss/")}
        for sweep, of in (("alone", _of(tir(1))), ("shared", _of(tir(1))))
    ]  # fmt: skip
    assert "loss/task" in losses[0] and "loss/task" not in losses[1]


def _of(config: TrialConfig) -> tuple[str, int]:
    return config.digest(without_seed=True), config.seed
