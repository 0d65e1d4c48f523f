"""Any nn.Module run with weights that are handed in."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hcl.kernels.flat_mlp import FlatMlp, layers_of, run, sizes_of
from hcl.networks.generated import Generated, Weights


def is_linear(module: nn.Module) -> bool:
    """Whether all its parameters are of linear layers."""
    return all(isinstance(m, nn.Linear) for m in module.modules() if list(m.parameters(False)))


class TargetNetwork:
    """A module without weights of its own: they come as one vector, e.g. from a hypernetwork.

    The vector is the module's parameters flattened in the order of `named_parameters()`, or those
    that `generated` names; the others are in `shared`, the same for every vector.
    Own parameters live on `meta`, so forgetting to hand one in fails instead of training silently.

    Args:
        module: the architecture; it is copied, its weights are dropped.
        generated: what the vector holds; None for all weights.
    """

    def __init__(self, module: nn.Module, generated: Generated | None = None) -> None:
        self.initial_buffers = {k: b.detach().clone() for k, b in module.named_buffers()}
        self.generated = generated or Generated(module, "all", 0)
        self.module = copy.deepcopy(module).to("meta")
        self.num_weights = self.generated.num_weights
        self.shared: Weights = dict(self.generated.shared)
        is_whole = list(self.generated.shapes) == self.generated.names
        # Of linear layers with ReLUs between, all their weights in the vector; None for others.
        self.layer_sizes = sizes_of(module) if is_whole and not self.initial_buffers else None
        self.is_differentiated_twice = False  # by who calls it: through the lookahead

    def train(self, mode: bool) -> None:
        """Training or evaluation behaviour of dropout and normalisation layers."""
        self.module.train(mode)

    def __call__(self, flat: Tensor, x: Tensor, buffers: Weights | None = None) -> Tensor:
        """Run `x` (B, ...) through the module with weights `flat` (num_weights,).

        Args:
            flat: the weights.
            x: the inputs.
            buffers: running statistics etc.; updated in place in training mode.
        """
        if self.layer_sizes and not self.is_differentiated_twice:
            logits: Tensor = FlatMlp.apply(flat, x, self.layer_sizes)
            return logits
        tensors = {**self.generated.weights(flat, self.shared), **(buffers or {})}
        # strict: a missing weight would otherwise silently be the module's own.
        return functional_call(self.module, tensors, (x,), strict=True)

    def run_part(self, flat: Tensor, x: Tensor, buffers: Weights, outputs: slice) -> Tensor:
        """Some outputs of `__call__`, (B, n); not differentiable."""
        if self.layer_sizes is None:
            return self(flat, x, buffers)[:, outputs]
        *hidden, (weight, bias) = layers_of(flat, self.layer_sizes)
        return run([*hidden, (weight[outputs], bias[outputs])], x)[-1]

    def run_many(
        self, flat: Tensor, x: Tensor, buffers: Sequence[Weights] | None = None
    ) -> Tensor:
        """The same inputs through many weight vectors at once.

        Args:
            flat: (T, num_weights).
            x: (B, ...).
            buffers: one dict for each of the T networks.

        Returns:
            (T, B, num_outputs)
        """
        if x.device.type == "cpu" or not is_linear(self.module):
            # A batched product copies the weights into another order first; large products one
            # after the other are faster. Convolutions and attention batch badly over weights.
            sets = buffers or [{} for _ in flat]
            return torch.stack([self(w, x, b) for w, b in zip(flat, sets, strict=True)])
        stacked = {k: torch.stack([b[k] for b in buffers]) for k in buffers[0]} if buffers else {}
        tensors = {**self.generated.weights(flat, self.shared), **stacked}

        def one(weights: Weights) -> Tensor:
            return functional_call(self.module, weights, (x,), strict=True)

        return torch.vmap(one)(tensors)

    def run_each(self, flat: Tensor, x: Tensor) -> Tensor:
        """Each weight vector on its own inputs: (T, num_weights), (T, B, ...) -> (T, B, ...)."""

        def one(weights: Weights, inputs: Tensor) -> Tensor:
            return functional_call(self.module, weights, (inputs,), strict=True)

        return torch.vmap(one)(self.generated.weights(flat, self.shared), x)
