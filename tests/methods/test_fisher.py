"""Fisher information against one backward pass per sample, and the penalties built on it."""

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from tiny import assert_same, batch, build, learn, trial
from torch import Tensor, nn

from hcl.config import TargetConfig
from hcl.methods import per_sample
from hcl.methods.fisher import diagonal_fisher, gaussian_fisher
from hcl.networks import build_network

LABELS = ("predicted", "sampled", "true", "expected")


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def mlp(inplace: bool = False) -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, 4), nn.ReLU(inplace), nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 6)
    )


class Scaled(nn.Module):
    """A network with other parameters than Linear layers': it takes the general path."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(5))
        self.net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * self.scale)


class Shared(nn.Module):
    """A network that uses a layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.last = nn.Linear(5, 5), nn.Linear(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.twice(torch.tanh(self.twice(x)))))


class Tokens(nn.Module):
    """A network with a layer that sees several vectors per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.last = nn.Linear(1, 3), nn.Linear(3, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.each(x[:, :, None])).mean(1))


NETWORKS = {
    "mlp": mlp,
    "inplace": lambda: mlp(True),
    "linear": lambda: nn.Linear(5, 6),
    "scaled": lambda: Scaled().eval(),
    "shared": Shared,
    "tokens": Tokens,
}


def sample_by_sample(
    network: nn.Module, x: Tensor, y: Tensor, active: slice, labels: str, draws: torch.Generator
) -> dict[str, Tensor]:
    """Follow the definition: one backward pass per sample and label."""
    total = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    drawn = torch.multinomial(network(x)[:, active].softmax(1), 1, generator=draws)[:, 0]
    for n in range(len(x)):
        p = network(x[n : n + 1])[0, active].softmax(0).detach()
        chosen = {
            "predicted": [(int(p.argmax()), 1.0)],
            "sampled": [(int(drawn[n]), 1.0)],
            "true": [(int(y[n]) - active.start, 1.0)],
            "expected": [(c, float(p[c])) for c in range(len(p))],
        }[labels]
        for label, weight in chosen:
            log_p = F.log_softmax(network(x[n : n + 1])[0, active], 0)[label]
            grads = torch.autograd.grad(log_p, list(network.parameters()))
            for name, grad in zip(total, grads, strict=True):
                total[name] += weight * grad.square() / len(x)
    return total


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_against_a_loop(kind: str, labels: str) -> None:
    network = NETWORKS[kind]()
    x, active = torch.randn(40, 5), slice(2, 5)
    y = torch.randint(2, 5, (40,))
    parts = [(x[:25], y[:25]), (x[25:], y[25:])]
    mine = diagonal_fisher(network, parts[:1], active, labels, torch.Generator().manual_seed(3))
    draws = torch.Generator().manual_seed(3)
    theirs = sample_by_sample(network, *parts[0], active, labels, draws)
    assert mine.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-9, atol=1e-14)
    assert all(p.grad is None for p in network.parameters())
    if labels != "sampled":  # batches do not matter
        whole = diagonal_fisher(network, [(x, y)], active, labels)
        split = diagonal_fisher(network, parts, active, labels)
        for name in whole:
            torch.testing.assert_close(whole[name], split[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("labels", LABELS)
def test_both_paths_agree(labels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x, y = mlp(), torch.randn(40, 5), torch.randint(0, 6, (40,))
    found = []
    for path in (per_sample._sum_linear, per_sample._sum_general):
        monkeypatch.setattr(per_sample, "_sum_linear", path)
        draws = torch.Generator().manual_seed(3)
        found.append(diagonal_fisher(network, [(x, y)], slice(0, 6), labels, draws))
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("labels", ["predicted", "true", "expected"])
@pytest.mark.parametrize("network", ["resnet32", "zenkenet"])
def test_convolutions_against_a_loop(
    network: str, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples are independent with the statistics of evaluation and without dropout."""
    monkeypatch.setattr("hcl.networks.resnet32.BLOCKS", 1)
    sizes = (4,) if network == "zenkenet" else ()
    config = TargetConfig(network, sizes, conv_dropout=0.2, fc_dropout=0.2)
    made = build_network(config, (3, 16, 16), 6)
    x, y, active = torch.rand(5, 3, 16, 16), torch.randint(2, 5, (5,)), slice(2, 5)
    made.train()
    made(x)  # makes statistics that are not the initial ones
    made.eval()
    before = {key: b.clone() for key, b in made.named_buffers()}
    mine = diagonal_fisher(made, [(x, y)], active, labels)
    assert_same(dict(made.named_buffers()), before)
    theirs = sample_by_sample(made, x, y, active, labels, torch.Generator())
    assert mine.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-8, atol=1e-14)


def test_saturated_network_is_finite() -> None:
    network = nn.Linear(5, 6)
    with torch.no_grad():
        network.weight.mul_(1e3)
    found = diagonal_fisher(network, [(torch.randn(8, 5), torch.zeros(8).long())], slice(0, 6))
    assert all(value.isfinite().all() for value in found.values())


