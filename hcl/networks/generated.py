"""Numbers that a hypernetwork makes for a network, and the way they become its weights.

The setting `method/generate` chooses them: `all` weights, those whose names match a regular
expression, or `lora(RANK)`, low-rank changes of every matrix (Hu et al., 2022). All tasks share
the other weights.
"""

import re
from math import prod

import torch
from torch import Tensor, nn

from hcl.config import ConfigError
from hcl.config.hypernets import lora_rank
from hcl.hypernets.initial import TargetTensor
from hcl.hypernets.output_regularizer import HeadMask
from hcl.scenario import OutputLayout

Weights = dict[str, Tensor]
DOWN, UP = "@down", "@up"  # the two factors of a low-rank change: W + up @ down


class Generated:
    """The parts of a network's weights that are generated, in the order of the vector.

    Args:
        module: the network.
        generate: `all`, a regular expression, or `lora(RANK)`.
        num_outputs: outputs of the network. Its last layer is always generated: a task's own head
            cannot be shared, nor be a small change of one that was never trained.
        groups: regular expressions; the generated tensors that match one stand together.

    Attributes:
        names: all parameters; `num_parameters` counts their numbers.
        head: the parameters of the output layer.
        shapes: the generated tensors; a low-rank change is two, `NAME@down` and `NAME@up`.
        shared: initial values of the weights that all tasks share, also of those to which a task's
            low-rank product is added.
        groups: names of the generated tensors in each group; those of no group come last.

    Raises:
        ConfigError: nothing but the last layer would be generated, or a group is empty.
    """

    def __init__(
        self, module: nn.Module, generate: str, num_outputs: int, groups: tuple[str, ...] = ()
    ) -> None:
        self.names = [name for name, _ in module.named_parameters()]
        self._fan_ins = {n: prod(p.shape[1:]) for n, p in module.named_parameters() if p.ndim > 1}
        self.num_parameters = sum(p.numel() for p in module.parameters())
        self.shapes: dict[str, torch.Size] = {}
        self.shared: Weights = {}
        self.head = output_names(module, num_outputs)
        rank = lora_rank(generate)
        is_chosen = re.compile("" if generate == "all" or rank else generate).search
        for name, parameter in module.named_parameters():
            if rank and name not in self.head:
                self._add_low_rank(name, parameter, rank)
            elif name in self.head or is_chosen(name):
                self.shapes[name] = parameter.shape
            else:
                self.shared[name] = parameter.detach().clone()
        if set(self.shapes) <= set(self.head) and self.shared:
            shown = ", ".join(self.names[:6])
            raise ConfigError(
                f"method/generate: {generate!r} would generate nothing but the output layer; the"
                f" parameters are {shown}, ..."
            )
        self.groups = self._sort_by_group(groups)

    def _sort_by_group(self, groups: tuple[str, ...]) -> list[list[str]]:
        """Put each group's tensors together, in the order of `groups`, the ungrouped ones last."""
        members: list[list[str]] = [[] for _ in range(len(groups) + 1)]
        for name in self.shapes:
            hits = [i for i, pattern in enumerate(groups) if re.search(pattern, name)]
            members[hits[0] if hits else -1].append(name)
        for pattern, names in zip(groups, members, strict=False):
            if not names:
                raise ConfigError(
                    f"method/chunk_groups: {pattern!r} matches no generated parameter that an"
                    " earlier group does not have"
                )
        self.shapes = {name: self.shapes[name] for names in members for name in names}
        return members if members[-1] else members[:-1]

    def _add_low_rank(self, name: str, parameter: Tensor, rank: int) -> None:
        """Generate two factors; vectors stay shared, and matrices that factors would enlarge."""
        self.shared[name] = parameter.detach().clone()
        rows, columns = len(parameter), prod(parameter.shape[1:])
        if parameter.ndim > 1 and rank * (rows + columns) < rows * columns:
            self.shapes[name + DOWN] = torch.Size([rank, columns])
            self.shapes[name + UP] = torch.Size([rows, rank])

    @property
    def num_weights(self) -> int:
        """Length of the generated vector."""
        return sum(shape.numel() for shape in self.shapes.values())

    def tensors(self, group: list[str], gain: float) -> list[TargetTensor]:
        """Describe the tensors of a group for the initial values of their hypernetwork.

        Args:
            group: one of `groups`.
            gain: see TargetTensor.
        """
        found = []
        for name in group:
            shape = self.shapes[name]
            layer, _, factor = name.partition("@")
            weight = re.sub("bias$", "weight", layer)
            fan_in = self._fan_ins.get(weight, shape.numel())  # a norm layer has no matrix
            has_bias = not factor and re.sub("weight$", "bias", name) in self.shapes
            is_bias, rank = len(shape) == 1, min(shape) if factor else 0
            found.append(TargetTensor(shape.numel(), fan_in, gain, is_bias, has_bias, rank))
        return found

    def unflatten(self, flat: Tensor) -> Weights:
        """Split (..., num_weights) into the generated tensors (..., *shape), views if possible."""
        parts = flat.split([shape.numel() for shape in self.shapes.values()], dim=-1)
        lead = flat.shape[:-1]
        return {
            name: part.reshape(lead + shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def weights(self, flat: Tensor, shared: Weights | None = None) -> Weights:
        """Make all weights of the network, by parameter name.

        A low-rank change is added to the shared matrix: W + up @ down.

        Args:
            flat: (..., num_weights), leading dimensions for several networks at once.
            shared: values of the shared weights; None for their initial ones.
        """
        made = self.unflatten(flat)
        shared = self.shared if shared is None else shared
        found: Weights = {}
        for name in self.names:
            if name in made:
                found[name] = made[name]
                continue
            base = shared[name]
            if name + UP in made:
                change = made[name + UP] @ made[name + DOWN]
                found[name] = base + change.reshape(change.shape[:-2] + base.shape)
            else:
                found[name] = base.expand(flat.shape[:-1] + base.shape)
        return found

    def positions(self, name: str) -> range:
        """Return where the generated tensor `name` lies in the vector."""
        start = 0
        for other, shape in self.shapes.items():
            if other == name:
                return range(start, start + shape.numel())
            start += shape.numel()
        raise KeyError(name)

    def head_mask(self, layout: OutputLayout, num_past: int) -> HeadMask | None:
        """Say which weights count for each past task: all but those of other tasks' heads.

        Args:
            layout: says which rows of the output layer are a task's head.
            num_past: tasks before the current one.

        Returns:
            The mask; None in the domain scenario, where all share the one head, or without a past.
        """
        if layout.scenario == "domain" or num_past < 1:
            return None
        keep = torch.ones(num_past, self.num_weights, dtype=torch.bool)
        spans = [self.positions(name) for name in self.head]  # of weight and bias
        for span in spans:
            per_unit = keep[:, span.start : span.stop].view(num_past, layout.num_outputs, -1)
            per_unit[:] = False
            for past in range(num_past):
                per_unit[past, layout.head(past)] = True
        return HeadMask(keep, min(span.start for span in spans))


def output_names(module: nn.Module, num_outputs: int) -> list[str]:
    """Find the parameters of the output layer: the last ones with a row for each output."""
    shapes = {name: p.shape for name, p in module.named_parameters()}
    rows = [name for name, shape in shapes.items() if len(shape) and shape[0] == num_outputs]
    layer = rows[-1].rpartition(".")[0] if rows else ""
    return [name for name in rows if name.rpartition(".")[0] == layer]
