"""Accuracies over embeddings: at the learned ones they are the matrix's last row."""

import pytest
import torch
from tiny import go, trial

from hcl import seeding
from hcl.measure.embedding_space import accuracy_over_embeddings, square_grid
from hcl.methods.hnet import Hnet
from hcl.training.process import Runtime
from hcl.training.trial_state import start_trial


@pytest.mark.parametrize("scenario", ["task", "class"])
@pytest.mark.parametrize("at_once", [1, 16_000_000])
def test_learned_embeddings_have_the_recorded_accuracies(
    tmp_path, monkeypatch, scenario: str, at_once: int
) -> None:
    monkeypatch.setattr("hcl.measure.embedding_space.WEIGHTS_AT_ONCE", at_once)
    config = trial(
        scenario=scenario,
        benchmark="permuted_digits",
        method__embedding_size=2,
        train__iterations=40,
        eval_scenarios=["task"],
    )
    result = go(config, tmp_path)
    with seeding.isolated(1, "test"):
        loaded = start_trial(config, Runtime(checkpoint_dir=tmp_path), None)
    method = loaded.method.eval()
    assert isinstance(method, Hnet)
    learned = method.task_hypernet.stacked_embeddings(range(3)).detach()
    done: list[int] = []
    found = accuracy_over_embeddings(
        method, loaded.benchmark, learned, [0, 2], progress=done.append
    )
    assert found.shape == (2, 3) and sum(done) == 3
    row = result.accuracy["test/task"][-1]
    assert found[0, 0].item() == pytest.approx(row[0], abs=1e-12)
    assert found[1, 2].item() == pytest.approx(row[2], abs=1e-12)
    # The subset is always the same one.
    few = [accuracy_over_embeddings(method, loaded.benchmark, learned, [0], 7) for _ in range(2)]
    assert torch.equal(few[0], few[1]) and ((few[0] * 7) % 1 < 1e-9).all()


def test_the_grid_is_a_square_around_the_embeddings() -> None:
    centers = torch.tensor([[0.0, 1.0], [4.0, 2.0]])
    grid = square_grid(centers, 5).reshape(5, 5, 2)
    assert torch.equal(grid[:, 0, 0], torch.linspace(-2.0, 6.0, 5))
    assert torch.equal(grid[0, :, 1], torch.linspace(-2.5, 5.5, 5))
    assert len(square_grid(centers[:1], 3)) == 9
