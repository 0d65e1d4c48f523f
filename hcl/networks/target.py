"""Any nn.Module, run with weights that the caller hands in."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hcl.kernels.flat_mlp import FlatMlp, layers_of, run, sizes_of
from hcl.networks.generated import Generated, Weights


def is_linear(module: nn.Module) -> bool:
    """Return whether all parameters of a module belong to linear layers."""
    return all(isinstance(m, nn.Linear) for m in module.modules() if list(m.parameters(False)))


class TargetNetwork:
    """A module without weights of its own: they come as one vector, e.g. from a hypernetwork.

    The vector holds the module's parameters, flattened in the order of `named_parameters()`, or
    those that `generated` names; the others are in `shared`, the same for every vector. The
    module's own parameters are on the meta device: running with one of them is an error.

    Args:
        module: the architecture; it is copied, its weights are dropped.
        generated: says what the vector holds; None for all weights.
        kernels: "plain" for torch's own operations alone, see `train/kernels`.

    Attributes:
        num_weights: length of the vector.
        shared: weights that are not generated, by name.
        initial_buffers: running statistics etc. that a new network starts with.
        layer_sizes: (outputs, inputs) of each layer, where the module is linear layers with ReLUs
            between, all generated, on inputs as they are: such networks have faster paths. None
            for others, and plain.
        is_differentiated_twice: set it where a gradient of a gradient is needed (the lookahead
            "full"): the fast path has first derivatives alone.
    """

    def __init__(
        self, module: nn.Module, generated: Generated | None = None, kernels: str = "fast"
    ) -> None:
        self.initial_buffers = {k: b.detach().clone() for k, b in module.named_buffers()}
        self.generated = generated or Generated(module, "all", 0)
        self.module = copy.deepcopy(module).to("meta")
        self.num_weights = self.generated.num_weights
        self.shared: Weights = dict(self.generated.shared)
        is_whole = list(self.generated.shapes) == self.generated.names
        # Hooks change inputs or precision (hcl/networks/normalise.py, precision.py).
        is_bare = not self.initial_buffers and not module._forward_pre_hooks
        is_fast = kernels == "fast" and is_whole and is_bare
        self.layer_sizes = sizes_of(module) if is_fast else None
        self.is_differentiated_twice = False

    def train(self, mode: bool) -> None:
        """Set dropout and normalisation layers to training or evaluation behaviour."""
        self.module.train(mode)

    def __call__(self, flat: Tensor, x: Tensor, buffers: Weights | None = None) -> Tensor:
        """Run the module.

        Args:
            flat: the weights, (num_weights,).
            x: the inputs, (B, ...).
            buffers: running statistics etc.; updated in place in training mode.

        Returns:
            (B, num_outputs)
        """
        if self.layer_sizes and not self.is_differentiated_twice:
            logits: Tensor = FlatMlp.apply(flat, x, self.layer_sizes)
            return logits
        return self.run_plainly(flat, x, buffers)

    def run_plainly(self, flat: Tensor, x: Tensor, buffers: Weights | None = None) -> Tensor:
        """Run the module by torch's own operations alone, which have derivatives of any kind."""
        tensors = {**self.generated.weights(flat, self.shared), **(buffers or {})}
        # strict: without it a missing weight would silently be the module's own.
        return functional_call(self.module, tensors, (x,), strict=True)

    def run_part(self, flat: Tensor, x: Tensor, buffers: Weights, outputs: slice) -> Tensor:
        """Compute some outputs of `__call__`, (B, n), cheaply where it can; not differentiable."""
        if self.layer_sizes is None:
            return self(flat, x, buffers)[:, outputs]
        *hidden, (weight, bias) = layers_of(flat, self.layer_sizes)
        return run([*hidden, (weight[outputs], bias[outputs])], x)[-1]

    def run_many(
        self, flat: Tensor, x: Tensor, buffers: Sequence[Weights] | None = None
    ) -> Tensor:
        """Run the same inputs through several networks.

        Args:
            flat: (T, num_weights).
            x: (B, ...).
            buffers: running statistics of each of the T networks.

        Returns:
            (T, B, num_outputs)
        """
        if x.device.type == "cpu" or not is_linear(self.module):
            # On a CPU a batched product first copies the weights into another order, and large
            # products one after the other are faster. Convolutions and attention have no batched
            # form over weights.
            sets = buffers or [{} for _ in flat]
            return torch.stack([self(w, x, b) for w, b in zip(flat, sets, strict=True)])
        stacked = {k: torch.stack([b[k] for b in buffers]) for k in buffers[0]} if buffers else {}
        tensors = {**self.generated.weights(flat, self.shared), **stacked}

        def one(weights: Weights) -> Tensor:
            return functional_call(self.module, weights, (x,), strict=True)

        return torch.vmap(one)(tensors)

    def run_each(self, flat: Tensor, x: Tensor) -> Tensor:
        """Run each network on its own inputs: (T, num_weights), (T, B, ...) -> (T, B, ...)."""
        if x.device.type == "cpu":  # see run_many; the copies took a third of a step of HNET+TIR
            return torch.stack([self(w, inputs) for w, inputs in zip(flat, x, strict=True)])

        def one(weights: Weights, inputs: Tensor) -> Tensor:
            return functional_call(self.module, weights, (inputs,), strict=True)

        return torch.vmap(one)(self.generated.weights(flat, self.shared), x)
