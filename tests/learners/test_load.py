"""A learner comes back from its file and from the folder of its training."""

import json
import sys
from pathlib import Path

import own_code
import pytest
import torch
from safetensors import safe_open
from tiny import VARIANTS, assert_same, go, variant

import hcl
from hcl.benchmarks import digits, load
from hcl.config import ConfigError, TrialConfig, plugins
from hcl.learners import Learner
from hcl.training.learner import Runtime, run


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def answers(learner: Learner) -> tuple[object, ...]:
    stored = load(learner.config.benchmark).tasks[1].test.x
    return tuple(learner.predict(stored, 1))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_learner_comes_back(name: str, tmp_path: Path) -> None:
    learner = go(variant(name), tmp_path / "checkpoints").learner
    learner.save(tmp_path / "a.safetensors")
    from_file, from_folder = hcl.load(tmp_path / "a.safetensors"), hcl.load(tmp_path)
    for again in (from_file, from_folder):
        assert again.config == learner.config and again.tasks == learner.tasks
        assert again.data_digest == learner.data_digest
        assert_same(answers(again), answers(learner))
        assert_same(again.to_state(), learner.to_state())


def test_the_file_is_readable_and_small(tmp_path: Path) -> None:
    result = go(variant("hnet"))
    result.learner.save(tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        names = set(file.keys())
        described = json.loads(file.metadata()["learner"])
        numbers = sum(
            file.get_tensor(name).numel() for name in names if not name.startswith("random")
        )
    assert {"method/task_hypernet.embeddings.0", "method/task_hypernet.hypernet.output"} <= names
    assert ["config", {"dict": list(map(list, result.config.items()))}] == [
        described["dict"][0][0],
        {"dict": [[k, v if not isinstance(v, dict) else v["list"]]
                  for k, v in described["dict"][0][1]["dict"]]},
    ]  # fmt: skip
    # The hypernetwork alone, without optimizers and targets; a random stream beside it.
    state = torch.Generator().get_state().numel()
    assert numbers == result.metrics["num_weights"] + state


def test_a_learner_is_loaded_without_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(variant("si")).learner.save(tmp_path / "a.safetensors")
    monkeypatch.setattr(digits, "IN_SCIKIT_LEARN", "none.csv.gz")
    labels = hcl.load(tmp_path / "a.safetensors").predict(torch.zeros(2, 64), 2).labels
    assert set(labels.tolist()) <= {4, 5}


def test_global_random_state_is_left_alone(tmp_path: Path) -> None:
    learner = go(variant("hnet")).learner
    learner.save(tmp_path / "a.safetensors")
    before = torch.get_rng_state()
    hcl.load(tmp_path / "a.safetensors").module(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(ConfigError, match="no such file or folder; sweeps.load"):
        hcl.load(path)
    with pytest.raises(ConfigError, match="has no checkpoint of a training"):
        hcl.load(tmp_path)
    go(variant("finetune")).learner.save(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-8], b"\x80\x04." + whole):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match="is no learner that can be read"):
            hcl.load(path)
    path.write_bytes(whole.replace(b"hcl learner 1", b"hcl learner 9"))
    with pytest.raises(ConfigError, match="its format is 'hcl learner 9'"):
        hcl.load(path)


def test_a_training_in_the_middle_of_a_task(tmp_path: Path) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    config = variant("finetune")
    with pytest.raises(KeyboardInterrupt):
        run(config, progress=stop, runtime=Runtime(checkpoint_dir=tmp_path, checkpoint_every=4))
    with pytest.raises(ConfigError, match="is in the middle of task 0; finish it first"):
        hcl.load(tmp_path)


def test_without_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = go(variant("finetune")).learner
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ConfigError, match="need the library safetensors"):
        learner.save(tmp_path / "a.safetensors")


def test_a_users_own_method_and_network(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    names = {"method/name": "mine:Shrinking", "target/network": "nets:small"}
    tiny = {"benchmark/name": "split_digits", "benchmark/num_tasks": 2, "train/iterations": 3}
    with plugins.importable(own_code.write(tmp_path)):
        learner = go(TrialConfig.from_dict({**names, **tiny})).learner
        learner.save(file)
        assert_same(answers(hcl.load(file)), answers(learner))
        assert [type(layer).__name__ for layer in learner.module(1)] == [
            "Linear",
            "Tanh",
            "Linear",
        ]
    with pytest.raises(ConfigError, match="there is no module mine"):
        hcl.load(file)
