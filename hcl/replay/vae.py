"""A variational autoencoder for images as vectors in [0, 1]."""

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcl.networks.layers import fully_connected


class Encoder(nn.Module):
    """The network that maps inputs to a diagonal Gaussian over latent codes.

    Args:
        input_shape: shape of one sample.
        hidden_sizes: units of the ReLU layers.
        latent_size: numbers in the code.
    """

    def __init__(
        self, input_shape: tuple[int, ...], hidden_sizes: tuple[int, ...], latent_size: int
    ) -> None:
        super().__init__()
        self.net = fully_connected([prod(input_shape), *hidden_sizes, 2 * latent_size])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, *input_shape) to means and log-variances, (B, latent_size) each."""
        mean, log_variance = self.net(x.flatten(1)).chunk(2, dim=1)
        return mean, log_variance


def decoder(
    latent_size: int,
    condition_size: int,
    hidden_sizes: tuple[int, ...],
    input_shape: tuple[int, ...],
) -> nn.Module:
    """Make the network from codes to pixels: (B, latent + condition) -> logits (B, pixels)."""
    return fully_connected([latent_size + condition_size, *hidden_sizes, prod(input_shape)])


def with_condition(z: Tensor, condition: int | Tensor, condition_size: int) -> Tensor:
    """Append a one-hot condition to codes.

    Args:
        z: (..., latent_size).
        condition: one number for all codes, or int64 that broadcasts to one for each.
        condition_size: numbers to append; 0 leaves the codes as they are.

    Returns:
        (..., latent_size + condition_size)
    """
    if condition_size == 0:
        return z
    ids = torch.as_tensor(condition, device=z.device).expand(z.shape[:-1])
    return torch.cat([z, F.one_hot(ids, condition_size).to(z)], dim=-1)


def sample_code(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Draw from the posterior, reparameterised (Kingma & Welling, 2014, section 2.4)."""
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def vae_loss(x: Tensor, logits: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute the mean binary cross-entropy per pixel + KL divergence / number of pixels.

    Both van de Ven & Tolias' and von Oswald et al.'s code weight the terms like this. The KL
    divergence from the standard normal is in Kingma & Welling (2014), appendix B.

    Args:
        x: (B, *input_shape) in [0, 1], the targets.
        logits: (B, pixels) from the decoder.
        mean: (B, latent_size) from the encoder.
        log_variance: (B, latent_size) from the encoder.
    """
    reconstruction = F.binary_cross_entropy_with_logits(logits, x.flatten(1))
    kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1).mean()
    return reconstruction + kl / logits.shape[1]
