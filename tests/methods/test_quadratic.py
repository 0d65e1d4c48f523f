"""The penalty of SI, EWC and MAS beside autograd's gradient of the same formula."""

import torch

from hcl.methods.consolidation import quadratic

SHAPES = [(3, 4), (4,), (2, 3, 3, 3)]


def draw(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def test_value_and_gradient() -> None:
    params, importance, anchor = (draw(seed) for seed in range(3))
    params[2] = params[2].to(memory_format=torch.channels_last)
    for p in params:
        p.requires_grad_()
    terms = zip(params, importance, anchor, strict=True)
    expected = 0.3 * sum((omega * (p - a).square()).sum() for p, omega, a in terms)
    found = quadratic(params, importance, anchor, 0.3)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(5 * value, params) for value in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_nothing_but_the_parameters_has_a_gradient() -> None:
    params, importance, anchor = (draw(seed) for seed in range(3))
    for tensor in (*params, *importance, *anchor):
        tensor.requires_grad_()
    quadratic(params, importance, anchor, 2.0).backward()
    assert all(p.grad is not None for p in params)
    assert all(tensor.grad is None for tensor in (*importance, *anchor))
