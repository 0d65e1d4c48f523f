"""A real MLflow holds the learners of a sweep's best seeds, and serves them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import own_code
import pytest
import torch
from made import train_seed
from mlflow import pyfunc
from servers import Server, until
from typer.testing import CliRunner
from whole_sweeps import NAME, study_trials

import hcl
import sweeps
from hcl.config import ConfigError, TrialConfig, plugins
from hcl.config.trial import imported_paths
from hcl.learners import Learner
from sweeps.cli import app
from sweeps.records.folder import SweepFolder
from sweeps.tracking import Store, deliver, local_store, prepare, runs_frame
from sweeps.tracking.database import connect
from sweeps.tracking.learners.find import find_learner
from sweeps.tracking.learners.logged import keep_learners
from sweeps.tracking.sync import sync_sweep
from sweeps.workers.context import RunContext

pytestmark = pytest.mark.timeout(120)
TINY = {
    "benchmark/name": "split_digits",
    "benchmark/num_tasks": 2,
    "target/hidden_sizes": [8],
    "method/chunk_size": 100,
    "train/iterations": 5,
    "train/batch_size": 8,
}
X = np.random.RandomState(0).rand(5, 64).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """Train two seeds the way a sweep trains them; MLflow has their runs."""
    folder = SweepFolder(tmp_path_factory.mktemp("storage"), "tiny")
    store = local_store(folder.storage, folder.name)
    prepare(store)
    for seed in (1, 2):
        config = TrialConfig.from_dict({**TINY, "seed": seed})
        context = RunContext(folder.name, store, threads=1)
        assert train_seed(config, context, folder.seed_folder(0, seed), 0).learner is None
    return folder


@pytest.fixture(scope="module")
def store(folder: SweepFolder) -> Store:
    return local_store(folder.storage, folder.name)


def seeds(folder: SweepFolder, *numbers: int) -> list[Path]:
    return [folder.seed_folder(0, seed) for seed in numbers]


def models(store: Store) -> dict[str, str]:
    """Run id -> id of its model, as the experiment and the runs both say."""
    client = connect(store)
    experiment = client.get_experiment_by_name(store.experiment)
    assert experiment is not None
    all_models = client.search_logged_models([experiment.experiment_id])
    found = {str(m.source_run_id): m.model_id for m in all_models if m.source_run_id}
    for run_id, model_id in found.items():
        outputs = client.get_run(run_id).outputs
        assert outputs and model_id in [output.model_id for output in outputs.model_outputs]
    return found


def files(folder: SweepFolder) -> set[str]:
    """Names of all files of models on the disk."""
    return {path.name for path in folder.storage.glob("artifacts/*/models/**/*") if path.is_file()}


def run_ids(store: Store) -> list[str]:
    return list(runs_frame(store, "tiny")["run_id"])


def same(mine: Learner, theirs: Learner) -> bool:
    return torch.equal(mine.predict(X, 1).probabilities, theirs.predict(X, 1).probabilities)


def test_the_kept_learners_and_no_others(folder: SweepFolder, store: Store) -> None:
    first, second = run_ids(store)
    assert keep_learners(store, seeds(folder, 1))
    before = models(store)
    assert before.keys() == {first}
    assert keep_learners(store, seeds(folder, 1)) and models(store) == before
    assert keep_learners(store, seeds(folder, 2))
    assert models(store).keys() == {second}
    assert len(list(folder.storage.rglob("learner.safetensors"))) == 1
    assert not [name for name in files(folder) if name.endswith((".pkl", ".pickle"))]
    assert keep_learners(store, []) and models(store) == {} and files(folder) == set()
    assert keep_learners(store, seeds(folder, 1, 2))
    assert models(store).keys() == {first, second}


def test_a_model_that_was_never_finished_is_removed(folder: SweepFolder, store: Store) -> None:
    client, first = connect(store), run_ids(store)[0]
    assert keep_learners(store, [])
    experiment = client.get_run(first).info.experiment_id
    left = client.create_logged_model(experiment, "learner", first, model_type="learner")
    users = client.create_logged_model(experiment, "mine")
    assert keep_learners(store, seeds(folder, 1))
    assert left.model_id not in models(store).values()
    assert client.get_logged_model(users.model_id).name == "mine"
    client.delete_logged_model(users.model_id)
    assert list(models(store)) == [first]


def test_a_learner_is_found_by_folder_name_and_id(folder: SweepFolder, store: Store) -> None:
    assert keep_learners(store, seeds(folder, 1))
    first, second = run_ids(store)
    one, two = map(hcl.load, seeds(folder, 1, 2))
    assert not same(one, two)
    elsewhere = folder.storage / "nothing"  # where the folders of the trainings are not
    assert same(sweeps.load(first, elsewhere, store.tracking_uri), one)
    with pytest.raises(ConfigError, match="has no learner; sweep.log_models says"):
        sweeps.load(second, elsewhere, store.tracking_uri)
    with pytest.raises(ConfigError, match=r"store .* cannot be used \(.*not found"):
        sweeps.load("0" * 32, folder.storage)
    for name in (second, "tiny/0000/seed_2", str(seeds(folder, 2)[0])):
        assert same(find_learner(name, folder.storage, None), two)


def test_the_command_writes_a_file(folder: SweepFolder, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    arguments = ["export", "tiny/0000/seed_1", "--out", str(out), "--storage"]
    done = CliRunner().invoke(app, [*arguments, str(folder.storage)])
    assert done.exit_code == 0 and done.stdout.startswith(f"{out}: hnet, 2 tasks, 0.0")
    assert same(hcl.load(out), hcl.load(seeds(folder, 1)[0]))
    done = CliRunner().invoke(app, [*arguments, str(tmp_path)])
    assert isinstance(done.exception, ConfigError) and "no such file or folder" in str(
        done.exception
    )


def test_a_sweeps_name_is_its_best(folder: SweepFolder, tmp_path: Path) -> None:
    """Written as a folder that MLflow loads too, which never replaces another one."""
    folder.write_info(learners=["0000/seed_2"])
    arguments = ["export", "tiny", "--out", str(tmp_path / "best"), "--storage"]
    arguments += [str(folder.storage), "--model", str(tmp_path / "served")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0 and f"-m {tmp_path / 'served'}" in done.stdout, done.exception
    best = hcl.load(seeds(folder, 2)[0])
    assert same(hcl.load(tmp_path / "best"), best)
    served = pyfunc.load_model(str(tmp_path / "served"))
    assert served.predict(X, params={"task": 1})["labels"] == best.predict(X, 1).labels.tolist()
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, ConfigError) and "something already" in str(done.exception)
    folder.write_info(learners=[])
    with pytest.raises(
        ConfigError, match="no best trial with a learner; name a run of it, as in tiny/0000/s"
    ):
        sweeps.load("tiny", folder.storage)


def test_an_outage_is_a_warning(
    folder: SweepFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not keep_learners(local_store(tmp_path, "tiny"), seeds(folder, 1))
    assert "MLflow did not take the learners of tiny: there is no MLflow database" in caplog.text


def test_sync_delivers_them(folder: SweepFolder, store: Store) -> None:
    folder.write_space({"description": "", "trial": {}, "sweep": {}})
    folder.write_info(learners=["0000/seed_2"], status="FINISHED")
    assert keep_learners(store, [])
    assert sync_sweep(folder, store) == (2, 0)
    assert list(models(store)) == run_ids(store)[1:]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_model_brings_the_users_own_code(tmp_path: Path) -> None:
    """A fresh process in an empty folder, without the files that the method was written in."""
    mine = own_code.write(tmp_path / "mine")
    names = {"method/name": "mine:Shrinking", "target/network": "nets:small"}
    folder = SweepFolder(tmp_path / "storage", "own")
    store = local_store(folder.storage, folder.name)
    prepare(store)
    with plugins.importable(mine):
        own = {key: value for key, value in TINY.items() if not key.startswith("method")}
        config = TrialConfig.from_dict({**own, **names, "target/hidden_sizes": [5], "seed": 1})
        kept = folder.keep_code(imported_paths(config.to_dict()))
        train_seed(config, RunContext("own", store, threads=1), folder.seed_folder(0, 1), 0)
        assert keep_learners(store, seeds(folder, 1))
        expected = hcl.load(seeds(folder, 1)[0]).predict(X, 1).labels.tolist()
    shutil.rmtree(mine)
    model = connect(store).get_logged_model(next(iter(models(store).values())))
    asked = (
        "import sys, numpy, sweeps; from mlflow import pyfunc;"
        "x = numpy.random.RandomState(0).rand(5, 64).astype('float32');"
        "model = pyfunc.load_model(sys.argv[1]);"
        "print(model.predict(x, params={'task': 1})['labels'])"
    )
    found = sweeps.load("own/0000/seed_1", folder.storage)
    assert found.predict(X, 1).labels.tolist() == expected
    assert sys.modules["mine"].__file__ == str(kept / "mine.py")
    forget(kept)
    with pytest.raises(ConfigError, match=r"mine:Shrinking cannot be imported.*PYTHONPATH"):
        hcl.load(seeds(folder, 1)[0])
    shutil.rmtree(kept)
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-c", asked, model.artifact_location]
    done = subprocess.run(command, cwd=empty, capture_output=True, text=True)
    assert done.stdout.strip() == str(expected), done.stderr


def forget(place: Path) -> None:
    """Take the folder that `sweeps.load` made importable off the path again."""
    plugins._folders.remove(place)
    sys.path.remove(str(place))
    plugins._forget(place)


def test_mlflow_loads_and_asks_the_model(folder: SweepFolder, store: Store) -> None:
    assert keep_learners(store, seeds(folder, 1))
    model = connect(store).get_logged_model(models(store)[run_ids(store)[0]])
    served = pyfunc.load_model(model.artifact_location)
    learner = hcl.load(seeds(folder, 1)[0])
    answer = served.predict(X, params={"task": 1})
    assert answer["labels"] == learner.predict(X, 1).labels.tolist()
    assert answer["task_ids"] == [1] * 5
    assert served.predict(X)["task_ids"] == learner.predict(X).task_ids.tolist()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_mlflow_serves_the_model(folder: SweepFolder, store: Store, tmp_path: Path) -> None:
    assert keep_learners(store, seeds(folder, 1))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", f"models:/{models(store)[run_ids(store)[0]]}"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    here = os.environ | {"MLFLOW_TRACKING_URI": store.tracking_uri}
    here["PATH"] = f"{Path(sys.executable).parent}:{here['PATH']}"  # MLflow calls `uvicorn`
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env=here, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        try:
            return urllib.request.urlopen(f"{url}/ping", timeout=2).status == 200
        except OSError:
            return False

    try:
        until(is_up, 300)
        body = json.dumps({"inputs": X.tolist(), "params": {"task": 1}}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/invocations", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.loads(answer.read())
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    expected = hcl.load(seeds(folder, 1)[0]).predict(X, 1)
    assert found["predictions"]["labels"] == expected.labels.tolist()
    assert np.allclose(found["predictions"]["probabilities"], expected.probabilities, atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_server_holds_learners(folder: SweepFolder, tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        store = Store(server.uri, None, "tiny")
        prepare(store)
        assert all(deliver(store, path, None) for path in seeds(folder, 1, 2))
        assert keep_learners(store, seeds(folder, 2)) and keep_learners(store, seeds(folder, 1))
        again = sweeps.load(run_ids(store)[0], tmp_path / "nothing", server.uri)
        assert same(again, hcl.load(seeds(folder, 1)[0]))
        assert len(list(tmp_path.rglob("learner.safetensors"))) == 1
    finally:
        server.kill()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_sweep_keeps_its_best_learner(undisturbed: Path) -> None:
    folder = SweepFolder(undisturbed, NAME)
    trials = study_trials(undisturbed)
    best = max(trials, key=lambda trial: trial.value).value
    (name,) = folder.read_info()["learners"]
    assert [t.value for t in trials if name == f"{t.number:04d}/seed_1"] == [best]
    store = local_store(folder.storage, folder.name)
    frame = runs_frame(store, NAME)
    kept = list(frame[frame["tags.trial"] == int(name[:4])]["run_id"])
    assert list(models(store)) == kept
    learner = sweeps.load(kept[0], undisturbed)
    assert torch.equal(
        learner.predict(X, 1).probabilities,
        hcl.load(folder.path / "trials" / name).predict(X, 1).probabilities,
    )
