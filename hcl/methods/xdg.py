"""Context-dependent gating: each task switches most hidden units off, others in each task."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hcl import seeding
from hcl.config import ConfigError
from hcl.config.methods import XdgConfig
from hcl.methods.base import Prediction, Setup
from hcl.methods.si import SI

Layer = nn.Linear | nn.Conv2d


class XdG(SI):
    """XdG (Masse et al., 2018): a random, fixed part of the hidden units is off in each task.

    A unit that is off reaches no later layer, so tasks share few weights. The gates of a task are
    drawn from the seed before training, exactly `gated` of each layer's units. The paper joins
    gates with SI or EWC: `c` is SI's strength, and 0, the default, leaves the gates alone, as in
    van de Ven & Tolias. Heads are separate; the input is never gated. In a network of convolutions
    the units are channels, where the paper gates the fully connected layers alone.

    Gates cost a bit per unit and task, or nothing where they are drawn again from the seed: they
    are not counted as stored.
    """

    config: XdgConfig

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.asked: int | None = None  # the task that is predicted, beside the one being learned
        self.gated = _gated_layers(self.network)
        if not self.gated:
            raise ConfigError(
                f"target/network: {setup.config.target.network} has no hidden units that xdg could"
                " gate; use mlp with hidden_sizes, or another method"
            )
        draws = seeding.generator(setup.config.seed, "gates")
        for i, layer in enumerate(self.gated.values()):
            gates = [self._draw(_num_inputs(layer), draws) for _ in range(setup.layout.num_tasks)]
            self.register_buffer(f"gates_{i}", torch.stack(gates))
            layer.register_forward_pre_hook(self._make_hook(f"gates_{i}"))

    def _draw(self, num_units: int, draws: torch.Generator) -> Tensor:
        """Draw one task's gates, bool (num_units,): False for units that are off."""
        num_on = max(1, round((1 - self.config.gated) * num_units))
        gates = torch.zeros(num_units, dtype=torch.bool, device="cpu")
        gates[torch.randperm(num_units, generator=draws, device="cpu")[:num_on]] = True
        return gates

    def _make_hook(self, name: str) -> Any:
        def hook(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            gates = getattr(self, name)[self.task_id if self.asked is None else self.asked]
            units = inputs[0] * (gates if inputs[0].ndim < 4 else gates[:, None, None])
            return (units, *inputs[1:])

        return hook

    def predict(self, x: Tensor, task_id: int | None) -> Prediction:
        self.asked = task_id
        try:
            return super().predict(x, task_id)
        finally:
            self.asked = None

    def network_weights(self, task_id: int | None) -> dict[str, Tensor]:
        """Return the network of a task; what its units off would be multiplied with is 0."""
        weights = dict(super().network_weights(task_id))
        at = self.task_id if task_id is None else task_id
        for i, name in enumerate(self.gated):
            weight = weights[f"{name}.weight"]
            gates = getattr(self, f"gates_{i}")[at].view(-1, *[1] * (weight.ndim - 2))
            weights[f"{name}.weight"] = weight * gates
        return weights

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        return super().kept_bytes(past_samples) + sum(
            getattr(self, f"gates_{i}").nbytes for i in range(len(self.gated))
        )


def _gated_layers(network: nn.Module) -> dict[str, Layer]:
    """Find the layers whose inputs are hidden units: all but the first, by name."""
    layers = {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and getattr(layer, "groups", 1) == 1
    }
    return dict(list(layers.items())[1:])


def _num_inputs(layer: Layer) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
