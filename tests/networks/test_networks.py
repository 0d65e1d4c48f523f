"""Networks by name: sizes, settings, and the images and settings that they refuse."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, errors_of, go, settings_it_has, trial
from torch import Tensor, nn

from hcl.config import ConfigError, TrialConfig, target
from hcl.config.target import TORCHVISION, TargetConfig, has_batch_norm
from hcl.measure.needs import compression_ratio
from hcl.networks import NETWORKS, build_network
from hcl.networks.layers import xavier_
from hcl.networks.resnet32 import Block
from hcl.networks.target import TargetNetwork
from hcl.results import Progress
from hcl.storage import checkpoint

IMAGE = (3, 32, 32)
# One of each family that is built differently or called with other arguments.
FEW = ("resnet18", "vit_b_16", "regnet_x_400mf", "googlenet", "squeezenet1_1", "mnasnet0_5")

# Large ones take long.
SEVERAL = ["resnet32", "zenkenet", "resnet18", pytest.param("vit_b_16", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def config(network: str, **more: Any) -> TargetConfig:
    errors: list[str] = []
    made = target.GROUP.build({"network": network, **more}, "target/", errors)
    assert made is not None and errors == made.check() == []
    return made


def num_weights(network: str, num_outputs: int, shape: tuple[int, ...] = IMAGE) -> int:
    with torch.device("meta"):
        made = build_network(config(network), shape, num_outputs)
    return sum(p.numel() for p in made.parameters())


def flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_sizes_are_the_papers() -> None:
    """The sizes are those of the authors' code, with ten classes for each of six tasks."""
    assert num_weights("resnet32", 60) == 468_540
    assert num_weights("zenkenet", 60) == 1_276_508


def test_sizes_are_torchvisions() -> None:
    assert num_weights("resnet50", 1000, (3, 224, 224)) == 25_557_032
    assert num_weights("vit_b_16", 1000, (3, 224, 224)) == 86_567_656
    # The position embedding has 5 places instead of 197: 2 x 2 patches and the class.
    assert num_weights("vit_b_16", 1000) == 86_567_656 - (197 - 5) * 768


def test_registries_agree() -> None:
    assert NETWORKS.keys() == target.NETWORKS.keys()
    assert not NETWORKS.keys() & set(TORCHVISION)


def test_the_list_of_names_is_torchvisions() -> None:
    from torchvision import models

    assert list(TORCHVISION) == sorted(models.list_models(module=models))


def check_by_name(name: str, shape: tuple[int, ...]) -> None:
    """Check that batch norm is known without building, and that the head comes last."""
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        made = build_network(config(name), shape, 61)
    norms = nn.modules.batchnorm._BatchNorm
    assert any(isinstance(m, norms) for m in made.modules()) == has_batch_norm(name), name
    keys = [key for key, _ in made.named_parameters()]
    heads = [key for key, p in made.named_parameters() if p.shape and p.shape[0] == 61]
    assert heads == keys[-len(heads) :] and len({k.rpartition(".")[0] for k in heads}) == 1, name


@pytest.mark.parametrize("name", [*NETWORKS, *FEW])
def test_batch_norm_and_head_are_found_in_a_few(name: str) -> None:
    check_by_name(name, IMAGE)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_batch_norm_and_head_are_found_in_all() -> None:
    for name in TORCHVISION:
        check_by_name(name, (3, 224, 224))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", SEVERAL)
def test_run_with_weights_handed_in(name: str) -> None:
    """Weights from outside give the module's own outputs, in both modes, and gradients."""
    module = build_network(config(name), IMAGE, 5)
    target, x = TargetNetwork(module), torch.rand(4, *IMAGE)
    weights = flat(module).requires_grad_()
    buffers = {key: b.clone() for key, b in target.initial_buffers.items()}
    outputs = []
    for mode in (True, False):
        module.train(mode)
        target.train(mode)
        torch.manual_seed(1)  # dropout
        mine = target(weights, x, buffers)
        torch.manual_seed(1)
        torch.testing.assert_close(mine, module(x))
        outputs.append(mine)
    assert outputs[0].shape == (4, 5)
    (grad,) = torch.autograd.grad((outputs[0] - 1).square().sum(), weights)
    assert grad.isfinite().all() and grad.any()
    many = target.run_many(weights[None].detach(), x, [buffers])
    torch.testing.assert_close(many[0], outputs[1])


def test_shortcuts_have_no_weights() -> None:
    block = Block(16, 32).eval()
    nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 16, 8, 8)
    y = block(x)
    assert torch.equal(y[:, :16], x[:, :, ::2, ::2]) and not y[:, 16:].any()
    network = build_network(config("resnet32"), IMAGE, 10)
    assert len([m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]) == 32


