"""Generated networks are kept while they are right, and answers land in the right head."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from hcl.inference.networks_of_tasks import Buffers, NetworksOfTasks, place_in_heads
from hcl.scenario import OutputLayout

LAYOUT = OutputLayout("class", 4, 2)


class Linear:
    """A target network of one matrix, without biases, that counts no running statistics."""

    layer_sizes = None

    def __call__(self, flat: Tensor, x: Tensor, buffers: Buffers | None = None) -> Tensor:
        return x @ flat.view(x.shape[1], -1)

    def run_part(self, flat: Tensor, x: Tensor, buffers: Buffers, outputs: slice) -> Tensor:
        return self(flat, x)[:, outputs]

    def run_many(
        self, flat: Tensor, x: Tensor, buffers: Sequence[Buffers] | None = None
    ) -> Tensor:
        return torch.stack([self(one, x) for one in flat])


class Generator:
    """Makes weights that depend on the task, and notes for which tasks it was asked."""

    def __init__(self) -> None:
        self.asked: list[range] = []
        self.weights = torch.randn(4, 3 * 8)

    def __call__(self, task_ids: range) -> Tensor:
        self.asked.append(task_ids)
        return self.weights[list(task_ids)]


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator()


@pytest.fixture
def networks(generator: Generator) -> NetworksOfTasks:
    return NetworksOfTasks(generator, Linear(), LAYOUT, lambda task_id: {})


def test_kept_weights_are_not_generated_again(
    networks: NetworksOfTasks, generator: Generator
) -> None:
    whole = networks.weights(range(3))
    assert torch.equal(networks.weights(range(1, 3)), whole[1:3])
    assert torch.equal(networks.weights(range(2, 3)), whole[2:])
    assert generator.asked == [range(3)]
    networks.weights(range(2, 4))
    networks.forget()
    networks.weights(range(2, 4))
    assert generator.asked == [range(3), range(2, 4), range(2, 4)]


def test_forgotten_weights_are_generated_anew(
    networks: NetworksOfTasks, generator: Generator
) -> None:
    x = torch.randn(5, 3)
    before = networks.run(x, 1)
    generator.weights = generator.weights + 1
    assert torch.equal(networks.run(x, 1), before)
    networks.forget()
    assert not torch.equal(networks.run(x, 1), before)


def test_the_surest_network_answers_with_its_own_head(networks: NetworksOfTasks) -> None:
    x = torch.randn(50, 3)
    task_ids, answers = networks.infer(x, 3)
    heads = torch.stack([networks.run(x, task)[:, LAYOUT.head(task)] for task in range(3)])
    entropies = torch.distributions.Categorical(logits=heads).entropy()
    assert torch.equal(task_ids, entropies.argmin(0))
    assert len(task_ids.unique()) > 1
    assert torch.equal(answers, heads[task_ids, torch.arange(50)])
    assert torch.equal(networks.answers(x, task_ids, 3), answers)


def test_answers_are_placed_in_the_head_of_their_task() -> None:
    answers = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    placed = place_in_heads(answers, torch.tensor([2, 0]), LAYOUT)
    nothing = -torch.inf
    expected = [[nothing] * 4 + [1.0, 2.0] + [nothing] * 2, [3.0, 4.0] + [nothing] * 6]
    assert placed.tolist() == expected
    shared = OutputLayout("domain", 4, 2)
    assert place_in_heads(answers, torch.tensor([2, 0]), shared) is answers
