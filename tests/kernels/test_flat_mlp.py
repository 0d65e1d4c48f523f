"""The written-out network against torch's."""

import pytest
import torch
from torch import nn

from hcl.kernels.flat_mlp import FlatMlp, sizes_of
from hcl.networks.layers import fully_connected


@pytest.mark.parametrize("sizes", [[5, 3], [6, 7, 4], [4, 5, 6, 7]])
@pytest.mark.parametrize("is_image", [False, True])
def test_values_and_gradients(sizes: list[int], is_image: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), *fully_connected(sizes)).double()
    shape = (8, 1, sizes[0]) if is_image else (8, sizes[0])
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    flat = torch.cat([p.detach().flatten() for p in network.parameters()]).requires_grad_()
    made = FlatMlp.apply(flat, x, sizes_of(network))
    expected = network(x)
    torch.testing.assert_close(made, expected)
    weights = torch.randn_like(expected)
    mine = torch.autograd.grad((made * weights).sum(), [flat, x])
    theirs = torch.autograd.grad((expected * weights).sum(), [*network.parameters(), x])
    torch.testing.assert_close(mine[0], torch.cat([g.flatten() for g in theirs[:-1]]))
    torch.testing.assert_close(mine[1], theirs[-1])


def test_only_what_it_knows() -> None:
    assert sizes_of(fully_connected([4, 5, 6])) == [(5, 4), (6, 5)]
    others = [
        nn.Linear(3, 4),
        nn.Sequential(nn.Flatten()),
        fully_connected([4, 5, 6], "sigmoid"),
        nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6)),
        nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6, bias=False)),
        nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 6)),
        nn.Sequential(nn.Linear(4, 5), nn.ReLU()),
    ]
    assert [sizes_of(module) for module in others] == [None] * len(others)


def test_wrong_number_of_weights() -> None:
    with pytest.raises(RuntimeError):
        FlatMlp.apply(torch.zeros(3), torch.zeros(1, 4), [(2, 4)])