def test_dropout_is_where_it_was_asked_for() -> None:
    made = build_network(config("zenkenet", fc_dropout=0.4), IMAGE, 10)
    assert [m.p for m in made.modules() if isinstance(m, nn.Dropout)] == [0.25, 0.25, 0.4]
    wide = build_network(config("zenkenet", hidden_sizes=[9, 8]), IMAGE, 10)
    assert [m.out_features for m in wide.modules() if isinstance(m, nn.Linear)] == [9, 8, 10]


def test_xavier_leaves_norms_alone() -> None:
    network = build_network(config("resnet32"), IMAGE, 10)
    xavier_(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and not module.bias.any()
        elif isinstance(module, nn.Conv2d):
            assert module.weight.any() and not module.bias.any()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"target/network": "resnet17"}, "target/network: unknown network 'resnet17'; did you"),
        ({"target/network": "qqq"}, f"known: {', '.join(NETWORKS)} and torchvision's"),
        ({"target/network": 3}, "target/network: unknown network 3"),
        (
            {"target/network": "resnet32", "target/hidden_sizes": [400]},
            "target/hidden_sizes: resnet32 has no such setting but got [400]; leave it out",
        ),
        ({"target/network": "vit_b_16", "target/fc_dropout": 0.1}, "vit_b_16 has no such setting"),
        ({"target/network": "zenkenet", "target/activation": "sigmoid"}, "target/activation: zen"),
        ({"target/conv_dropout": 0.1}, "target/conv_dropout: mlp has no such setting but got 0.1"),
        ({"target/network": "zenkenet", "target/fc_dropout": 1}, "target/fc_dropout: must be < 1"),
    ],
)
def test_one_mistake_one_sentence(values: dict[str, Any], words: str) -> None:
    (error,) = errors_of({"benchmark/name": "cifar_6", **values})
    assert words in error and "\n" not in error


def test_vectors_are_for_mlps() -> None:
    (error,) = errors_of({"benchmark/name": "split_mnist", "target/network": "resnet32"})
    assert error.startswith("target/network: resnet32 takes images and split_mnist has vectors;")


@pytest.mark.parametrize("network", [*NETWORKS, "vit_b_16"])
def test_round_trip(network: str) -> None:
    made = TrialConfig.from_dict({"benchmark/name": "cifar_6", "target/network": network})
    assert TrialConfig.from_dict(made.to_dict()) == made


@pytest.mark.parametrize(
    ("name", "words"),
    [("alexnet", "too small"), ("vit_h_14", "indivisible"), ("maxvit_t", "not divisible")],
)
def test_images_that_are_too_small_are_refused_in_one_sentence(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} cannot take images of 3 x 32 x 32 .*{words}"):
        num_weights(name, 10)


@pytest.mark.timeout(60)
def test_names_are_known_without_torch() -> None:
    script = (
        "import sys; from hcl.config import TrialConfig;"
        "TrialConfig.from_dict({'benchmark/name': 'cifar_6', 'target/network': 'resnet18'});"
        "sys.exit(bool({'torch', 'torchvision'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("network", ["resnet50", "regnet_x_400mf"])
def test_the_compression_ratio_of_a_large_network_is_known(network: str) -> None:
    made = trial(benchmark="split_cifar10", target__network=network, target__hidden_sizes=[],
                 method__chunk_size=7000)  # fmt: skip
    assert 0 < compression_ratio(made, IMAGE) < 1


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("hnet", "zenkenet", {}),
    ("hnet", "resnet32", {"method__mask_heads": True}),
    ("hnet_tir", "zenkenet", {}),
    ("hnet_r", "zenkenet", {}),
    ("si", "resnet32", {}),
    ("online_ewc", "zenkenet", {}),
    ("from_scratch", "zenkenet", {}),
]


@pytest.mark.parametrize(("method", "network", "more"), CASES)
def test_resumed_equals_never_stopped(
    method: str,
    network: str,
    more: dict[str, Any],
    tiny_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dropout's draws and running statistics go on from where they were."""
    monkeypatch.setenv("HCL_DATA", str(tiny_root))
    small = [6] if network == "zenkenet" else []
    shared = {"target__network": network, "target__hidden_sizes": small, **more}
    shared |= settings_it_has(method, chunk_size=4000, fisher_samples=4)
    made = trial(method, benchmark="split_cifar10", train__batch_size=4, train__iterations=3,
                 benchmark__num_tasks=2, **shared)  # fmt: skip

    def stop(progress: Progress) -> None:
        if progress.task_id == 1:
            raise KeyboardInterrupt

    steady, torn = tmp_path / "steady", tmp_path / "torn"
    straight = go(made, steady)
    with pytest.raises(KeyboardInterrupt):
        go(made, torn, 2, progress=stop)
    assert go(made, torn, 2).accuracy == straight.accuracy
    states = [checkpoint.load_latest(folder) for folder in (steady, torn)]
    for state in states:
        assert state is not None
        del state["seconds"], state["train_seconds"]
    assert_same(*states)
