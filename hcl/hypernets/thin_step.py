"""A step of a hypernetwork with a thin output layer: no autograd, and one pass over that layer."""

import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.hypernets.candidate_adam import CandidateAdam
from hcl.hypernets.hypernet import Hypernet, generate, gradient_for_features
from hcl.hypernets.output_regularizer import OutputRegularizer
from hcl.kernels import one_pass
from hcl.kernels.hidden_layers import Hidden
from hcl.kernels.matmul import products_of_size


class ThinStep:
    """Generates the current task's weights, and learns from the task loss's gradient for them.

    The same as TaskHypernet's general step with lookahead "detached", up to rounding.

    Args:
        hypernet: with at most `one_pass.THIN` hidden units in the last layer.
        embedding: of the current task.
        optimizer: of the hypernetwork.
        regularizer: of the past tasks, without a mask.
        kernel: compiled.
    """

    def __init__(
        self,
        hypernet: Hypernet,
        embedding: Tensor,
        optimizer: CandidateAdam,
        regularizer: OutputRegularizer,
        kernel: one_pass.Kernel,
    ) -> None:
        self.hypernet, self.embedding = hypernet, embedding.detach()
        self.optimizer, self.regularizer, self.kernel = optimizer, regularizer, kernel
        self.weights = torch.empty(0)
        self._work = hypernet.num_chunks * len(hypernet.output) ** 2

    @torch.no_grad()
    def current(self) -> Tensor:
        """(num_weights,) to differentiate the task loss for; see `step`."""
        *lower, output = self.optimizer.params
        with products_of_size(self._work):
            self._hidden = Hidden.of(self.embedding[None], lower, self.hypernet.activation)
        self._features = F.pad(self._hidden.layers[-1], (0, 1), value=1.0)  # (1, K, H + 1)
        weights = generate(self._features, output, self.hypernet.num_weights)
        self.weights = weights.squeeze(0).requires_grad_()
        return self.weights

    @torch.no_grad()
    def step(
        self, grad_weights: Tensor, tasks: Tensor | None, beta: float
    ) -> tuple[Tensor, Tensor]:
        """Adam's step on the task loss + beta * regularizer.

        Args:
            grad_weights: (num_weights,), the task loss's for what `current` gave.
            tasks, beta: see OutputRegularizer.value_and_grads.

        Returns:
            beta * regularizer, and the gradient for the embedding.
        """
        optimizer, regularizer = self.optimizer, self.regularizer
        output = optimizer.params[-1]
        grad_features = gradient_for_features(grad_weights[None], output)
        with products_of_size(self._work):
            grads, grad_embedding = self._hidden.gradients(grad_features[..., :-1])
        layer = one_pass.OutputLayer(
            self.kernel, output, optimizer.first[-1], optimizer.second[-1], regularizer.kept
        )
        features, numbers = self._features.squeeze(0), optimizer.numbers()

        def over_output(before: Tensor, after: Tensor) -> tuple[list[Tensor], None]:
            factors = before, after
            return layer.step(features, grad_weights, regularizer.cut, factors, numbers), None

        lower = optimizer.after_step(grads)
        penalty, extra = regularizer.value_and_grads_at(lower, tasks, beta, over_output)
        optimizer.step(grads, extra)
        return penalty, grad_embedding.squeeze(0)


# Rows of the output layer up to which this is faster than a library's products.
THIN = 64


def is_thin(hypernet: Hypernet) -> bool:
    """Whether a hypernetwork's output layer can be worked on in one pass."""
    output = hypernet.output
    return output.device.type == "cpu" and output.dtype == torch.float32 and len(output) <= THIN
