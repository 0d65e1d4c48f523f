"""Which numbers a hypernetwork makes for a network, and how they become its weights.

`method/generate` says it: `all` weights, those whose names match a regular expression, or
`lora(RANK)`, low-rank changes of every matrix (Hu et al., 2022). The rest is shared by all tasks.
"""

import re
from math import prod

import torch
from torch import Tensor, nn

from hcl.config import ConfigError
from hcl.config.methods import lora_rank

Weights = dict[str, Tensor]
DOWN, UP = "@down", "@up"  # the two factors of a low-rank change: W + up @ down


class Generated:
    """The parts of a network's weights that are generated, in the order of the vector.

    Args:
        module: the network.
        generate: `all`, a regular expression, or `lora(RANK)`.
        num_outputs: of the network. Its last layer is always generated: a task's own head cannot
            be shared, nor be a small change of one that was never trained.
        groups: regular expressions; the generated tensors that match one stand together.

    Attributes:
        names: of all parameters; `num_parameters` numbers in all.
        shapes: of the generated tensors; a low-rank change is two, `NAME@down` and `NAME@up`.
        shared: initial values of the weights that all tasks share, those that are changed by a
            low-rank product included.
        group_sizes: numbers in each group, those of no group last.

    Raises:
        ConfigError: nothing but the last layer would be generated, or a group is empty.
    """

    def __init__(
        self, module: nn.Module, generate: str, num_outputs: int, groups: tuple[str, ...] = ()
    ) -> None:
        self.names = [name for name, _ in module.named_parameters()]
        self.num_parameters = sum(p.numel() for p in module.parameters())
        self.shapes: dict[str, torch.Size] = {}
        self.shared: Weights = {}
        head = output_names(module, num_outputs)
        rank = lora_rank(generate)
        is_chosen = re.compile("" if generate == "all" or rank else generate).search
        for name, parameter in module.named_parameters():
            if rank and name not in head:
                self._add_low_rank(name, parameter, rank)
            elif name in head or is_chosen(name):
                self.shapes[name] = parameter.shape
            else:
                self.shared[name] = parameter.detach().clone()
        if set(self.shapes) <= set(head) and self.shared:
            shown = ", ".join(self.names[:6])
            raise ConfigError(
                f"method/generate: {generate!r} would generate nothing but the output layer; the"
                f" parameters are {shown}, ..."
            )
        self.group_sizes = self._sort_by_group(groups)

    def _sort_by_group(self, groups: tuple[str, ...]) -> list[int]:
        """Put each group's tensors together, in the order of `groups`, the ungrouped ones last;
        how many numbers each group has."""
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
        sizes = [sum(self.shapes[name].numel() for name in names) for names in members]
        return sizes if members[-1] else sizes[:-1]

    def _add_low_rank(self, name: str, parameter: Tensor, rank: int) -> None:
        """Vectors stay shared, and so do matrices that two factors would not make smaller."""
        self.shared[name] = parameter.detach().clone()
        rows, columns = len(parameter), prod(parameter.shape[1:])
        if parameter.ndim > 1 and rank * (rows + columns) < rows * columns:
            self.shapes[name + DOWN] = torch.Size([rank, columns])
            self.shapes[name + UP] = torch.Size([rows, rank])

    @property
    def num_weights(self) -> int:
        """Length of the generated vector."""
        return sum(shape.numel() for shape in self.shapes.values())

    def unflatten(self, flat: Tensor) -> Weights:
        """(..., num_weights) -> the generated tensors (..., *shape), views where possible."""
        parts = flat.split([shape.numel() for shape in self.shapes.values()], dim=-1)
        lead = flat.shape[:-1]
        return {
            name: part.reshape(lead + shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def weights(self, flat: Tensor, shared: Weights | None = None) -> Weights:
        """All weights of the network, by parameter name.

        Args:
            flat: (..., num_weights), leading dimensions for several networks at once.
            shared: values of the shared weights instead of their initial ones.
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
        """Where the generated tensor `name` lies in the vector."""
        start = 0
        for other, shape in self.shapes.items():
            if other == name:
                return range(start, start + shape.numel())
            start += shape.numel()
        raise KeyError(name)


def output_names(module: nn.Module, num_outputs: int) -> list[str]:
    """Parameters of the output layer: the last ones with a row for each output."""
    shapes = {name: p.shape for name, p in module.named_parameters()}
    rows = [name for name, shape in shapes.items() if len(shape) and shape[0] == num_outputs]
    layer = rows[-1].rpartition(".")[0] if rows else ""
    return [name for name in rows if name.rpartition(".")[0] == layer]
