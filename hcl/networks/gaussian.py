"""Networks whose weights are Gaussian, each with a mean and a standard deviation of its own."""

import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.kernels.flat_mlp import Sizes, layers_of


def kl_to_prior(mean: Tensor, std: Tensor, prior_variance: float) -> Tensor:
    """Compute KL(N(mean, std^2) || N(0, prior_variance)), summed over the weights: a scalar.

    1/2 sum_i ((std_i^2 + mean_i^2) / v - 1 - log(std_i^2 / v)).
    """
    ratio = std.square() / prior_variance
    return 0.5 * (ratio + mean.square() / prior_variance - 1 - ratio.log()).sum()


def run_gaussian_mlp(mean: Tensor, std: Tensor, x: Tensor, sizes: Sizes) -> Tensor:
    """Run an MLP with ReLUs and new weights for every input: (B, ...) -> (B, outputs).

    The local reparametrisation (Kingma et al., 2015): a layer's outputs are drawn, not its
    weights. For inputs a they are Gaussian with mean a W + b and variance a^2 std_W^2 + std_b^2.

    Args:
        mean: of the weights, (num_weights,).
        std: of the weights, (num_weights,).
        x: the inputs.
        sizes: (outputs, inputs) of each layer.
    """
    hidden = x.flatten(1)
    layers = list(zip(layers_of(mean, sizes), layers_of(std.square(), sizes), strict=True))
    for i, ((weight, bias), (weight_variance, bias_variance)) in enumerate(layers):
        middle = F.linear(hidden, weight, bias)
        variance = F.linear(hidden.square(), weight_variance, bias_variance)
        hidden = middle + variance.sqrt() * torch.randn_like(middle)
        if i < len(layers) - 1:
            hidden = hidden.relu()
    return hidden
