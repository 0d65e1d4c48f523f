"""Each fast part computes what its clear one does.

A change to a file in `hcl/hypernets` that is not made here too fails under the part's name:

    clear                                   fast
    Hypernet.features                       hypernet_layers.Hidden
    Hypernet.forward                        hypernet_layers.generate
    OutputRegularizer                       gram_regularizer.GramRegularizer
    CandidateAdam                           fast_adam.FastAdam
    TaskHypernet's step                     one_pass.ThinStep
    the same with train/kernels plain       replicas.HypernetReplicas

`flat_mlp` and `int8_mlp` are for target networks: test_flat_mlp.py, test_int8_mlp.py.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypernet_cases import SHAPES, Case, drawn, heads_mask, subset
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VARIANTS, batch, build, go, learn, trial, variant
from torch import Tensor

from hcl.config import ConfigError, TrainConfig
from hcl.config.methods import METHOD_CONFIGS, HypernetConfig
from hcl.hypernets import CandidateAdam, HeadMask, Hypernet, OutputRegularizer, TaskHypernet
from hcl.hypernets.hypernet import ACTIVATIONS
from hcl.kernels import hypernet_layers, one_pass
from hcl.kernels.fast_adam import FastAdam
from hcl.kernels.gram_regularizer import GramRegularizer
from hcl.kernels.hypernet_layers import Hidden, generate, with_one
from hcl.replicas.hnet_replicas import HnetReplicas


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def assert_near(mine: list[Tensor], theirs: list[Tensor], rtol: float = 1e-10) -> None:
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol * max(1.0, b.norm().item()))


def gradients(value: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(value.square().sum(), inputs, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(inputs, found, strict=True)]


def test_both_know_the_same_activations() -> None:
    assert hypernet_layers.ACTIVATIONS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("chunks_first", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_features_and_their_gradients(shape: str, chunks_first: bool) -> None:
    case = Case(0, num_tasks=3, num_weights=30, **SHAPES[shape])
    theta, embeddings = case.candidate(), case.embeddings.requires_grad_()
    theirs = case.hypernet.features(embeddings, theta)
    hidden = Hidden.of(embeddings, theta[:-1], case.hypernet.activation, chunks_first)
    mine = hidden.layers[-1].transpose(0, 1) if chunks_first else hidden.layers[-1]
    assert_near([with_one(mine)], [theirs])
    inputs = [*theta[:-1], embeddings]
    expected = gradients(theirs[..., :-1], inputs)
    assert_near(gradients(mine, inputs), expected)
    with torch.no_grad():
        written_out, for_embeddings = hidden.gradients(2 * hidden.layers[-1])
    assert_near([*written_out, for_embeddings], expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_generated_weights_and_their_gradients(shape: str) -> None:
    case = Case(0, num_tasks=3, num_weights=30, **SHAPES[shape])
    theta, embeddings = case.candidate(), case.embeddings.requires_grad_()
    theirs = case.hypernet(embeddings, theta)
    mine = generate(case.hypernet, embeddings, theta)
    assert_near([mine], [theirs])
    inputs = [*theta, embeddings]
    assert_near(gradients(mine, inputs), gradients(theirs, inputs))


@settings(max_examples=60)
@given(
    num_weights=st.integers(1, 40),
    chunk_size=st.integers(0, 45),
    hidden_sizes=st.lists(st.integers(1, 5), max_size=3),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    num_tasks=st.integers(1, 4),
)
def test_generated_weights_everywhere(
    num_weights: int, chunk_size: int, hidden_sizes: list[int], activation: str, num_tasks: int
) -> None:
    hypernet = Hypernet(num_weights, 3, 2, chunk_size, tuple(hidden_sizes), activation)
    embeddings = torch.randn(num_tasks, 3)
    assert_near([generate(hypernet, embeddings, hypernet.theta())], [hypernet(embeddings)])


@settings(max_examples=60)
@given(
    hidden_sizes=st.lists(st.integers(1, 5), max_size=3),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    chunk_size=st.integers(1, 10),
    chunks_first=st.booleans(),
    num_replicas=st.integers(0, 3),
)
def test_gradients_of_hidden_layers_are_autograds(
    hidden_sizes: list[int],
    activation: str,
    chunk_size: int,
    chunks_first: bool,
    num_replicas: int,
) -> None:
    torch.manual_seed(0)
    hypernet = Hypernet(20, 3, 2, chunk_size, tuple(hidden_sizes), activation)
    front = (num_replicas,) * (num_replicas > 0)
    lower = [torch.randn(*front, *p.shape, requires_grad=True) for p in hypernet.theta()[:-1]]
    embeddings = torch.randn(*front, 4, 3, requires_grad=True)
    hidden = Hidden.of(embeddings, lower, activation, chunks_first)
    last = hidden.layers[-1]
    grad = torch.randn_like(last)
    *theirs, of_embeddings = torch.autograd.grad(last, [*lower, embeddings], grad)
    with torch.no_grad():
        mine, own = hidden.gradients(grad)
    for a, b in zip([*mine, own], [*theirs, of_embeddings], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def assert_same_penalty(
    case: Case, mask: HeadMask | None, tasks: list[int], strength: float
) -> None:
    theta, chosen = case.candidate(), subset(case, tasks)
    mine, theirs = (
        case.regularizer(kind, mask).value_and_grads(theta, chosen, strength)
        for kind in (GramRegularizer, OutputRegularizer)
    )
    assert_near([mine[0], *mine[1]], [theirs[0], *theirs[1]])


@pytest.mark.parametrize("tasks", [[0, 1, 2], [1], [2, 0]], ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_regularizer_and_its_gradient(shape: str, masked: bool, tasks: list[int]) -> None:
    case = Case(0, num_tasks=3, num_weights=30, **SHAPES[shape])
    assert_same_penalty(case, heads_mask() if masked else None, tasks, strength=0.7)


@settings(max_examples=60)
@given(data=st.data())
def test_regularizer_everywhere(data: st.DataObject) -> None:
    assert_same_penalty(*drawn(data), strength=1.0)


@pytest.mark.parametrize("at_once", [1, 40])
@pytest.mark.parametrize("hidden_sizes", [(4, 5), ()], ids=str)
def test_blocks_of_chunks_change_memory_alone(
    hidden_sizes: tuple[int, ...], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(0, 3, 117, chunk_size=10, hidden_sizes=hidden_sizes)
    regularizer = case.regularizer(GramRegularizer)
    theta = case.candidate()
    value, grads = regularizer.value_and_grads(theta)
    monkeypatch.setattr("hcl.kernels.past_features.FEATURES_AT_ONCE", at_once)
    again, same = regularizer.value_and_grads(theta)
    torch.testing.assert_close(again, value, rtol=1e-12, atol=0)
    for mine, theirs in zip(same, grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-14)


def test_bfloat16_products_change_a_percent_at_most() -> None:
    """bfloat16 has 8 bits: errors of 2^-9 each, in value and gradient, at any distance."""
    torch.set_default_dtype(torch.float32)
    case = Case(5, 4, 3000, chunk_size=500, hidden_sizes=(20, 30))
    for distance in (1e-4, 1e-2):
        theta = case.candidate(distance)
        value, grads = case.regularizer(OutputRegularizer).value_and_grads(theta)
        rough = case.regularizer(GramRegularizer, is_bfloat16=True)
        rough_value, rough_grads = rough.value_and_grads(theta)
        assert rough_value.item() == pytest.approx(value.item(), rel=0.01)
        assert rough_value.item() != value.item()
        for a, b in zip(rough_grads, grads, strict=True):
            assert ((a - b).norm() / b.norm()).item() < 0.01


@pytest.mark.parametrize(("activation", "bias"), [("sigmoid", 6.0), ("elu", -6.0), ("relu", 6.0)])
def test_bfloat16_products_know_saturated_units(activation: str, bias: float) -> None:
    """Near its limits an activation is rounded to the limit, where its slope is 0."""
    torch.set_default_dtype(torch.float32)
    case = Case(6, 4, 3000, chunk_size=500, hidden_sizes=(20, 30), activation=activation)
    with torch.no_grad():
        for p in case.hypernet.theta()[2:-1:2]:
            p.fill_(bias)
    theta = case.candidate(1e-2)
    _, exact = case.regularizer(OutputRegularizer).value_and_grads(theta)
    _, rough = case.regularizer(GramRegularizer, is_bfloat16=True).value_and_grads(theta)
    for a, b in zip(rough, exact, strict=True):
        assert ((a - b).norm() / b.norm()).item() < 0.02


def test_bfloat16_products_train_about_the_same() -> None:
    torch.set_default_dtype(torch.float32)
    ends = []
    for precision in ("float32", "bfloat16"):
        method, data = build(trial("hnet", method__reg_precision=precision))
        for task_id in range(3):
            learn(method, data, task_id, steps=10)
        ends.append(method.task_hypernet(range(3)).detach())
    assert not torch.equal(*ends)
    torch.testing.assert_close(*ends, rtol=0, atol=0.02 * ends[0].abs().max().item())


SHAPES_OF_PARAMS = [(3, 2), (4,), (1, 0), (5, 7)]


def some() -> list[Tensor]:
    return [torch.randn(shape) for shape in SHAPES_OF_PARAMS]


def test_adams_candidate_and_step() -> None:
    start = some()
    mine, theirs = (kind([p.clone() for p in start], 0.01) for kind in (FastAdam, CandidateAdam))
    for _ in range(4):
        grads, more = some(), some()
        assert_near(mine.ahead(grads), theirs.ahead(grads), 1e-12)
        for optimizer in (mine, theirs):
            optimizer.step(grads, [m.clone() for m in more])
        for a, b in zip((mine.params, mine.first, mine.second),
                        (theirs.params, theirs.first, theirs.second), strict=True):  # fmt: skip
            assert_near(a, b, 1e-12)


def stepped(num_weights: int, **how: Any) -> tuple[TaskHypernet, list[Tensor | None]]:
    """A hypernetwork after four steps with two past tasks, and its penalties."""
    torch.manual_seed(1)
    train = TrainConfig(lr=0.01, compile=how.pop("compile", "off"), kernels=how.pop("kernels"))
    config = HypernetConfig(
        beta=0.5, embedding_size=3, chunk_embedding_size=2, activation="elu", **how
    )
    learned = TaskHypernet(num_weights, 3, config, train, seed=0)
    learned.start_task(2)
    for optimizer in (learned.optimizer, learned.embedding_optimizer):
        optimizer.eps = 0.01  # else Adam makes whole steps of gradients that are rounding
    line = torch.linspace(-1, 1, num_weights)
    penalties = [
        learned.update((learned.current() - line).square().sum(), [])[0] for _ in range(4)
    ]
    return learned, penalties


HOW: dict[str, dict[str, Any]] = {
    "chunks": {"chunk_size": 70, "hidden_sizes": (6, 5)},
    "linear": {"chunk_size": 70, "hidden_sizes": ()},
    "full": {"chunk_size": 0, "hidden_sizes": (6,)},
    "subset": {"chunk_size": 70, "hidden_sizes": (6,), "reg_tasks": 1},
    "off": {"chunk_size": 70, "hidden_sizes": (6,), "lookahead": "off"},
    "differentiated": {"chunk_size": 70, "hidden_sizes": (6,), "lookahead": "full"},
}


@pytest.mark.parametrize("how", HOW)
def test_steps(how: str) -> None:
    mine, theirs = (stepped(200, kernels=k, **HOW[how]) for k in ("fast", "plain"))
    assert_near(list(mine[0].parameters()), list(theirs[0].parameters()), 1e-9)
    assert_near(mine[1], theirs[1], 1e-9)


@pytest.mark.skipif(one_pass.kernel()[0] is None, reason="no C++ compiler")
@pytest.mark.parametrize("how", ["chunks", "linear", "full", "subset"])
def test_thin_step(how: str) -> None:
    torch.set_default_dtype(torch.float32)
    mine, penalties = stepped(200, kernels="fast", compile="on", **HOW[how])
    theirs, expected = stepped(200, kernels="plain", **HOW[how])
    assert isinstance(mine.compiled_step, one_pass.ThinStep) and theirs.compiled_step is None
    assert_near(list(mine.parameters()), list(theirs.parameters()), 1e-3)
    assert_near(penalties, expected, 1e-3)


@pytest.mark.parametrize("name", ["hnet", "hnet-subset", "hnet-off", "hnet-masked"])
def test_replicas(name: str) -> None:
    """Two fast replicas against the same two trials with the clear parts, one after the other."""
    seeds = [{"seed": 1}, {"seed": 2, "method/beta": 0.3, "train/lr": 0.003}]
    mine, theirs = (
        [build(variant(name, **seed, train__kernels=kernels)) for seed in seeds]
        for kernels in ("fast", "plain")
    )
    data = mine[0][1]
    for task in data.tasks[:2]:
        for method, _ in [*mine, *theirs]:
            method.start_task(task)
            method.train()
        replicas = HnetReplicas([method for method, _ in mine])
        for i in range(3):
            batches = [batch(data, method, task.task_id, 16 * i) for method, _ in mine]
            losses = replicas.train_step(*map(torch.stack, zip(*batches, strict=True)))
            for r, (method, _) in enumerate(theirs):
                for key, value in method.train_step(*batches[r]).items():
                    torch.testing.assert_close(losses[key][r], value, rtol=1e-6, atol=1e-9)
        replicas.write_back()


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("hnet")])
def test_whole_trials(name: str) -> None:
    torch.set_default_dtype(torch.float32)
    scenario = METHOD_CONFIGS[VARIANTS[name][0]].SCENARIOS[-1]  # HNET+R's others are chaotic
    plain, fast = (
        go(variant(name, scenario=scenario, train__kernels=kernels))
        for kernels in ("plain", "fast")
    )
    for key, matrix in fast.accuracy.items():
        for mine, theirs in zip(plain.accuracy[key], matrix, strict=True):
            assert mine == pytest.approx(theirs, abs=0.03)  # a sample at the border


@pytest.mark.parametrize("name", ["hnet", "hnet-subset", "hnet-masked", "hnet-grouped"])
@pytest.mark.parametrize(("first", "then"), [("fast", "plain"), ("plain", "fast")])
def test_a_trial_goes_on_with_the_other_parts(name: str, first: str, then: str) -> None:
    """Both write the same state, in the middle of a task too."""
    (one, data), (other, _) = (
        build(variant(name, train__kernels=kernels)) for kernels in (first, then)
    )
    learn(one, data, 0)
    one.start_task(data.tasks[1])
    one.train_step(*batch(data, one, 1))
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for i in range(3):
        mine, theirs = (
            method.train_step(*batch(data, method, 1, 16 * i)) for method in (one, other)
        )
        assert mine.keys() == theirs.keys()
        for key in mine:
            torch.testing.assert_close(mine[key], theirs[key], rtol=1e-6, atol=1e-9)


def test_bfloat16_is_not_among_the_clear_parts() -> None:
    with pytest.raises(ConfigError, match="train/kernels: plain multiplies in float32"):
        trial("hnet", method__reg_precision="bfloat16", train__kernels="plain")


def test_the_choice_is_in_no_digest() -> None:
    assert variant("hnet", train__kernels="plain").digest() == variant("hnet").digest()
