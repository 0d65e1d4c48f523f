"""Networks that start from a file of weights."""

from pathlib import Path

import pytest
import torch
from tiny import go, trial
from torch import nn

from hcl.config import ConfigError
from hcl.networks import build_network, given_weights
from hcl.training.learner import Runtime, run
from hcl.training.trial_state import start_trial


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a data root with the weights of a network that has another head."""
    torch.manual_seed(3)
    network = build_network(trial("finetune").target, (64,), 99)
    torch.save(network.state_dict(), tmp_path / "given.pt")
    return tmp_path


@pytest.mark.parametrize("method", ["finetune", "from_scratch", "hnet"])
def test_all_but_the_head_starts_from_the_file(root: Path, method: str) -> None:
    more = {"method__generate": "lora(1)", "method__shared": "fixed"} if method == "hnet" else {}
    config = trial(method, target__weights="given.pt", **more)
    made = start_trial(config, Runtime(data_root=root), None).method
    expected = torch.load(root / "given.pt", weights_only=True)["0.weight"]
    if method == "hnet":
        found = [made.target.shared["0.weight"]]
    else:
        networks = [made.network] if method == "finetune" else list(made.networks)
        found = [network[0].weight for network in networks]
        assert networks[0][2].weight.shape == (6, 8)
    assert all(torch.equal(weight, expected) for weight in found)


def test_a_fixed_part_stays_what_it_was(root: Path) -> None:
    settings = {"method__generate": "lora(1)", "method__shared": "fixed"}
    config = trial("hnet", target__weights="given.pt", **settings)
    runtime = Runtime(data_root=root, checkpoint_dir=root / "checkpoints", threads=1)
    result = run(config, runtime=runtime)
    again = start_trial(config, runtime, None).method
    expected = torch.load(root / "given.pt", weights_only=True)
    assert torch.equal(again.target.shared["0.weight"], expected["0.weight"])
    assert result.data_digest != go(trial("hnet", **settings)).data_digest
    torch.save({k: t + 1 for k, t in expected.items()}, root / "given.pt")
    with pytest.raises(ConfigError, match="checkpoints .* of another trial"):
        run(config, runtime=runtime)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file"),
        ({"0.weight": torch.zeros(8, 64)}, r"lacks 0.bias \(8,\)"),
        ({"0.weight": torch.zeros(2, 2), "0.bias": torch.zeros(8)}, r"0.weight \(8, 64\)"),
        ([1, 2], "is no state dict"),
        (nn.Linear(2, 2), "cannot be read"),  # a pickled object
    ],
)
def test_files_that_do_not_fit_are_refused_in_one_sentence(
    tmp_path: Path, content: object, said: str
) -> None:
    if content is not None:
        torch.save(content, tmp_path / "w.pt")
    config = trial("finetune", target__weights="w.pt")
    with pytest.raises(ConfigError, match=said) as error:
        start_trial(config, Runtime(data_root=tmp_path), None)
    assert "\n" not in str(error.value)


def test_a_whole_training_from_given_weights(root: Path) -> None:
    """The target's weights are counted on the meta device, where given ones have no place."""
    result = run(trial("finetune", target__weights="given.pt"), runtime=Runtime(data_root=root))
    assert result.metrics["num_target_weights"] == 64 * 8 + 8 + 8 * 6 + 6


def test_weights_that_nothing_would_use_are_refused(root: Path) -> None:
    config = trial("hnet", target__weights="given.pt")
    with pytest.raises(ConfigError, match="generates all weights; set method/generate"):
        start_trial(config, Runtime(data_root=root), None)


def test_a_safetensors_file_is_read(tmp_path: Path) -> None:
    torch_files = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    torch_files.save_file({"a": torch.ones(3)}, tmp_path / "w.safetensors")
    assert torch.equal(given_weights.read(tmp_path / "w.safetensors")["a"], torch.ones(3))
