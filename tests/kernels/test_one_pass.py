"""A step in one pass over the output layer against the same step in separate operations."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import build, go, learn, trial

from hcl.config import TrainConfig
from hcl.config.methods import HypernetConfig
from hcl.hypernets import TaskHypernet
from hcl.kernels import one_pass

KERNEL, SECONDS = one_pass.kernel()
needs_compiler = pytest.mark.skipif(KERNEL is None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stepped(compiled: str, num_weights: int, config: HypernetConfig, past: int) -> TaskHypernet:
    """Take four steps of a task with `past` ones before it; the loss pulls weights to a line."""
    torch.manual_seed(1)
    train = TrainConfig(compile=compiled, lr=0.01)  # type: ignore[arg-type]
    learned = TaskHypernet(num_weights, past + 1, config, train, seed=0)
    learned.start_task(past)
    for optimizer in (learned.optimizer, learned.embedding_optimizer):
        optimizer.eps = 0.01  # else Adam makes whole steps of gradients that are rounding
    line = torch.linspace(-1, 1, num_weights)
    for _ in range(4):
        loss = (learned.current() - line).square().sum()
        learned.update(loss, [])
    return learned


@needs_compiler
@settings(max_examples=60, deadline=None)
@given(
    num_weights=st.integers(1, 3000),
    chunk_size=st.one_of(st.integers(0, 40), st.integers(41, 2500)),
    hidden=st.lists(st.integers(1, 40), max_size=2),
    past=st.integers(1, 4),
    reg_tasks=st.integers(0, 2),
)
def test_the_same_steps(
    num_weights: int, chunk_size: int, hidden: list[int], past: int, reg_tasks: int
) -> None:
    config = HypernetConfig(
        beta=0.5,
        embedding_size=3,
        chunk_embedding_size=2,
        chunk_size=chunk_size,
        hidden_sizes=tuple(hidden),
        activation="elu",
        reg_tasks=reg_tasks,
    )
    mine, theirs = (stepped(c, num_weights, config, past) for c in ("on", "off"))
    assert mine.compiled_step is not None and theirs.compiled_step is None
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-5)
    moments = [(t.optimizer.first + t.optimizer.second) for t in (mine, theirs)]
    for p, q in zip(*moments, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4 * q.norm().item() + 1e-7)


@needs_compiler
@pytest.mark.parametrize("beta2", [0.9, 0.9999, 0.99999])
def test_moments_that_last(beta2: float) -> None:
    """1 - beta2 is not computed in float32: at 0.99999 it would be off by a thousandth."""
    config = HypernetConfig(chunk_size=300, hidden_sizes=(7,), embedding_size=4)
    first = []
    for compiled in ("on", "off"):
        torch.manual_seed(1)
        train = TrainConfig(compile=compiled, adam_beta2=beta2)  # type: ignore[arg-type]
        learned = TaskHypernet(1000, 2, config, train, seed=0)
        learned.start_task(1)
        learned.update(learned.current().square().sum(), [])
        first.append(learned.optimizer.second[-1])
    torch.testing.assert_close(*first, rtol=2e-4, atol=1e-6 * first[1].max().item())


@needs_compiler
@pytest.mark.parametrize("num_weights", [2000, 20_011])
def test_the_number_of_threads_does_not_matter(num_weights: int) -> None:
    config = HypernetConfig(chunk_size=3000, hidden_sizes=(7,), embedding_size=4)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(stepped("on", num_weights, config, past=2).hypernet.output.detach())
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-6)


@needs_compiler
def test_a_repeated_step_is_the_same_bit_for_bit() -> None:
    config = HypernetConfig(chunk_size=700, hidden_sizes=(9,), embedding_size=4)
    torch.set_num_threads(2)
    first, again = (stepped("on", 3001, config, past=2).hypernet.output for _ in range(2))
    assert torch.equal(first, again)


@needs_compiler
def test_training_with_it_gives_the_same_accuracies() -> None:
    plain = go(trial("hnet", train__compile="off"))
    compiled = go(trial("hnet", train__compile="on"))
    assert compiled.metrics["compile_seconds"] < SECONDS + 1  # 0 but for the first in a process
    for name, matrix in plain.accuracy.items():
        for row, expected in zip(compiled.accuracy[name], matrix, strict=True):
            assert row == pytest.approx(expected)


@needs_compiler
def test_groups_of_parameters_have_it_each() -> None:
    ends = []
    for compiled in ("on", "off"):
        config = trial("hnet", method__chunk_groups=("0.weight=50",), train__compile=compiled)
        method, data = build(config)
        for task_id in range(3):
            learn(method, data, task_id, steps=5)
        ends.append(method.task_hypernet(range(3)).detach())
    assert not torch.equal(*ends)
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-4)


def test_where_it_does_not_apply() -> None:
    def step_of(num_past: int = 1, **changes: object) -> object:
        config = HypernetConfig(**{"hidden_sizes": (4,), "chunk_size": 50, **changes})
        learned = TaskHypernet(200, 3, config, TrainConfig(compile="on"), seed=0)
        learned.start_task(num_past)
        return learned.compiled_step

    assert (step_of() is None) == (KERNEL is None)
    assert step_of(num_past=0) is None  # nothing to regularize
    assert step_of(beta=0.0) is None
    assert step_of(lookahead="off") is None
    assert step_of(lookahead="full") is None


def test_no_compiler_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """tests/kernels/test_no_compiler.py trains without one."""
    monkeypatch.setenv("CXX", "/nowhere/c++ -v")
    one_pass._compile.cache_clear()
    try:
        assert one_pass.kernel()[0] is None
        assert "the training step is not compiled" in caplog.text
    finally:
        monkeypatch.undo()
        one_pass._compile.cache_clear()