def two_tasks(method: str, **more: object) -> tuple:  # type: ignore[type-arg]
    """Make a method that has learned two tasks; also its Fisher and parameters after each."""
    made, data = build(trial(method, method__fisher_samples=0, **more))
    fishers, anchors = [], []
    for task_id in range(2):
        train_only(made, data, task_id)
        fishers.append(made.estimate(data.tasks[task_id]))
        anchors.append({n: p.detach().clone() for n, p in made.network.named_parameters()})
        made.consolidate(fishers[-1], anchors[-1])
    with torch.no_grad():
        for p in made.network.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return made, data, fishers, anchors


def train_only(made, data, task_id: int) -> None:  # type: ignore[no-untyped-def]
    made.start_task(data.tasks[task_id])
    for i in range(3):
        made.train_step(*batch(data, made, task_id, 16 * i))


def quadratic(made, fisher: dict[str, Tensor], anchor: dict[str, Tensor]) -> float:  # type: ignore[no-untyped-def]
    now = {n: p.detach() for n, p in made.network.named_parameters()}
    return sum(float((f * (now[n] - anchor[n]) ** 2).sum()) for n, f in fisher.items())


def test_ewc_penalty() -> None:
    """The penalty is lambda / 2 * sum over past tasks of F (theta - anchor)^2."""
    torch.set_default_dtype(torch.float32)
    made, data, fishers, anchors = two_tasks("ewc", method__ewc_lambda=30.0)
    made.start_task(data.tasks[2])
    losses = made.losses(*batch(data, made, 2))
    terms = [quadratic(made, f, a) for f, a in zip(fishers, anchors, strict=True)]
    assert losses["regularizer"].item() == pytest.approx(15 * sum(terms), rel=1e-5)
    assert min(terms) > 0


def test_online_ewc_penalty() -> None:
    """The penalty is lambda / 2 * gamma (gamma F_1 + F_2) (theta - the latest anchor)^2."""
    torch.set_default_dtype(torch.float32)
    made, data, (f1, f2), anchors = two_tasks(
        "online_ewc", method__ewc_lambda=30.0, method__gamma=0.6
    )
    made.start_task(data.tasks[2])
    losses = made.losses(*batch(data, made, 2))
    running = {name: 0.6 * f1[name] + f2[name] for name in f1}
    expected = 15 * 0.6 * quadratic(made, running, anchors[1])
    assert losses["regularizer"].item() == pytest.approx(expected, rel=1e-5)
    assert len(made.importances) == len(made.anchors) == 1


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_fisher_of_a_method_uses_the_scenarios_outputs(scenario: str) -> None:
    torch.set_default_dtype(torch.float32)
    made, data = build(
        trial("ewc", scenario, method__fisher_samples=0, method__fisher_labels="true")
    )
    learn(made, data, 0)
    made.start_task(data.tasks[1])
    found = made.estimate(data.tasks[1])
    active = {"task": slice(2, 4), "domain": slice(0, 2), "class": slice(0, 4)}[scenario]
    train = data.tasks[1].train
    x, y = train.batch(torch.arange(len(train)))
    targets = y + (0 if scenario == "domain" else 2)
    network = copy.deepcopy(made.network)
    expected = sample_by_sample(network, x, targets, active, "true", torch.Generator())
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-7)


def test_fisher_samples_limits_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float32)
    made, data = build(trial("ewc", method__fisher_samples=33))
    made.start_task(data.tasks[0])
    monkeypatch.setattr("hcl.methods.consolidation.SAMPLES_AT_ONCE", 20)
    sizes = [len(y) for _, y in made.sample_batches(data.tasks[0])]
    assert sizes == [20, 13]


def test_fisher_of_a_linear_regression_in_closed_form() -> None:
    """With f = W x + b: F of W_ki is mean x_i^2, with the data's y mean (f - y)_k^2 x_i^2."""
    network = nn.Linear(3, 2)
    x, y = torch.randn(8, 3), torch.randn(8, 2)
    batches = [(x[:5], y[:5]), (x[5:], y[5:])]
    expected = gaussian_fisher(network, batches, "expected")
    torch.testing.assert_close(expected["weight"], x.square().mean(0).expand(2, 3))
    torch.testing.assert_close(expected["bias"], torch.ones(2))
    true = gaussian_fisher(network, batches, "true")
    residual = (network(x) - y).detach()
    by_hand = torch.stack([torch.outer(r, a).square() for r, a in zip(residual, x, strict=True)])
    torch.testing.assert_close(true["weight"], by_hand.mean(0))
    torch.testing.assert_close(true["bias"], residual.square().mean(0))


@pytest.mark.parametrize("labels", ["true", "expected"])
def test_fisher_of_a_regression_against_backward(labels: str) -> None:
    network, x, y = mlp(), torch.randn(6, 5), torch.randn(6, 6)
    total = [torch.zeros_like(p) for p in network.parameters()]
    for one, target in zip(x, y, strict=True):
        outputs = network(one[None])[0]
        residual = (outputs - target).detach()
        # E over y of the squared gradient: a sum over outputs, for y varies in each on its own.
        directions = [residual] if labels == "true" else list(torch.eye(6))
        for direction in directions:
            grads = torch.autograd.grad(
                (outputs * direction).sum(), list(network.parameters()), retain_graph=True
            )
            total = [t + g.square() / 6 for t, g in zip(total, grads, strict=True)]
    found = gaussian_fisher(network, [(x, y)], labels)
    for mine, theirs in zip(found.values(), total, strict=True):
        torch.testing.assert_close(mine, theirs)
